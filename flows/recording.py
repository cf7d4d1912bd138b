"""The run's own record in the store, kept up to date stage by stage."""

import time
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from tasks.artifacts import runs
from tasks.artifacts.errors import StoreError
from tasks.artifacts.manifest import Artifact, Identity
from tasks.artifacts.store import Store
from tasks.caching import Stage


class Recorder:
    """Watches a run's stages and writes what became of it; a failure is recorded with its words."""

    def __init__(self, store: Store, run: runs.Run) -> None:
        self.store, self.run = store, run
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        runs.save(self.store, self.run)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self.run.outcome == "running":
            # The run's own error is the one to tell, also where a failing store cannot take the record.
            with suppress(StoreError):
                self.end("failed", f"{type(error).__name__}: {error}")

    def began(self, stage: Stage[Any], identity: Identity) -> None:  # noqa: ARG002
        """Tell what is being made, so that a training's checkpoints are found while it runs."""
        self.run = self.run.model_copy(update={"making": identity.address})
        runs.save(self.store, self.run)

    def moved(self, stage: Stage[Any], done: int, total: int | None, unit: str) -> None:
        """Nothing."""

    def ended(self, stage: Stage[Any], artifact: Artifact, *, cached: bool, seconds: float) -> None:
        """Add the stage to the record."""
        record = runs.StageRecord(
            stage=stage.name, verb=stage.verb, address=artifact.address, cached=cached, seconds=round(seconds, 3)
        )
        self.run = self.run.model_copy(update={"stages": (*self.run.stages, record), "making": ""})
        runs.save(self.store, self.run)

    def end(self, outcome: runs.Outcome, message: str, version: int | None = None) -> None:
        """Close the record."""
        seconds = round(time.monotonic() - self._began, 3)
        update = {"outcome": outcome, "message": message[:2000], "version": version, "seconds": seconds}
        self.run = self.run.model_copy(update=update)
        runs.save(self.store, self.run)
