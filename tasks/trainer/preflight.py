"""Before the money goes: what fits into memory, and whether the first steps look like learning."""

import gc
import math
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import psutil
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from datasets import Dataset

from tasks.algorithms.training.memory import SPARE, micro_batches
from tasks.algorithms.training.smoke import Generation, judge
from tasks.config import Config
from tasks.trainer.batches import UNTRAINED, Batch, Extent, PackedCollator
from tasks.trainer.child import Diverged, OverBudget, is_out_of_memory
from tasks.trainer.devices import is_sharded
from tasks.trainer.events import emit
from tasks.trainer.generation import complete
from tasks.trainer.head import trained_loss
from tasks.trainer.job import TrainingJob
from tasks.trainer.journal import Journal
from tasks.trainer.loop import Loop
from tasks.trainer.models import Tokenizer
from tasks.trainer.order import rows_at

SMOKE_STEPS, SMOKE_SHARE, FEWEST_STEPS = 100, 0.05, 20
PROMPTS, ANSWER_TOKENS = 4, 64


class Settings(Config):
    """How a run computes, on the machine that it began on; a resumed run does it the same way."""

    micro_batch_size: int
    gradient_checkpointing: bool
    attention: str
    peak_memory_bytes: int | None = None
    """Measured on the longest batch, with the optimiser's state; null where nothing was measured."""


@dataclass(frozen=True)
class Trial:
    """Chooses the largest forward pass that fits into memory."""

    job: TrainingJob
    model: Any
    accelerator: Accelerator
    rows: Dataset
    extent: Extent
    collator: PackedCollator

    def settings(self, attention: str) -> Settings:
        """Without checkpointing of activations where any micro-batch fits so; ValueError where nothing fits."""
        self.model.train()  # in which alone activations are computed twice
        is_measured = self.job.watching.preflight and not is_sharded(self.job)
        asked = self.job.gradient_checkpointing
        # A model in parts is too large to try, so it is spared what can be spared.
        tried = (False, True) if is_measured else (True,)
        for recompute in tried if asked == "auto" else (asked,):
            if recompute:
                recompute_activations(self.model)
            for size in self._sizes():
                if not is_measured:
                    return Settings(micro_batch_size=size, gradient_checkpointing=recompute, attention=attention)
                peak = self._of_all(self._peak_bytes(size))
                if peak is not None:
                    return Settings(
                        micro_batch_size=size,
                        gradient_checkpointing=recompute,
                        attention=attention,
                        peak_memory_bytes=peak,
                    )
        raise ValueError(
            f"one row of {self.extent.lengths.max():,} tokens does not fit into memory, even with its activations "
            "computed twice. Lower tokenization.max_length, choose a method that trains fewer weights, or a larger "
            "device."
        )

    def _sizes(self) -> list[int]:
        """Micro-batches to try, the largest first; all divide a process's share of the batch."""
        share, longest = self.job.batch_size // self.accelerator.num_processes, int(self.extent.lengths.max())
        device: Literal["cpu", "cuda"] = "cuda" if self.accelerator.device.type == "cuda" else "cpu"
        return micro_batches(share, longest, device, self.job.micro_batch_size)

    def _peak_bytes(self, size: int) -> int | None:
        """Memory that a step with the longest rows needs; None where there is not so much."""
        longest = np.resize(np.argsort(-self.extent.lengths, kind="stable")[:size], size)
        learning = sum(weight.numel() for weight in self.model.parameters() if weight.requires_grad)
        try:
            batch = self.collator(rows_at(self.rows, longest)).on(self.accelerator.device)
            return self._measured(batch, size, learning * self._bytes_a_weight())
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return None
        finally:
            self.model.zero_grad(set_to_none=True)
            gc.collect()
            if self.accelerator.device.type == "cuda":
                torch.cuda.empty_cache()

    def _of_all(self, peak: int | None) -> int | None:
        """The most that any process needs; None where one has not so much: all must choose the same."""
        if self.accelerator.num_processes == 1:
            return peak
        mine = torch.tensor([-1 if peak is None else peak], device=self.accelerator.device)
        told: list[int] = self.accelerator.gather(mine).tolist()
        return None if min(told) < 0 else max(told)

    def _bytes_a_weight(self) -> int:
        """What comes on top later: AdamW's state, DDP's copy of the gradients, what elastic training holds on to."""
        copies = 4 if self.accelerator.num_processes > 1 else 0
        return 8 + copies + (8 if self.job.method.kind == "elastic" else 0)

    def _measured(self, batch: Batch, size: int, optimiser: int) -> int | None:
        on_gpu = self.accelerator.device.type == "cuda"
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        accumulates = size < self.job.batch_size // self.accelerator.num_processes
        for _ in range(2 if accumulates else 1):  # the second meets the gradients of the first
            with self.accelerator.autocast():
                loss = trained_loss(self.model, batch.inputs)
            self.accelerator.backward(loss)
        if not on_gpu:
            # What is resident was there at least once; the optimiser's state comes on top.
            fits = optimiser < psutil.virtual_memory().available
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + optimiser if fits else None
        free, total = torch.cuda.mem_get_info()
        room = free + torch.cuda.memory_reserved() - SPARE * total
        peak = torch.cuda.max_memory_allocated() + optimiser
        return peak if peak <= room else None


def recompute_activations(model: Any) -> None:
    """Turn checkpointing of activations on, once and for all."""
    # The name that transformers gives it since 5.2x; the older one is deprecated there.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable()


@dataclass
class Smoke:
    """The run's own first steps, judged before the rest is paid for: nothing is trained twice."""

    loop: Loop
    tokenizer: Tokenizer
    prompts: Sequence[list[int]]
    """Held-out rows up to their first trained token."""
    end_ids: Sequence[int]
    at: int | None
    """After how many steps; None judges nothing."""

    def look(self, step: int) -> None:
        """Judge, if it is time; `Diverged` where the rest would be wasted."""
        if step != self.at:
            return
        journal = self.loop.journal
        base = journal.rows.get(0, {}).get("heldout_loss")
        heldout = self.loop.heldout_loss() if self.loop.heldout else None
        answers = self._answers()
        fatal, warnings = judge(journal.history, base, heldout, answers)
        emit(
            "smoke",
            step=step,
            heldout_loss=heldout if heldout is not None and math.isfinite(heldout) else None,
            base_heldout_loss=base,
            answers=len(answers),
            answers_ended=sum(each["ended"] for each in answers),
            tokens_per_second=round(journal.tokens_per_second(), 1),
            seconds_left=round(journal.seconds_left(step), 1),
            cost=self._cost(step),
            warnings=list(warnings),
        )
        if fatal:
            raise Diverged(f"the first {step} steps do not look like learning: {' '.join(fatal)}")

    def _cost(self, step: int) -> float | None:
        """What the whole run will cost by its speed so far, where a price is known."""
        job, journal = self.loop.job, self.loop.journal
        price = job.cost.price_per_device_hour
        hours = (journal.seconds_spent() + journal.seconds_left(step)) / 3600
        return None if price is None else round(hours * self.loop.accelerator.num_processes * price, 2)

    def _answers(self) -> list[Generation]:
        """What the model says by now; nothing where it is spread over several devices."""
        accelerator = self.loop.accelerator
        if not self.prompts or is_sharded(self.loop.job):
            return []
        model = accelerator.unwrap_model(self.loop.model)
        written = complete(model, self.tokenizer, self.prompts, ANSWER_TOKENS, self.end_ids)
        return [Generation(text=each.text, ended=each.ended, tokens=each.tokens) for each in written]


def smoke_step(job: TrainingJob, steps: int) -> int | None:
    """After how many steps the first ones are judged: 100, or 5 % where that is less."""
    if not job.watching.preflight or steps < FEWEST_STEPS:
        return None
    return min(SMOKE_STEPS, math.ceil(steps * SMOKE_SHARE))


def prompts_of(heldout: Dataset | None) -> list[list[int]]:
    """A few held-out rows up to where the model is to write."""
    found = []
    for row in heldout.select(range(min(PROMPTS, len(heldout)))) if heldout is not None else []:
        trained = np.flatnonzero(row["labels"] != UNTRAINED)
        if len(trained) and trained[0]:
            found.append(row["input_ids"][: trained[0]].tolist())
    return found


@dataclass
class Budget:
    """What a run has cost, and whether it may go on."""

    job: TrainingJob
    journal: Journal

    def check(self, step: int, judged_at: int | None) -> None:
        """`OverBudget` where the budget is spent, or will be by the speed of the first steps."""
        limits = self.job.cost
        if limits.most is None and limits.most_hours is None:
            return
        # The longest of all processes, as their clocks differ: all must stop, or none.
        hours = max(gather_object([self.journal.seconds_spent()])) / 3600 * self.job.devices
        if judged_at == step:
            self._require(hours / step * self.journal.total_steps, "would take")
        self._require(hours, "has taken")

    def _require(self, device_hours: float, verb: str) -> None:
        limits, hours = self.job.cost, device_hours / self.job.devices
        if limits.most_hours is not None and hours > limits.most_hours:
            raise OverBudget(
                f"training {verb} {hours:.2f} hours, and cost.most_hours is {limits.most_hours:g}. Raise it, or give "
                "it less to do: fewer epochs or rows, or a method that trains fewer weights."
            )
        price = limits.price_per_device_hour
        if limits.most is not None and price is not None and device_hours * price > limits.most:
            raise OverBudget(
                f"training {verb} {device_hours:.2f} device-hours, which cost {device_hours * price:.2f} at {price:g} "
                f"each, and cost.most is {limits.most:g}. Raise it, or give it less to do."
            )
