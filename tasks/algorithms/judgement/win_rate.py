"""The win rate with a bootstrap interval. The unit is the prompt: its two orders, and its turns, share their errors."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

RESAMPLES = 4000
_DRAWS_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class Rate:
    """A share from 0 to 1 (or a mean of grades) with its interval."""

    mean: float
    low: float
    high: float
    prompts: int
    resolves: float
    """Half the width of the interval that this many prompts with this spread give."""


def by_prompt(prompts: Sequence[Hashable], scores: Sequence[float]) -> Numbers:
    """One score a prompt: the mean of its contests, in the order in which prompts first appear."""
    sums: dict[Hashable, list[float]] = {}
    for prompt, score in zip(prompts, scores, strict=True):
        sums.setdefault(prompt, []).append(score)
    return np.array([sum(each) / len(each) for each in sums.values()], dtype=np.float64)


def win_rate(scores: Sequence[float] | Numbers, seed: int, *, alpha: float = 0.05, resamples: int = RESAMPLES) -> Rate:
    """The mean of one score a prompt (1 won, ½ tied, 0 lost), and its percentile interval over resampled prompts.

    Prompts that all went alike show no spread to resample; what so few of them cannot rule out is counted instead:
    of n prompts without the other outcome, a share of 1 − α^(1/n) may still have it.
    """
    values = np.asarray(scores, dtype=np.float64)
    if not len(values):
        raise ValueError("a win rate needs at least one prompt that was judged in both orders")
    mean = float(values.mean())
    if np.ptp(values) == 0:
        unseen = 1 - alpha ** (1 / len(values))
        low, high = mean * (1 - unseen), mean + unseen * (1 - mean)
        return Rate(mean, low, high, len(values), (high - low) / 2)
    low, high = interval(values, seed, alpha=alpha, resamples=resamples)
    spread = float(values.std(ddof=1)) / len(values) ** 0.5
    return Rate(mean, low, high, len(values), NormalDist().inv_cdf(1 - alpha / 2) * spread)


def interval(values: Numbers, seed: int, *, alpha: float = 0.05, resamples: int = RESAMPLES) -> tuple[float, float]:
    """The percentile bootstrap interval of a mean."""
    generator = np.random.default_rng(seed)
    means = []
    at_once = max(1, _DRAWS_AT_ONCE // len(values))
    for begin in range(0, resamples, at_once):
        drawn = generator.integers(len(values), size=(min(at_once, resamples - begin), len(values)))
        means.append(values[drawn].mean(axis=1))
    low, high = np.quantile(np.concatenate(means), [alpha / 2, 1 - alpha / 2])
    return float(low), float(high)
