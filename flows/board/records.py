"""What a store says of its runs, each record read once: what ended and what was committed never changes."""

import json
from typing import Any, NamedTuple

from tasks.artifacts import runs
from tasks.artifacts.checkpoints import Checkpoints
from tasks.artifacts.errors import StoreError
from tasks.artifacts.manifest import Counts, Manifest
from tasks.artifacts.store import Store
from tasks.gate_record import GateRefusedError, read_gates
from tasks.trainer import journal

Course = dict[str, float | None]
"""Figures of a training by the ends of their metrics' names: `loss`, `tokens_per_second`, …"""


class Told(NamedTuple):
    """What an artifact's manifest tells that metrics are made of."""

    counts: Counts
    facts: dict[str, Any]


class Records:
    """Reads a store's records and remembers them."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._ended: dict[str, tuple[int, runs.Run]] = {}
        self._told: dict[str, Told] = {}
        self._missing: set[tuple[str, str]] = set()
        self._scores: dict[str, list[dict[str, Any]]] = {}
        self._courses: dict[str, tuple[str, Course]] = {}

    def listed(self) -> list[runs.Run]:
        """All runs, the newest first. Raises `StoreError` where the store is not there."""
        self.store.require_marker("its runs are listed")
        found = []
        for path, size in self.store.files.sizes(runs.FOLDER).items():
            known = self._ended.get(path)
            run = known[1] if known and known[0] == size else runs.read(self.store, path)
            if run is None or path != run.path:  # a copied record would be counted twice
                continue
            if run.outcome != "running":
                self._ended[path] = size, run
            found.append(run)
        return sorted(found, key=lambda run: run.id, reverse=True)

    def told(self, run: runs.Run, address: str) -> Told | None:
        """What a run's artifact tells; none where it was removed or damaged before anybody asked."""
        if address not in self._told and (run.id, address) not in self._missing:
            manifest = self._manifest(address)
            if manifest is None:
                # Asked for by this run only: a later run may make the same artifact anew.
                self._missing.add((run.id, address))
            else:
                self._told[address] = Told(manifest.counts, manifest.facts)
        return self._told.get(address)

    def _manifest(self, address: str) -> Manifest | None:
        try:
            return self.store.find_manifest(address)
        except StoreError as error:
            # One damaged artifact, or a record that names none, takes no other metric along.
            if error.transient:
                raise
            return None

    def scores(self, evaluation: str) -> list[dict[str, Any]]:
        """The gate's scores of an evaluation, a row a measure and opponent; none where they cannot be read."""
        if evaluation not in self._scores:
            try:
                self._scores[evaluation] = read_gates(self.store, evaluation).scores
            except (StoreError, GateRefusedError) as error:
                if getattr(error, "transient", False):
                    raise
                self._scores[evaluation] = []
        return self._scores[evaluation]

    def so_far(self, training: str) -> Course | None:
        """A training that is under way, as its newest checkpoint tells; none before the first."""
        checkpoints = Checkpoints(self.store, training)
        name = checkpoints.newest()
        if name is None:
            return None
        known = self._courses.get(training)
        if known is None or known[0] != name:
            raw = checkpoints.read(name, journal.FILE)
            if raw is None:  # pruned meanwhile
                return None
            known = self._courses[training] = name, _course(json.loads(raw))
        return known[1]


def _course(state: dict[str, Any]) -> Course:
    rows = state["rows"]
    losses = [row["loss"] for row in rows if row.get("loss") is not None]
    heldout = [row["heldout_loss"] for row in rows if row["step"] and row.get("heldout_loss") is not None]
    seconds = state["training_seconds"]
    return {
        "steps": rows[-1]["step"] if rows else None,
        "loss": losses[-1] if losses else None,
        "heldout_loss": min(heldout, default=None),
        "tokens_per_second": state["tokens"] / seconds if seconds else None,
        "tokens": state["tokens"],
    }
