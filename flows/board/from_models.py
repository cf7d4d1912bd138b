"""Metrics of a store's published models: which version is in use, how old it is, and what waits for a person."""

import logging
from datetime import datetime

from flows.board.metrics import MOST_RECIPES, Samples
from tasks.artifacts import aliases, registry
from tasks.artifacts.errors import StoreError
from tasks.artifacts.store import Store
from tasks.gate_record import GateRefusedError
from tasks.promotion import is_waiting

logger = logging.getLogger("fettle.board")

Row = tuple[str, float, tuple[str, ...]]


class Models:
    """Reads the registry anew only when a version, a move or an approval came or went."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._listed: frozenset[str] = frozenset()
        self._rows: list[Row] = []

    def samples(self, samples: Samples) -> None:
        """Versions and their ages, by alias."""
        # Versions, moves and approvals are created once, so their names tell whether anything is new.
        listed = frozenset(path for path in self.store.files.sizes(registry.FOLDER) if _is_record(path))
        if listed != self._listed:
            self._rows = self._read(listed)
            self._listed = listed
        for name, value, labels in self._rows:
            samples.add(name, value, *labels)

    def _read(self, listed: frozenset[str]) -> list[Row]:
        newest: dict[str, int] = {}
        for path in listed:
            steps = path.split("/")
            if steps[-1] == registry.RECORD:
                newest[steps[1]] = max(newest.get(steps[1], 0), int(steps[2]))
        rows: list[Row] = []
        for model, number in sorted(newest.items(), key=lambda item: -item[1])[:MOST_RECIPES]:
            try:
                rows += self._of_model(model, number)
            except (StoreError, GateRefusedError) as error:
                if getattr(error, "transient", False):
                    raise
                # One model whose record was damaged takes no other metric along.
                logger.warning("%s has no metrics: %s", model, error)
        return rows

    def _of_model(self, model: str, number: int) -> list[Row]:
        waiting = is_waiting(self.store, registry.version(self.store, model, number))
        return [*self._pointed_to(model), ("fettle_models_waiting", float(waiting), (model,))]

    def _pointed_to(self, model: str) -> list[Row]:
        rows: list[Row] = []
        for alias, move in aliases.latest_moves(self.store, model).items():
            version = registry.version(self.store, model, move.version)
            for name, value in (
                ("version", float(move.version)),
                ("published_timestamp_seconds", datetime.fromisoformat(version.at).timestamp()),
                ("moved_timestamp_seconds", datetime.fromisoformat(move.at).timestamp()),
            ):
                rows.append((f"fettle_model_{name}", value, (model, alias)))
        return rows


def _is_record(path: str) -> bool:
    steps = path.split("/")
    own = (
        len(steps) == 4
        and steps[2].isdecimal()
        and steps[3] in (registry.RECORD, registry.APPROVAL, registry.REJECTION)
    )
    return own or (len(steps) == 5 and steps[2] == "aliases" and not steps[4].startswith("."))
