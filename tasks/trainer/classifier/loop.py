"""The training loop of classifiers.

Not transformers' Trainer: its checkpoints name the best one by an absolute path, and a run that goes on from the middle
of an epoch, or that stops at SIGTERM, would need its loop overridden anyway. Here a step is a function of its number,
so a run that was stopped anywhere ends with the same bits.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from tasks.trainer.child import Diverged, Interrupted, is_asked_to_stop
from tasks.trainer.classifier.batches import Batch, Collator
from tasks.trainer.classifier.job import ClassifierJob
from tasks.trainer.classifier.journal import Journal
from tasks.trainer.classifier.keeping import Keeper
from tasks.trainer.classifier.losses import Objective
from tasks.trainer.classifier.measuring import measure
from tasks.trainer.classifier.order import Order
from tasks.trainer.classifier.rows import Numbers
from tasks.trainer.events import emit
from tasks.trainer.models import Machine
from tasks.trainer.schedule import learning_rate_factor

_SECONDS_BETWEEN_SIGNS = 20.0


@dataclass
class Loop:
    """One training, or the rest of one."""

    job: ClassifierJob
    machine: Machine
    model: Any
    optimizer: torch.optim.Optimizer
    objective: Objective
    order: Order
    rows: Collator
    validation: Collator
    journal: Journal
    keeper: Keeper
    micro_batch_size: int
    _last_sign: float = field(default_factory=time.monotonic)

    def run(self, first_step: int) -> None:
        """From a step on to the end, or to where it stops early; `Interrupted` where it was asked to stop."""
        factor = learning_rate_factor("linear", self.job.warmup_ratio, self.order.steps)
        if self.order.is_evaluated(first_step) and not self.journal.is_measured(first_step):
            self._evaluate(first_step)  # it was stopped between a step and its evaluation
        if self._has_ended():
            return
        for number in range(first_step, self.order.steps):
            self._step(number, factor(number))
            if self.order.is_evaluated(number + 1):
                self._evaluate(number + 1)
                if self._has_ended():
                    return
            elif self.keeper.is_due():
                self.keeper.save(number + 1)
            self._stop_if_asked(number + 1)

    def _has_ended(self) -> bool:
        patience = self.job.early_stopping.patience
        return patience is not None and self.journal.without_progress() >= patience

    def _stop_if_asked(self, step: int) -> None:
        if is_asked_to_stop():
            self.keeper.save(step)
            raise Interrupted(f"asked to stop after step {step} of {self.order.steps}; it can go on from there.")

    def _step(self, number: int, factor: float) -> None:
        self.journal.start_clock()
        rows, rate = self.order.step(number), float(self.job.learning_rate or 0) * factor
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self._gradients(number, rows)
        learning = [weight for weight in self.model.parameters() if weight.grad is not None]
        norm = float(torch.nn.utils.clip_grad_norm_(learning, self.job.max_grad_norm or math.inf))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise Diverged(
                f"the loss is {loss:g} and the gradient's length {norm:g} at step {number + 1} of {self.order.steps}, "
                f"with learning rate {rate:g}. Lower learning_rate; the last checkpoint is "
                f"{'none' if self.keeper.last_step is None else f'step {self.keeper.last_step}'}."
            )
        self.optimizer.step()
        self.optimizer.zero_grad()
        tokens, done = int(self.rows.rows.lengths[rows].sum()), number + 1
        self.journal.step(done, self.order.epoch_at(done), loss=loss, learning_rate=rate, tokens=tokens)

    def _gradients(self, number: int, rows: Numbers) -> float:
        """Of a whole step, in as many passes as its micro-batches are; gives its loss."""
        self.model.train()
        size = self.objective.size(torch.from_numpy(self.rows.rows.truth[rows]))
        total = torch.zeros((), device=self.machine.device)
        for turn, begin in enumerate(range(0, len(rows), self.micro_batch_size)):
            batch = self.rows(rows[begin : begin + self.micro_batch_size], (self.job.seed, number, turn, 1))
            batch = batch.on(self.machine.device)
            loss = self.objective.total(self._logits(batch), batch.truth) / size
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            total += loss.detach()
        return float(total)

    def _logits(self, batch: Batch) -> torch.Tensor:
        low = self.machine.compute_dtype != torch.float32
        with torch.autocast(self.machine.device.type, self.machine.compute_dtype, enabled=low):
            logits: torch.Tensor = self.model(**batch.inputs, **batch.fixed).logits
        return logits

    def _evaluate(self, step: int) -> None:
        """Measure on the validation rows, keep the model where it is the best so far, and write a checkpoint."""
        logits = self._validation_logits(step)
        if not np.isfinite(logits).all():
            raise Diverged(f"the model's outputs are no finite numbers after step {step}. Lower learning_rate.")
        truth = self.validation.rows.truth
        self.journal.evaluation(step, measure(logits, truth, multi_label=self.job.multi_label))
        best = self.journal.best()
        if best is not None and best["step"] == step:
            self.keeper.keep_best(step)
        self.keeper.save(step)

    def _validation_logits(self, step: int) -> npt.NDArray[np.float32]:
        rows = self.validation.rows
        logits = np.zeros((len(rows), rows.truth.shape[1]), dtype=np.float32)
        self.model.eval()
        for numbers in self._by_length(rows.lengths):
            self._stop_if_asked(step)
            with torch.no_grad():
                batch = self.validation(numbers).on(self.machine.device)
                logits[numbers] = self._logits(batch).float().cpu().numpy()
            self._show_life()
        return logits

    def _by_length(self, lengths: Numbers) -> Iterator[Numbers]:
        """Rows of similar length, the longest first, so that memory runs out at once or never."""
        order = np.argsort(-lengths, kind="stable")
        for begin in range(0, len(order), self.micro_batch_size):
            yield order[begin : begin + self.micro_batch_size]

    def _show_life(self) -> None:
        if time.monotonic() - self._last_sign >= _SECONDS_BETWEEN_SIGNS:
            self._last_sign = time.monotonic()
            emit("alive")
