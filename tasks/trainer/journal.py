"""What training tells while it runs: events and the metrics table."""

import time
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.trainer.events import emit

FILE = "journal.json"
"""The journal's state in each checkpoint."""

METRICS_SCHEMA = pa.schema(
    [
        ("step", pa.int64()),
        ("epoch", pa.float64()),
        ("loss", pa.float64()),
        ("heldout_loss", pa.float64()),
        ("learning_rate", pa.float64()),
        ("grad_norm", pa.float64()),
        ("tokens_per_second", pa.float64()),
        ("sequences", pa.list_(pa.int64())),
    ]
)
"""One row a step, with the numbers of the sequences that it was trained on, counted from 0; step 0 holds the held-out
loss of the base. Nulls where nothing was measured."""


@dataclass
class Journal:
    """One row of metrics a step, and the time that training itself takes. A checkpoint carries it along."""

    total_steps: int = 0
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    training_seconds: float = 0.0
    tokens: int = 0
    diagnosed: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Diagnoses by name, as they were first told."""
    earlier_seconds: float = 0.0
    """What processes before this one spent."""
    _began: float = field(default_factory=time.perf_counter)
    _since: float = field(default_factory=time.perf_counter)

    def start_clock(self) -> None:
        """Training goes on from here; what lies before is loading, evaluation or saving."""
        self._since = time.perf_counter()

    def step(
        self,
        step: int,
        epoch: float,
        sequences: list[int],
        *,
        loss: float,
        grad_norm: float,
        learning_rate: float,
        tokens: int,
    ) -> None:
        """Note one optimiser step of `tokens` tokens without padding."""
        seconds = max(time.perf_counter() - self._since, 1e-9)
        row = {
            "loss": loss,
            "grad_norm": grad_norm,
            "learning_rate": learning_rate,
            "tokens_per_second": tokens / seconds,
        }
        self._note(step, epoch, row | {"sequences": sequences})
        self.training_seconds += seconds
        self.tokens += tokens
        emit("progress", step=step, total=self.total_steps, **row)
        self.start_clock()

    def evaluation(self, step: int, epoch: float, heldout_loss: float) -> None:
        """Note the held-out loss after `step` steps, in nats a trained token."""
        self._note(step, epoch, {"heldout_loss": heldout_loss})
        emit("evaluation", step=step, heldout_loss=heldout_loss)

    def diagnosis(self, name: str, **words: Any) -> None:
        """Tell of something that is wrong, once."""
        if name not in self.diagnosed:
            self.diagnosed[name] = {"name": name, **words}
            emit("diagnosis", **self.diagnosed[name])

    def best(self) -> tuple[int, float] | None:
        """Step and loss of the lowest held-out loss after at least one step; the earliest of equals."""
        measured = [(row["heldout_loss"], step) for step, row in self.rows.items() if step and "heldout_loss" in row]
        if not measured:
            return None
        loss, step = min(measured)
        return step, loss

    @property
    def history(self) -> list[dict[str, Any]]:
        """The rows in the order of their steps, in which they were noted."""
        return list(self.rows.values())

    def recent(self, most: int) -> list[dict[str, Any]]:
        """The first row of a step and the last rows, in order."""
        latest = list(islice(reversed(self.rows.values()), most))[::-1]
        first = self.rows.get(1)
        return latest if first is None or latest[0]["step"] <= 1 else [first, *latest]

    def losses(self) -> list[float]:
        """The training loss of each step."""
        return [row["loss"] for row in self.history if "loss" in row]

    def tokens_per_second(self) -> float:
        """Over all of training, without evaluations."""
        return self.tokens / max(self.training_seconds, 1e-9)

    def seconds_left(self, step: int) -> float:
        """How long the rest will take at the speed so far."""
        return self.training_seconds / max(step, 1) * (self.total_steps - step)

    def seconds_spent(self) -> float:
        """Wall time of this and all earlier processes, with loading, evaluations and saving."""
        return self.earlier_seconds + time.perf_counter() - self._began

    def write(self, path: Path) -> None:
        """The metrics table."""
        pq.write_table(pa.Table.from_pylist(self.history, schema=METRICS_SCHEMA), path, compression="zstd")

    def state(self) -> dict[str, Any]:
        """What a resumed process needs, as plain JSON values."""
        return {
            "rows": self.history,
            "training_seconds": self.training_seconds,
            "seconds_spent": self.seconds_spent(),
            "tokens": self.tokens,
            "diagnosed": list(self.diagnosed.values()),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self.rows = {row["step"]: row for row in state["rows"]}
        self.training_seconds, self.tokens = state["training_seconds"], state["tokens"]
        self.earlier_seconds = state["seconds_spent"]
        self.diagnosed = {each["name"]: each for each in state["diagnosed"]}

    def _note(self, step: int, epoch: float, values: dict[str, Any]) -> None:
        self.rows.setdefault(step, {"step": step, "epoch": epoch}).update(values)
