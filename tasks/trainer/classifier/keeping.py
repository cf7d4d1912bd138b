"""Which states of a classifier's training are kept, and that whoever mirrors them is told."""

import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tasks.trainer import resuming
from tasks.trainer.classifier.journal import FILE as JOURNAL
from tasks.trainer.classifier.journal import Journal
from tasks.trainer.events import emit


@dataclass
class Keeper:
    """Writes checkpoints to resume from, and the weights of the best epoch, by names and without paths."""

    folder: Path
    model: Any
    optimizer: torch.optim.Optimizer
    journal: Journal
    resumable: bool
    """Whether anybody wants checkpoints to resume from."""
    seconds_between: float
    last_step: int | None = None
    best_step: int | None = None
    _saved_at: float = field(default_factory=time.monotonic)
    _named: list[int] = field(default_factory=list)
    """The best steps that the last two checkpoints name: whoever mirrors may still read them."""

    def is_due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return self.resumable and time.monotonic() - self._saved_at >= self.seconds_between

    def save(self, step: int) -> None:
        """A checkpoint after a step. A disk that is full loses nothing that was there before."""
        if not self.resumable or step == self.last_step:
            return
        folder = resuming.step_folder(self.folder, step)
        resuming.write_whole(folder, self._write, together=_alone)
        best = None if self.best_step is None else str(resuming.best_folder(self.folder, self.best_step))
        emit("checkpoint", step=step, folder=str(folder), best_step=self.best_step, best_folder=best)
        self.last_step, self._saved_at = step, time.monotonic()
        self._named = [*self._named[-1:], *([] if self.best_step is None else [self.best_step])]

    def keep_best(self, step: int) -> None:
        """The weights of the best epoch so far; those before it go."""
        folder = resuming.best_folder(self.folder, step)
        resuming.write_whole(folder, lambda partial: resuming.save_weights(self.model, partial), together=_alone)
        earlier, self.best_step = self.best_step, step
        if earlier is not None and earlier not in self._named:
            shutil.rmtree(resuming.best_folder(self.folder, earlier), ignore_errors=True)

    def restore_best(self) -> None:
        """Put the best weights back into the model."""
        if self.best_step is not None:
            resuming.load_weights(self.model, resuming.best_folder(self.folder, self.best_step))

    def resume(self, folder: Path) -> int:
        """Go on from a checkpoint; gives the number of steps that are done."""
        resuming.load_weights(self.model, folder)
        resuming.load_optimizer(self.model, self.optimizer, folder)
        resuming.load_random_state(folder, 0)
        self.journal.restore(resuming.read_json(folder, JOURNAL))
        best = self.journal.best()
        self.best_step = None if best is None else int(best["step"])
        self._named = [] if self.best_step is None else [self.best_step]
        self.last_step = max(self.journal.rows)
        return self.last_step

    def _write(self, folder: Path) -> None:
        resuming.save_weights(self.model, folder)
        resuming.save_optimizer(self.model, self.optimizer, folder)
        resuming.save_random_state(folder, 0)
        resuming.write_json(folder, JOURNAL, self.journal.state())


def _alone() -> None:
    """One process waits for nobody."""
