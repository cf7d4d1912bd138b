"""In which order rows are trained: one stream for the whole run, the same for any number of processes."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from datasets import Dataset
from torch.utils.data import Dataset as TorchDataset

from tasks.trainer.batches import Batch, PackedCollator

Numbers = npt.NDArray[np.int64]

_BATCHES_PER_GROUP = 64
"""Steps whose rows are sorted by length together: enough to find rows of like length, few enough to stay random."""


@dataclass(frozen=True)
class Order:
    """The rows of each optimiser step. Epochs follow one another without a gap: a step may hold the end of one and the
    beginning of the next, so that every step but the last has `batch_size` rows."""

    rows: int
    epochs: float
    batch_size: int
    seed: int
    lengths: Numbers | None = None
    """Tokens of each row, where rows of similar length are to share a step."""
    _epochs: dict[int, Numbers] = field(default_factory=dict, compare=False, repr=False)

    @property
    def total_rows(self) -> int:
        """Rows of the run, each counted as often as it is trained."""
        return max(1, math.ceil(round(self.rows * self.epochs, 6)))

    @property
    def steps(self) -> int:
        return math.ceil(self.total_rows / self.batch_size)

    def step(self, number: int) -> Numbers:
        """Row numbers of a step, counted from 0."""
        begin = number * self.batch_size
        end = min(begin + self.batch_size, self.total_rows)
        pieces = [
            self._epoch(epoch)[max(0, begin - epoch * self.rows) : end - epoch * self.rows]
            for epoch in range(begin // self.rows, math.ceil(end / self.rows))
        ]
        return np.concatenate(pieces)

    def epoch_at(self, steps_done: int) -> float:
        """Passes over the rows after so many steps."""
        return min(steps_done * self.batch_size, self.total_rows) / self.rows

    def _epoch(self, epoch: int) -> Numbers:
        if epoch not in self._epochs:
            order = _permutation(self.rows, self.seed, epoch)
            for earlier in [each for each in self._epochs if each < epoch - 1]:
                del self._epochs[earlier]
            self._epochs[epoch] = order if self.lengths is None else self._grouped(order, self.lengths, epoch)
        return self._epochs[epoch]

    def _grouped(self, order: Numbers, lengths: Numbers, epoch: int) -> Numbers:
        generator = np.random.default_rng([self.seed, epoch, 1])
        size = self.batch_size * _BATCHES_PER_GROUP
        batches: list[Numbers] = []
        for begin in range(0, self.rows, size):
            group = order[begin : begin + size]
            group = group[np.argsort(-lengths[group], kind="stable")]
            split = [group[at : at + self.batch_size] for at in range(0, len(group), self.batch_size)]
            # The short one stays at the end: steps are cut from the stream by their size alone.
            whole = [each for each in split if len(each) == self.batch_size]
            batches += [whole[at] for at in generator.permutation(len(whole))] + split[len(whole) :]
        return np.concatenate(batches)


def _permutation(rows: int, seed: int, epoch: int) -> Numbers:
    return np.random.default_rng([seed, epoch]).permutation(rows)


class Steps(TorchDataset[list[Batch]]):
    """Item n: what one process computes in step n, a list of micro-batches.

    Every process has equally many, so that none waits for another: where a last step has too few rows, some are fillers
    whose loss does not count.
    """

    def __init__(
        self,
        rows: Dataset,
        order: Order,
        collator: PackedCollator,
        *,
        micro_batch_size: int,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self.rows, self.order, self.collator = rows, order, collator
        self.micro_batch_size, self.rank, self.processes = micro_batch_size, rank, processes

    def __len__(self) -> int:
        return self.order.steps

    def __getitem__(self, step: int) -> list[Batch]:
        mine = self.micro_batches(step)
        return [self.collator(rows_at(self.rows, each)) if len(each) else self.collator.filler() for each in mine]

    def micro_batches(self, step: int) -> list[Numbers]:
        """The row numbers of this process's micro-batches in a step; empty where a filler stands."""
        rows, size = self.order.step(step), self.micro_batch_size
        turns = math.ceil(len(rows) / (size * self.processes))
        chunks = [rows[at * size : (at + 1) * size] for at in range(turns * self.processes)]
        return chunks[self.rank :: self.processes]


def rows_at(rows: Dataset, numbers: Numbers) -> list[dict[str, Any]]:
    """Some rows, as the collator takes them."""
    return [rows[int(number)] for number in numbers]


def loader(steps: Steps, first_step: int, device: torch.device) -> "torch.utils.data.DataLoader[list[Batch]]":
    """The steps from one on, read ahead of a GPU by a process of their own."""
    is_cuda = device.type == "cuda"
    return torch.utils.data.DataLoader(
        steps,
        batch_size=None,
        sampler=range(first_step, len(steps)),
        num_workers=1 if is_cuda else 0,
        prefetch_factor=4 if is_cuda else None,
        pin_memory=is_cuda,
        generator=torch.Generator(),  # its own: the global one belongs to dropout, whose draws a resumed run repeats
    )
