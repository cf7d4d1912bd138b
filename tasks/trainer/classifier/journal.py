"""What training a classifier tells while it runs: events and the metrics table."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.trainer.classifier.measuring import Measured
from tasks.trainer.events import emit

FILE = "journal.json"
"""The journal's state in each checkpoint."""

METRICS_SCHEMA = pa.schema(
    [
        ("step", pa.int64()),
        ("epoch", pa.float64()),
        ("loss", pa.float64()),
        ("heldout_loss", pa.float64()),
        ("macro_f1", pa.float64()),
        ("accuracy", pa.float64()),
        ("learning_rate", pa.float64()),
    ]
)
"""One row a step; the loss is the training's, with its weights and smoothing. What was measured on the validation rows
stands in the last step of an epoch, and is null elsewhere."""


@dataclass
class Journal:
    """One row of metrics a step, and the time that training itself takes. A checkpoint carries it along."""

    metric: Literal["macro_f1", "loss"]
    """What tells the best epoch."""
    total_steps: int = 0
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    training_seconds: float = 0.0
    tokens: int = 0
    earlier_seconds: float = 0.0
    """What processes before this one spent."""
    _began: float = field(default_factory=time.perf_counter)
    _since: float = field(default_factory=time.perf_counter)

    def start_clock(self) -> None:
        """Training goes on from here; what lies before is loading, evaluation or saving."""
        self._since = time.perf_counter()

    def step(self, step: int, epoch: float, *, loss: float, learning_rate: float, tokens: int) -> None:
        """Note one optimiser step of `tokens` tokens without padding."""
        seconds = max(time.perf_counter() - self._since, 1e-9)
        row = {"loss": loss, "learning_rate": learning_rate}
        self.rows[step] = {"step": step, "epoch": epoch} | row
        self.training_seconds += seconds
        self.tokens += tokens
        emit("progress", step=step, total=self.total_steps, epoch=epoch, tokens_per_second=tokens / seconds, **row)
        self.start_clock()

    def evaluation(self, step: int, measured: Measured) -> None:
        """Note what was measured on the validation rows after `step` steps."""
        self.rows[step] |= measured._asdict()
        emit("evaluation", step=step, epoch=self.rows[step]["epoch"], **measured._asdict())

    def is_measured(self, step: int) -> bool:
        """Whether the model was measured after a step."""
        return "heldout_loss" in self.rows.get(step, {})

    def measured(self) -> list[dict[str, Any]]:
        """The rows with measurements, in order."""
        return [row for row in self.rows.values() if "heldout_loss" in row]

    def best(self) -> dict[str, Any] | None:
        """The row of the best measurement: of equal macro-F1 the one of lower loss, then the earliest."""
        return max(self.measured(), key=self._worth, default=None)

    def without_progress(self) -> int:
        """How many measurements in a row brought no improvement."""
        found = self.measured()
        best = self.best()
        return 0 if best is None else len(found) - 1 - found.index(best)

    def losses(self) -> list[float]:
        """The training loss of each step."""
        return [row["loss"] for row in self.rows.values()]

    def tokens_per_second(self) -> float:
        """Over all of training, without evaluations."""
        return self.tokens / max(self.training_seconds, 1e-9)

    def seconds_spent(self) -> float:
        """Wall time of this and all earlier processes, with loading, evaluations and saving."""
        return self.earlier_seconds + time.perf_counter() - self._began

    def write(self, path: Path) -> None:
        """The metrics table."""
        table = pa.Table.from_pylist(list(self.rows.values()), schema=METRICS_SCHEMA)
        pq.write_table(table, path, compression="zstd")

    def state(self) -> dict[str, Any]:
        """What a resumed process needs, as plain JSON values."""
        return {
            "rows": list(self.rows.values()),
            "training_seconds": self.training_seconds,
            "seconds_spent": self.seconds_spent(),
            "tokens": self.tokens,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self.rows = {row["step"]: row for row in state["rows"]}
        self.training_seconds, self.tokens = state["training_seconds"], state["tokens"]
        self.earlier_seconds = state["seconds_spent"]

    def _worth(self, row: dict[str, Any]) -> tuple[float, ...]:
        return (row["macro_f1"], -row["heldout_loss"]) if self.metric == "macro_f1" else (-row["heldout_loss"],)
