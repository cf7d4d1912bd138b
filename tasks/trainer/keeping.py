"""Which states of a run are kept, when, and that whoever mirrors them is told."""

import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from tasks.trainer import resuming
from tasks.trainer.events import emit
from tasks.trainer.journal import FILE as JOURNAL
from tasks.trainer.journal import Journal


@dataclass
class Keeper:
    """Writes checkpoints to resume from every so often, and the weights of the best evaluation."""

    folder: Path
    accelerator: Accelerator
    model: Any
    optimizer: Any
    journal: Journal
    settings: dict[str, Any]
    """What a resumed process must do alike."""
    seconds_between: float
    resumable: bool
    """Whether anybody wants checkpoints to resume from."""
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
        resuming.write_whole(folder, self._write, together=self.accelerator.wait_for_everyone)
        best = None if self.best_step is None else resuming.best_folder(self.folder, self.best_step)
        emit(
            "checkpoint",
            step=step,
            folder=str(folder),
            best_step=self.best_step,
            best_folder=None if best is None else str(best),
        )
        self.last_step, self._saved_at = step, time.monotonic()
        self._named = [*self._named[-1:], *([] if self.best_step is None else [self.best_step])]

    def keep_best(self, step: int) -> None:
        """The weights of the best evaluation so far; those before it go."""
        resuming.write_whole(
            resuming.best_folder(self.folder, step),
            lambda folder: resuming.save_weights(self.model, folder),
            together=self.accelerator.wait_for_everyone,
        )
        earlier, self.best_step = self.best_step, step
        if earlier is not None and earlier not in self._named and self.accelerator.is_main_process:
            shutil.rmtree(resuming.best_folder(self.folder, earlier), ignore_errors=True)

    def restore_best(self) -> None:
        """Put the best weights back into the model."""
        if self.best_step is not None:
            resuming.load_weights(self.model, resuming.best_folder(self.folder, self.best_step))

    def resume(self, folder: Path) -> int:
        """Go on from a checkpoint; gives the number of steps that are done."""
        resuming.load_weights(self.model, folder)
        resuming.load_optimizer(self.model, self.optimizer.optimizer, folder)
        self.journal.restore(resuming.read_json(folder, JOURNAL))
        best = self.journal.best()
        self.best_step = None if best is None else best[0]
        self._named = [] if best is None else [best[0]]
        self.last_step = int(resuming.read_json(folder, resuming.SETTINGS)["step"])
        return self.last_step

    def last(self) -> str:
        """The last checkpoint in words."""
        return "none" if self.last_step is None else f"step {self.last_step}"

    def _write(self, folder: Path) -> None:
        resuming.save_weights(self.model, folder)
        resuming.save_optimizer(self.model, self.optimizer.optimizer, folder)
        if folder.is_dir():  # which it is not on other machines than the first
            resuming.save_random_state(folder, self.accelerator.process_index)
        if self.accelerator.is_main_process:
            state = self.journal.state()
            step = state["rows"][-1]["step"]
            resuming.write_json(folder, JOURNAL, state)
            resuming.write_json(folder, resuming.SETTINGS, self.settings | {"step": step})
