"""Which rows each step trains: drawn anew in each epoch, and the same in a process that goes on from a checkpoint."""

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tasks.trainer.classifier.rows import Numbers, Truth

_BATCHES_PER_GROUP = 32
"""Batches whose rows are sorted by length together: enough to find rows of like length, few enough to stay random."""


@dataclass(frozen=True)
class Order:
    """The rows of each step. Every epoch has equally many steps, and its last batch may be short."""

    lengths: Numbers
    """Tokens of each row: rows of similar length share a batch, so that little is padded."""
    epochs: float
    batch_size: int
    seed: int
    shares: npt.NDArray[np.float64] | None = None
    """How often each row is drawn, where not each comes once."""
    _batches: dict[int, list[Numbers]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(len(self.lengths) / self.batch_size)

    @property
    def steps(self) -> int:
        return max(1, math.ceil(round(self.steps_per_epoch * self.epochs, 6)))

    def step(self, number: int) -> Numbers:
        """Row numbers of a step, counted from 0."""
        epoch, place = divmod(number, self.steps_per_epoch)
        if epoch not in self._batches:
            self._batches.clear()
            self._batches[epoch] = self._epoch(epoch)
        return self._batches[epoch][place]

    def epoch_at(self, steps_done: int) -> float:
        """Passes over the rows after so many steps."""
        return steps_done / self.steps_per_epoch

    def is_evaluated(self, steps_done: int) -> bool:
        """Whether an epoch, or all, ends after so many steps."""
        return steps_done > 0 and (steps_done % self.steps_per_epoch == 0 or steps_done == self.steps)

    def _epoch(self, epoch: int) -> list[Numbers]:
        generator = np.random.default_rng([self.seed, epoch])
        count, size = len(self.lengths), self.batch_size
        drawn = (
            generator.permutation(count) if self.shares is None else generator.choice(count, size=count, p=self.shares)
        )
        batches: list[Numbers] = []
        for begin in range(0, count, size * _BATCHES_PER_GROUP):
            group = drawn[begin : begin + size * _BATCHES_PER_GROUP]
            group = group[np.argsort(-self.lengths[group], kind="stable")]
            batches += [group[at : at + size] for at in range(0, len(group), size)]
        return [batches[at] for at in generator.permutation(len(batches))]


def balanced_shares(truth: Truth) -> npt.NDArray[np.float64]:
    """How often each row is drawn so that labels come equally often: by its rarest label.

    Rows without a label count as having one of their own.
    """
    all_labels = np.column_stack([truth, ~truth.any(axis=1)])
    counts = np.maximum(all_labels.sum(axis=0), 1)
    shares = (all_labels / counts).max(axis=1)
    found: npt.NDArray[np.float64] = shares / shares.sum()
    return found
