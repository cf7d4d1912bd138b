"""The training loop: accelerate's, with what is left to luck elsewhere.

The loss of a step is the sum over all its trained tokens, in all processes and micro-batches, divided by their number,
which is known before the step begins. Nothing waits for the device inside a step; after it, one number is read.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from torch.optim.lr_scheduler import LambdaLR

from tasks.algorithms.training.watch import Facts, diagnose, divergence, should_stop
from tasks.methods import Regulariser
from tasks.trainer.batches import Batch, Extent, names_of
from tasks.trainer.child import Diverged
from tasks.trainer.devices import without_sync
from tasks.trainer.events import emit
from tasks.trainer.head import heldout_loss, trained_loss
from tasks.trainer.job import TrainingJob
from tasks.trainer.journal import Journal
from tasks.trainer.keeping import Keeper
from tasks.trainer.order import Steps, loader
from tasks.trainer.schedule import evaluation_steps, learning_rate_factor

_NAMED_ROWS = 20
"""Most rows that an error names."""

_SECONDS_BETWEEN_SIGNS = 20.0

RECENT = 64
"""Steps that tell whether training diverges."""


@dataclass
class Loop:
    """One run, or the rest of one."""

    job: TrainingJob
    accelerator: Accelerator
    model: Any
    optimizer: Any
    steps: Steps
    extent: Extent
    heldout: Sequence[Batch]
    journal: Journal
    facts: Facts
    """What diagnoses go by."""
    keeper: Keeper
    regulariser: Regulariser | None = None
    _last_sign: float = field(default_factory=time.monotonic)

    def run(self, first_step: int, after_step: Callable[[int], None]) -> None:
        """From a step on to the end, or to where it stops early; `after_step` raises where it must not go on."""
        self.journal.total_steps = len(self.steps)
        evaluated = evaluation_steps(len(self.steps), self.job.evaluations) if self.heldout else set()
        schedule = self._schedule(first_step)
        if first_step == 0 and self.heldout:
            self.journal.evaluation(0, 0.0, self._sound_loss(0))
        batches = iter(loader(self.steps, first_step, self.accelerator.device))
        self.model.train()
        self.journal.start_clock()
        for number in range(first_step, len(self.steps)):
            self._step(number, next(batches), schedule)
            done = number + 1
            if done in evaluated:
                self._evaluate(done)
            after_step(done)
            if done in evaluated and self.has_ended():
                return
            self.journal.start_clock()

    def has_ended(self) -> bool:
        """Whether the held-out loss tells that more training would not help."""
        losses = [row["heldout_loss"] for row in self.journal.history if row.get("heldout_loss") is not None]
        stopping = self.job.early_stopping
        return stopping is not None and should_stop(losses, stopping.patience, stopping.min_delta)

    def heldout_loss(self) -> float:
        """Mean over the trained tokens of the held-out rows, in nats."""
        return self.mean_loss(self.heldout)

    def mean_loss(self, batches: Sequence[Batch]) -> float:
        """Mean loss over the trained tokens of some batches, shared among the processes."""
        was_training, share = self.model.training, self.accelerator.num_processes
        self.model.eval()
        total = torch.zeros(2, dtype=torch.float64, device=self.accelerator.device)
        with self.accelerator.autocast():
            for batch in self._share(batches, share):
                loss, tokens = heldout_loss(self.model, batch.on(self.accelerator.device).inputs)
                if batch.counts:
                    total[0] += loss
                    total[1] += tokens
                self._show_life()
        self.model.train(was_training)
        nats, counted = self.accelerator.reduce(total, "sum").tolist()
        return float(nats / counted) if counted else math.nan

    def _share(self, batches: Sequence[Batch], processes: int) -> Iterator[Batch]:
        """This process's batches; all have equally many."""
        mine = list(batches[self.accelerator.process_index :: processes])
        yield from mine
        if len(mine) < math.ceil(len(batches) / processes):
            yield self.steps.collator.filler()

    def _step(self, number: int, batches: Sequence[Batch], schedule: LambdaLR) -> None:
        accelerator, rows = self.accelerator, self.steps.order.step(number)
        trained_tokens = int(self.extent.trained[rows].sum())
        nats = torch.zeros((), device=accelerator.device)
        for turn, batch in enumerate(batches):
            is_last = turn == len(batches) - 1
            with nullcontext() if is_last else without_sync(accelerator, self.model):
                nats += self._backward(batch, trained_tokens)
        if self.regulariser is not None:
            self.regulariser.add_gradients()
        limit = self.job.max_grad_norm or math.inf
        norm = accelerator.clip_grad_norm_(self.model.parameters(), limit)
        told = torch.stack([nats.double(), torch.as_tensor(_plain(norm), device=nats.device).double()])
        told[0] = accelerator.reduce(told[0], "sum")
        loss_sum, grad_norm = told.tolist()
        loss = loss_sum / max(trained_tokens, 1)
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            self._diverged(number, loss, grad_norm)
        rate = float(schedule.get_last_lr()[0])
        self.optimizer.step()
        schedule.step()
        self.optimizer.zero_grad()
        tokens, done = int(self.extent.lengths[rows].sum()), number + 1
        self.journal.step(
            done,
            self.steps.order.epoch_at(done),
            rows.tolist(),
            loss=loss,
            grad_norm=grad_norm,
            learning_rate=rate,
            tokens=tokens,
        )
        found = divergence(self.journal.recent(RECENT), self.facts.vocabulary)
        if found is not None:
            self.diagnose()
            raise Diverged(f"{found.sentence} {found.advice} {self._whereabouts(number)}")

    def _backward(self, batch: Batch, trained_tokens: int) -> torch.Tensor:
        """The loss of a micro-batch in nats, summed; its gradient is the step's share."""
        moved = batch.on(self.accelerator.device)
        with self.accelerator.autocast():
            loss = trained_loss(self.model, moved.inputs)
        share = self.accelerator.num_processes if moved.counts else 0  # DDP and FSDP average over processes
        self.accelerator.backward(loss * (share / max(trained_tokens, 1)))
        return loss.detach().float() * moved.counts

    def _schedule(self, first_step: int) -> LambdaLR:
        factor = learning_rate_factor(self.job.scheduler, self.job.warmup_ratio, len(self.steps))
        inner = self.optimizer.optimizer
        for group in inner.param_groups:
            group["lr"] = group["initial_lr"] = self.job.learning_rate
        return LambdaLR(inner, lambda step: factor(step + first_step))

    def _evaluate(self, step: int) -> None:
        self.journal.evaluation(step, self.steps.order.epoch_at(step), self._sound_loss(step))
        found = self.journal.best()
        if found is not None and found[0] == step:
            self.keeper.keep_best(step)
        self.diagnose()

    def _sound_loss(self, step: int) -> float:
        loss = self.heldout_loss()
        if not math.isfinite(loss):
            raise Diverged(
                f"the held-out loss is {loss} after {step} steps. Look at the base's weights and at the held-out rows, "
                f"or lower the learning rate. {self._whereabouts(max(0, step - 1))}"
            )
        return loss

    def diagnose(self) -> None:
        """Tell what the course so far shows."""
        for each in diagnose(self.journal.history, self.facts):
            self.journal.diagnosis(each.name, **each.model_dump(mode="json", exclude={"name"}))

    def _diverged(self, number: int, loss: float, grad_norm: float) -> None:
        """Name the rows that did it: nothing was added to the weights yet, so each can be asked alone."""
        self.optimizer.zero_grad()
        told = f"the loss is {loss} and the gradient {grad_norm} at step {number + 1}."
        guilty = [] if self.accelerator.num_processes > 1 else self._rows_that_are_not_finite(number)
        blamed = f" These rows alone give no finite loss: {_named(guilty)}." if guilty else ""
        raise Diverged(f"{told}{blamed} Lower the learning rate or look at the data. {self._whereabouts(number)}")

    def _rows_that_are_not_finite(self, number: int) -> list[str]:
        found = []
        for row in self.steps.order.step(number):
            if not self.extent.trained[row]:
                continue
            batch = self.steps.collator([self.steps.rows[int(row)]])
            if not math.isfinite(self.mean_loss([batch])):
                found += names_of(self.steps.rows, int(row), "row_ids") or [f"sequence {row}"]
        return found

    def _whereabouts(self, number: int) -> str:
        rows = [
            name
            for row in self.steps.order.step(number)
            for name in names_of(self.steps.rows, int(row), "row_ids") or [f"sequence {row}"]
        ]
        return f"The step's rows: {_named(rows)}. Last good checkpoint: {self.keeper.last()}."

    def _show_life(self) -> None:
        if time.monotonic() - self._last_sign > _SECONDS_BETWEEN_SIGNS:
            self._last_sign = time.monotonic()
            emit("alive")


def _named(rows: Sequence[str]) -> str:
    more = len(rows) - _NAMED_ROWS
    return ", ".join(rows[:_NAMED_ROWS]) + (f" and {more:,} more" if more > 0 else "")


def _plain(norm: Any) -> Any:
    """A gradient's norm, which FSDP gives as a distributed tensor."""
    return norm.full_tensor() if hasattr(norm, "full_tensor") else norm
