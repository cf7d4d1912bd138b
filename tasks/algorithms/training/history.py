"""A training run as its metrics tell it, and what can be said of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, median
from typing import Any, Literal

from tasks.algorithms.training.rates import Learning
from tasks.config import Config

History = Sequence[Mapping[str, Any]]
"""One row a step, in order: step, loss, heldout_loss, grad_norm, …; none or absent where nothing was measured. Step 0
holds the held-out loss of the base. Losses are in nats a trained token."""

Name = Literal[
    "divergence",
    "learning_rate_too_high",
    "learning_rate_too_low",
    "shuffled_labels",
    "memorisation",
    "overfitting",
    "underfitting",
]

_WINDOW_SHARE, _SHORTEST_WINDOW, _LONGEST_WINDOW = 0.1, 5, 100
"""Training loss is one batch's and noisy, so it is compared as a mean over the latest tenth of the steps."""


class Diagnosis(Config):
    """What is wrong with a run, what shows it, and what to do."""

    name: Name
    """What it is called."""
    sentence: str
    """What was seen, with its numbers and steps."""
    evidence: dict[str, float]
    """The numbers by name; all finite."""
    advice: str
    """What to do."""


class Facts(Config):
    """What a diagnosis must know besides the metrics."""

    steps: int
    """Optimiser steps that are planned."""
    epochs: float
    """Passes over the rows that are planned."""
    rows: int
    """Rows of one pass."""
    vocabulary: int
    """Embeddings of the model: a uniform guess has a loss of ln(vocabulary)."""
    parameters: int
    """Parameters of the whole model."""
    learning: Learning
    """How much of the model learns."""
    learning_rate: float
    """Highest rate of the schedule."""


@dataclass(frozen=True)
class Course:
    """The losses of a run, without what is not finite. Has at least one training loss."""

    losses: tuple[tuple[int, float], ...]
    """Step and training loss."""
    heldout: tuple[tuple[int, float], ...]
    """Step and held-out loss, of the trained model."""
    base: float | None
    """Held-out loss of the base."""

    @classmethod
    def of(cls, history: History) -> "Course | None":
        """The course of a history; none where no loss is known yet."""
        losses = _measured(history, "loss")
        heldout = _measured(history, "heldout_loss")
        base = heldout[0][1] if heldout and heldout[0][0] == 0 else None
        return cls(losses, tuple(each for each in heldout if each[0]), base) if losses else None

    @property
    def step(self) -> int:
        """The latest step."""
        return self.losses[-1][0]

    @property
    def first(self) -> float:
        """Training loss of the first step: the base's own, as the weights move only after it."""
        return self.losses[0][1]

    @cached_property
    def start(self) -> float:
        """The loss from which the run sets out, the higher of the base's on held-out and on training rows."""
        early = median(loss for _, loss in self.losses[:3])
        return max(self.first, early if self.base is None else self.base)

    @cached_property
    def window(self) -> int:
        """Steps of a mean of training losses."""
        return min(max(round(len(self.losses) * _WINDOW_SHARE), _SHORTEST_WINDOW), _LONGEST_WINDOW)

    @cached_property
    def recent(self) -> float:
        """Mean training loss of the latest steps."""
        return self.around(self.step)

    def around(self, step: int) -> float:
        """Mean training loss of the steps that end with this one."""
        upto = [loss for at, loss in self.losses if at <= step] or [self.first]
        return fmean(upto[-self.window :])

    @cached_property
    def best(self) -> tuple[int, float] | None:
        """Step and value of the lowest held-out loss of the trained model; the earliest of equals."""
        return min(self.heldout, key=lambda each: (each[1], each[0]), default=None)

    def gap(self) -> float | None:
        """Held-out minus training loss now, less what the base itself has of it.

        The mixture need not be drawn as the held-out rows are, so the base, too, may find one side easier.
        """
        if not self.heldout:
            return None
        begun = 0.0 if self.base is None else max(0.0, self.base - self.first)
        return self.heldout[-1][1] - self.around(self.heldout[-1][0]) - begun


def _measured(history: History, name: str) -> tuple[tuple[int, float], ...]:
    found = ((int(row["step"]), row.get(name)) for row in history)
    return tuple((step, float(value)) for step, value in found if value is not None and math.isfinite(value))
