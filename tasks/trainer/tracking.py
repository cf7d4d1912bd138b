"""Metrics for people who watch elsewhere: TensorBoard's files always, other trackers where a recipe names them."""

import importlib.util
from dataclasses import dataclass
from typing import Any

from accelerate import Accelerator

from tasks.config import flat
from tasks.trainer.job import TrainingJob
from tasks.trainer.journal import Journal


@dataclass
class Tracking:
    """accelerate's trackers, told of every step; a resumed run tells them of what came before, too."""

    job: TrainingJob
    accelerator: Accelerator

    def __post_init__(self) -> None:
        missing = [name for name in self.job.watching.trackers if importlib.util.find_spec(name) is None]
        if missing:
            raise ValueError(
                f"training.watching.trackers names {', '.join(missing)}, which is not installed; "
                f"pip install {' '.join(missing)}, or take it out."
            )

    def begin(self, journal: Journal) -> None:
        """Open the trackers."""
        hidden = {"base_model", "sequences", "heldout", "output", "checkpoints", "resume_from", "chat_template"}
        settings = self.job.model_dump(mode="json", exclude=hidden | {"watching", "cost", "end_ids", "adapter"})
        self.accelerator.init_trackers(
            "fettle", config={name: _plain(value) for name, value in flat(settings).items() if value is not None}
        )
        for row in journal.history:
            self._tell(row)

    def step(self, journal: Journal, step: int) -> None:
        """What is known of a step."""
        if step == 1 and 0 in journal.rows:
            self._tell(journal.rows[0])
        self._tell(journal.rows[step])

    def end(self) -> None:
        """Close the trackers, whose last lines may still be waiting."""
        for tracker in self.accelerator.trackers:
            tracker.finish()

    def _tell(self, row: dict[str, Any]) -> None:
        named = {
            "train/loss": row.get("loss"),
            "train/grad_norm": row.get("grad_norm"),
            "train/learning_rate": row.get("learning_rate"),
            "train/tokens_per_second": row.get("tokens_per_second"),
            "eval/loss": row.get("heldout_loss"),
        }
        self.accelerator.log({name: value for name, value in named.items() if value is not None}, step=row["step"])


def _plain(value: Any) -> Any:
    """One of the few types that all trackers take."""
    return value if isinstance(value, int | float | str | bool) else str(value)
