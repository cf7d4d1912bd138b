"""What `fettle models list|promote|rollback|approve` does."""

import argparse
import getpass
from typing import Any

from flows import terminal
from flows.cli import DONE
from tasks.artifacts import aliases, registry
from tasks.artifacts.aliases import Move
from tasks.artifacts.approvals import approval
from tasks.artifacts.errors import StoreError
from tasks.artifacts.registry import Version
from tasks.artifacts.store import Store
from tasks.gate_record import GateRefusedError, read_gates
from tasks.promotion import approve, is_waiting, promote, rollback
from tasks.reporting import wording


def models(options: argparse.Namespace) -> int:
    """List the published versions, or change which one an alias points to."""
    store = Store(options.store)
    if options.verb == "promote":
        why = options.why or "promoted by hand"
        by = options.by or _user()
        return _tell_move(store, options, promote(store, options.name, options.version, options.alias, by=by, why=why))
    if options.verb == "rollback":
        why = options.why or "rolled back by hand"
        return _tell_move(
            store, options, rollback(store, options.name, options.alias, by=options.by or _user(), why=why)
        )
    if options.verb == "approve":
        return _approve(store, options)
    return _list(store, options)


def _list(store: Store, options: argparse.Namespace) -> int:
    found = registry.versions(store, options.name)
    pointing = {model: aliases.aliases(store, model) for model in {version.model for version in found}}
    rows = [_row(store, version, pointing[version.model]) for version in found]
    if options.json:
        terminal.answer(rows)
    elif rows:
        terminal.show_table([_shown(row) for row in rows])
    else:
        terminal.console.print(f"no published model in {store.uri}", markup=False)
    return DONE


def _row(store: Store, version: Version, pointing: dict[str, int]) -> dict[str, Any]:
    given = approval(store, version)
    return {
        "model": version.model,
        "version": version.version,
        "aliases": [name for name, number in pointing.items() if number == version.version],
        "verdict": version.verdict,
        "approval": given.model_dump() if given else None,
        "waiting": is_waiting(store, version),
        "published": version.at,
        "scores": _scores(store, version),
        "folder": f"{store.uri}/{version.folder}",
    }


def _scores(store: Store, version: Version) -> list[dict[str, Any]]:
    """The gated scores; none where the evaluation is gone or unreadable, which keeps nobody from listing the rest."""
    kept = ("name", "base", "tuned", "difference", "unit", "verdict")
    try:
        scores = read_gates(store, version.evaluation).scores
    except (GateRefusedError, StoreError) as error:
        if getattr(error, "transient", False):
            raise
        return []
    return [{name: score.get(name) for name in kept} for score in scores if score.get("verdict")]


def _shown(row: dict[str, Any]) -> dict[str, object]:
    given = row["approval"]
    approved = f"{given['by']}, {given['at'][:10]}" if given else "waiting" if row["waiting"] else ""
    changes = [f"{score['name']} {wording.change(score['difference'], score['unit'])}" for score in row["scores"]]
    brief = ", ".join(changes[:4]) + (f", {len(changes) - 4} more" if len(changes) > 4 else "")
    return {
        "model": row["model"],
        "version": row["version"],
        "alias": ", ".join(row["aliases"]),
        "verdict": row["verdict"],
        "approval": approved,
        "published": row["published"],
        "scores": brief,
        "folder": row["folder"],
    }


def _approve(store: Store, options: argparse.Namespace) -> int:
    given, published = approve(store, options.name, options.version, by=options.by, note=options.note)
    if options.json:
        terminal.answer({"approval": given.model_dump(), "published": published.model_dump()})
        return DONE
    terminal.console.print(f"approved by {given.by}, {given.at}", markup=False)
    for name in published.aliases:
        terminal.console.print(f"{name} points to version {published.version}", markup=False)
    for remark in published.remarks:
        terminal.console.print(remark, markup=False)
    return DONE


def _tell_move(store: Store, options: argparse.Namespace, move: Move) -> int:
    if options.json:
        terminal.answer({"model": options.name, **move.model_dump(exclude={"key"})})
        return DONE
    before = f", before: {move.before}" if move.before is not None else ""
    where = f"{store.uri}/{registry.version_folder(options.name, move.version)}"
    terminal.console.print(f"{move.alias} of {options.name} points to version {move.version}{before}", markup=False)
    terminal.console.print(where, markup=False)
    return DONE


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        # A container's user may have no name.
        return "somebody"
