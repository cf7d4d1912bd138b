"""What training tells while it runs: events, the metrics table, and the alarm for a diverging loss."""

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.trainer.child import Diverged
from tasks.trainer.events import emit

METRICS_SCHEMA = pa.schema(
    [
        ("step", pa.int64()),
        ("epoch", pa.float64()),
        ("loss", pa.float64()),
        ("heldout_loss", pa.float64()),
        ("learning_rate", pa.float64()),
        ("grad_norm", pa.float64()),
        ("tokens_per_second", pa.float64()),
    ]
)
"""One row a step; step 0 holds the held-out loss of the base. Nulls where nothing was measured."""

EXPLODED = 4.0
"""A loss above this many times ln(vocabulary), the loss of a uniform guess, and above twice the first loss, has
learned worse than nothing. (A base that never saw such text may well start above ln(vocabulary).)"""

EXPLODED_STEPS = 3
"""So many such steps in a row are no outlier."""


@dataclass
class DivergenceAlarm:
    """Raises Diverged at the first loss or gradient that is not finite, or when the loss stays exploded."""

    vocabulary: int
    _first_loss: float | None = None
    _exploded_steps: int = 0

    def check(self, step: int, loss: float, grad_norm: float | None) -> None:
        advice = "Lower the learning rate or look at the data."
        if not math.isfinite(loss):
            raise Diverged(f"the loss is {loss} at step {step}. {advice}")
        if grad_norm is not None and not math.isfinite(grad_norm):
            raise Diverged(f"the gradient is {grad_norm} at step {step}. {advice}")
        self._first_loss = loss if self._first_loss is None else self._first_loss
        limit = max(EXPLODED * math.log(max(self.vocabulary, 2)), 2 * self._first_loss)
        self._exploded_steps = self._exploded_steps + 1 if loss > limit else 0
        if self._exploded_steps >= EXPLODED_STEPS:
            raise Diverged(
                f"the loss is {loss:.4g} at step {step}, above {limit:.4g} for {EXPLODED_STEPS} steps; "
                f"a uniform guess has {math.log(self.vocabulary):.4g}. {advice}"
            )


@dataclass
class Journal:
    """Collects one row of metrics a step, emits the events, and keeps the time that training itself takes."""

    alarm: DivergenceAlarm
    total_steps: int = 0
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    training_seconds: float = 0.0
    tokens: int = 0
    _since: float = field(default_factory=time.perf_counter)

    def start_clock(self) -> None:
        """Training goes on from here; what lies between is evaluation and saving."""
        self._since = time.perf_counter()

    def step(
        self, step: int, epoch: float, *, loss: float, grad_norm: float | None, learning_rate: float, tokens: int
    ) -> None:
        """Note one optimiser step of `tokens` tokens without padding; raises Diverged."""
        seconds = max(time.perf_counter() - self._since, 1e-9)
        self.alarm.check(step, loss, grad_norm)
        row = {
            "loss": loss,
            "grad_norm": grad_norm,
            "learning_rate": learning_rate,
            "tokens_per_second": tokens / seconds,
        }
        self._note(step, epoch, row)
        self.training_seconds += seconds
        self.tokens += tokens
        emit("progress", step=step, total=self.total_steps, **row)
        self.start_clock()

    def evaluation(self, step: int, epoch: float, heldout_loss: float) -> None:
        """Note the held-out loss after `step` steps, in nats a trained token; raises Diverged."""
        if not math.isfinite(heldout_loss):
            raise Diverged(
                f"the held-out loss is {heldout_loss} at step {step}. Lower the learning rate or look at the data."
            )
        self._note(step, epoch, {"heldout_loss": heldout_loss})
        emit("evaluation", step=step, heldout_loss=heldout_loss)

    def best(self) -> tuple[int, float] | None:
        """Step and loss of the lowest held-out loss after at least one step; the earliest of equals."""
        measured = [(row["heldout_loss"], step) for step, row in self.rows.items() if step and "heldout_loss" in row]
        if not measured:
            return None
        loss, step = min(measured)
        return step, loss

    def losses(self) -> list[float]:
        return [row["loss"] for _, row in sorted(self.rows.items()) if "loss" in row]

    def write(self, path: Path) -> None:
        rows = [self.rows[step] for step in sorted(self.rows)]
        pq.write_table(pa.Table.from_pylist(rows, schema=METRICS_SCHEMA), path, compression="zstd")

    def _note(self, step: int, epoch: float, values: dict[str, Any]) -> None:
        self.rows.setdefault(step, {"step": step, "epoch": epoch}).update(values)
