"""What a page that compares runs tells of each, from the store's records."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from tasks.algorithms.gate.pairs import Row
from tasks.artifacts import aliases, runs
from tasks.artifacts.errors import StoreError
from tasks.artifacts.fingerprint import digest
from tasks.artifacts.lineage import changed_fields
from tasks.artifacts.store import Store
from tasks.gate_record import GATES
from tasks.reporting.over_time import RunFacts, RunScore

MOST_CHANGES = 6


def run_facts(store: Store, found: Sequence[runs.Run]) -> list[RunFacts]:
    """The runs in their order, the newest first; one whose artifacts were removed shows what its record holds."""
    pointing = {name: aliases.aliases(store, name) for name in {run.recipe_name for run in found}}
    told = []
    for place, run in enumerate(found):
        before = next((each for each in found[place + 1 :] if each.recipe_name == run.recipe_name), None)
        told.append(_told(store, run, before, pointing[run.recipe_name]))
    return told


def _told(store: Store, run: runs.Run, before: runs.Run | None, pointing: dict[str, int]) -> RunFacts:
    gates, scores = _judged(store, run)
    return RunFacts(
        run=run.id,
        recipe=run.recipe_name,
        at=datetime.fromisoformat(run.started),
        outcome=run.outcome,
        changed=_changed(before.recipe, run.recipe) if before else {},
        verdict=gates.get("verdict"),
        reason=gates.get("reason", ""),
        scores=scores,
        version=run.version,
        aliases=tuple(name for name, number in pointing.items() if number == run.version),
        seconds=run.seconds,
    )


def _judged(store: Store, run: runs.Run) -> tuple[dict[str, Any], tuple[RunScore, ...]]:
    address = next((stage.address for stage in reversed(run.stages) if stage.verb == "evaluate"), None)
    manifest = store.find_manifest(address) if address else None
    if manifest is None:
        return {}, ()
    gates: dict[str, Any] = json.loads(store.read_file(manifest.artifact, GATES))
    asked = _asked(store, gates)
    rows = [row for row in gates["scores"] if row["against"] == "base"]
    return gates, tuple(_score(row, asked) for row in rows)


def _score(row: Row, asked: str) -> RunScore:
    names = ("name", "unit", "better", "tuned", "verdict")
    return RunScore(**{name: row[name] for name in names}, items=f"{asked} {row['items']}")


def _asked(store: Store, gates: dict[str, Any]) -> str:
    """Tells the questions: scores of other ones are not compared."""
    try:
        table = store.table(store.manifest(gates["measured"]["tuned"]).artifact, "answers", ["prompt_sha256"])
    except StoreError:
        return ""
    return digest(sorted(table["prompt_sha256"].to_pylist()))[:12]


def _changed(before: dict[str, Any], now: dict[str, Any]) -> dict[str, str]:
    changes = changed_fields(before, now)
    told = {change.place: f"{_short(change.before)} → {_short(change.after)}" for change in changes[:MOST_CHANGES]}
    return told | ({"more": f"{len(changes) - MOST_CHANGES} other settings"} if len(changes) > MOST_CHANGES else {})


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}…"
