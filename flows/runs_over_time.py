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
HELDOUT_LOSS = "held-out loss"
"""The measure that asks no benchmark, but held-out rows."""
_ALL = ""

Judged = tuple[dict[str, Any], tuple[RunScore, ...]]


class History:
    """Tells of runs, and reads what a gate wrote only once."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._judged: dict[str, Judged] = {}

    def facts(self, found: Sequence[runs.Run], most: int | None = None) -> list[RunFacts]:
        """The `most` newest runs, given the newest first; one whose artifacts were removed shows what its record holds.

        What changed is told against the run before, so `found` may hold more.
        """
        shown = found[:most]
        pointing = {name: aliases.aliases(self.store, name) for name in {run.recipe_name for run in shown}}
        told = []
        for place, run in enumerate(shown):
            before = next((each for each in found[place + 1 :] if each.recipe_name == run.recipe_name), None)
            told.append(_told(run, self._judged_in(run), before, pointing[run.recipe_name]))
        return told

    def _judged_in(self, run: runs.Run) -> Judged:
        address = next((stage.address for stage in reversed(run.stages) if stage.verb == "evaluate"), None)
        if address is None:
            return {}, ()
        if address not in self._judged:
            try:
                judged = _judged(self.store, address)
            except StoreError as error:
                if error.transient:
                    raise
                judged = None  # a damaged artifact is named where it is used; the other runs are to be seen
            if judged is None:
                return {}, ()
            self._judged[address] = judged
        return self._judged[address]


def run_facts(store: Store, found: Sequence[runs.Run]) -> list[RunFacts]:
    """The runs in their order, the newest first; one whose artifacts were removed shows what its record holds."""
    return History(store).facts(found)


def _told(run: runs.Run, judged: Judged, before: runs.Run | None, pointing: dict[str, int]) -> RunFacts:
    gates, scores = judged
    return RunFacts(
        run=run.id,
        recipe=run.recipe_name,
        at=datetime.fromisoformat(run.started),
        outcome=run.outcome,
        changed=_changed(before.recipe, run.recipe) if before else {},
        verdict=gates.get("verdict"),
        reason=gates.get("reason") or run.message,
        scores=scores,
        version=run.version,
        aliases=tuple(name for name, number in pointing.items() if number == run.version),
        seconds=run.seconds,
    )


def _judged(store: Store, address: str) -> Judged | None:
    manifest = store.find_manifest(address)
    if manifest is None:
        return None
    gates: dict[str, Any] = json.loads(store.read_file(manifest.artifact, GATES))
    asked = _asked(store, gates)
    # A classifier is compared with several rivals; its own score is the same in each row.
    rows = {row["name"]: row for row in reversed(gates["scores"]) if row["against"] not in ("production", "floor")}
    return gates, tuple(_score(row, asked.get(row["name"], asked[_ALL])) for row in reversed(rows.values()))


def _score(row: Row, asked: str) -> RunScore:
    names = ("name", "unit", "better", "tuned", "verdict")
    return RunScore(**{name: row[name] for name in names}, items=f"{asked} {row['items']}")


def _asked(store: Store, gates: dict[str, Any]) -> dict[str, str]:
    """For each measure a digest of what was asked, and one of all questions: scores of other ones are not compared."""
    try:
        measured = store.manifest(gates["measured"]["tuned"]).artifact
        if "predictions" in measured.tables:  # of a classifier
            return {_ALL: digest(sorted(store.table(measured, "predictions", ["id"])["id"].to_pylist()))[:12]}
        answers = store.table(measured, "answers", ["benchmark", "prompt_sha256"])
        heldout = store.table(measured, "heldout", ["row_id"])["row_id"].to_pylist()
    except StoreError:
        return {_ALL: ""}
    asked: dict[str, list[str]] = {_ALL: answers["prompt_sha256"].to_pylist(), HELDOUT_LOSS: heldout}
    for row in answers.to_pylist():
        asked.setdefault(row["benchmark"], []).append(row["prompt_sha256"])
    return {name: digest(sorted(each))[:12] for name, each in asked.items()}


def _changed(before: dict[str, Any], now: dict[str, Any]) -> dict[str, str]:
    changes = changed_fields(_by_name(before), _by_name(now))
    told = {change.place: f"{_short(change.before)} → {_short(change.after)}" for change in changes[:MOST_CHANGES]}
    return told | ({"more": f"{len(changes) - MOST_CHANGES} other settings"} if len(changes) > MOST_CHANGES else {})


def _by_name(value: Any) -> Any:
    """Lists of named parts, such as sources, as mappings: then a change is told by part and field."""
    if isinstance(value, dict):
        return {key: _by_name(each) for key, each in value.items()}
    if isinstance(value, list) and value and all(isinstance(each, dict) and "name" in each for each in value):
        return {each["name"]: _by_name(each) for each in value}
    return value


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}…"
