"""What `fettle models list|promote|rollback|approve|reject` does."""

import argparse
import getpass
import os
from typing import Any

from flows import terminal
from flows.cli import DONE
from tasks.artifacts import aliases, registry
from tasks.artifacts.aliases import Move
from tasks.artifacts.approvals import approval, rejection
from tasks.artifacts.errors import StoreError
from tasks.artifacts.registry import Version
from tasks.artifacts.store import Store
from tasks.gate_record import GateRefusedError, read_gates
from tasks.promotion import approve, is_waiting, promote, reject, rollback
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
    if options.verb == "reject":
        return _reject(store, options)
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
    given, refused = approval(store, version), rejection(store, version)
    return {
        "model": version.model,
        "version": version.version,
        "aliases": [name for name, number in pointing.items() if number == version.version],
        "verdict": version.verdict,
        "approval": given.model_dump() if given else None,
        "rejection": refused.model_dump() if refused else None,
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
    given, refused = row["approval"], row["rejection"]
    approved = "waiting" if row["waiting"] else ""
    if given or refused:
        approved = ("" if given else "rejected by ") + "{by}, {at:.10}".format(**(given or refused))
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
    _pass_on(store, options)
    if options.json:
        terminal.answer({"approval": given.model_dump(), "published": published.model_dump()})
        return DONE
    terminal.console.print(f"approved by {given.by}, {given.at}", markup=False)
    for name in published.aliases:
        terminal.console.print(f"{name} points to version {published.version}", markup=False)
    for remark in published.remarks:
        terminal.console.print(remark, markup=False)
    return DONE


def _reject(store: Store, options: argparse.Namespace) -> int:
    given = reject(store, options.name, options.version, by=options.by, note=options.note)
    _pass_on(store, options)
    if options.json:
        terminal.answer({"rejection": given.model_dump()})
    else:
        terminal.console.print(f"rejected by {given.by}, {given.at}", markup=False)
    return DONE


def _pass_on(store: Store, options: argparse.Namespace) -> None:
    """Let the runs that wait for this word go on; without a server there are none."""
    if not os.environ.get("PREFECT_API_URL"):
        return
    from httpx import HTTPError

    from flows.approving import pass_on

    try:
        names = pass_on(store, options.name, options.version, options.verb, by=options.by, note=options.note)
    except (HTTPError, RuntimeError) as error:
        terminal.errors.print(
            f"recorded, but a run that waits for it could not be told: {error}. Answer its form in Prefect's UI.",
            markup=False,
        )
        return
    for name in names:
        terminal.errors.print(f"run {name} goes on", markup=False)


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
