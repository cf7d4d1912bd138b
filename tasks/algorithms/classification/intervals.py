"""How far scores may lie from what another sample of rows would show: the bootstrap, alone and paired."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tasks.algorithms.classification.matrices import Indicator, Numbers, require_alike
from tasks.algorithms.classification.scores import F1, f1, right
from tasks.algorithms.gate.distributions import two_sided_mid_p

_AT_ONCE = 4_000_000
"""Most counts held in memory at a time."""


class Interval(NamedTuple):
    """A score, or a difference of two, with the percentile interval of its bootstrap."""

    value: float
    low: float
    high: float


class Difference(NamedTuple):
    """The tuned model minus its rival, on the same rows; scores from 0 to 1."""

    macro_f1: Interval
    accuracy: Interval
    lost: int
    """Rows that only the rival has right."""
    gained: int
    """Rows that only the tuned model has right."""
    mcnemar_p: float
    """McNemar's exact mid-p that losses and gains differ either way."""


class _Sample(NamedTuple):
    """Rows that are alike in truth and decisions, and how often each stands there."""

    truth: Indicator
    decided: tuple[Indicator, ...]
    rows: Numbers


def bootstrap(
    truth: Indicator, decided: Indicator, seed: int, draws: int = 1000, level: float = 0.95
) -> dict[str, Interval]:
    """Intervals of accuracy, macro_f1 and weighted_f1 over resampled rows."""
    sample = _sample(truth, decided)
    (found,) = _scores(sample, sample.rows[None])
    drawn = [scores[0] for scores in _resampled(sample, seed, draws)]
    return {
        name: _interval(float(getattr(found, name)[0]), np.concatenate([getattr(each, name) for each in drawn]), level)
        for name in _Drawn._fields
    }


def paired(
    truth: Indicator, decided: Indicator, rival: Indicator, seed: int, draws: int = 1000, level: float = 0.95
) -> Difference:
    """What two models differ in, resampling the rows of both together."""
    sample = _sample(truth, decided, rival)
    found, other = _scores(sample, sample.rows[None])
    drawn = list(_resampled(sample, seed, draws))

    def interval(name: str) -> Interval:
        differences = np.concatenate([getattr(ours, name) - getattr(theirs, name) for ours, theirs in drawn])
        return _interval(float((getattr(found, name) - getattr(other, name))[0]), differences, level)

    ours, theirs = right(truth, decided), right(truth, rival)
    lost, gained = int((theirs & ~ours).sum()), int((ours & ~theirs).sum())
    return Difference(interval("macro_f1"), interval("accuracy"), lost, gained, two_sided_mid_p(lost, gained))


class _Drawn(NamedTuple):
    accuracy: Numbers
    macro_f1: Numbers
    weighted_f1: Numbers


def _sample(truth: Indicator, *decided: Indicator) -> _Sample:
    require_alike(truth, *decided)
    bits = np.packbits(np.concatenate((truth, *decided), axis=1), axis=1)
    _, first, rows = np.unique(bits, axis=0, return_index=True, return_counts=True)
    return _Sample(truth[first], tuple(each[first] for each in decided), rows.astype(np.float64))


def _resampled(sample: _Sample, seed: int, draws: int) -> Iterator[list[_Drawn]]:
    """Scores of every model in each draw; a draw is how often each sort of row comes up."""
    random = np.random.default_rng(seed)
    count = int(sample.rows.sum())
    step = max(1, _AT_ONCE // len(sample.rows))
    for start in range(0, draws, step):
        drawn = random.multinomial(count, sample.rows / count, min(step, draws - start))
        yield _scores(sample, drawn.astype(np.float64))


def _scores(sample: _Sample, rows: Numbers) -> list[_Drawn]:
    """Scores of every model for counts (draws, sorts of rows)."""
    borne = rows @ sample.truth.astype(np.float64)
    found = []
    for decided in sample.decided:
        hits = rows @ (sample.truth & decided).astype(np.float64)
        means: F1 = f1(hits, borne, rows @ decided.astype(np.float64))
        accuracy = rows @ right(sample.truth, decided).astype(np.float64) / rows.sum(1)
        found.append(_Drawn(accuracy, means.macro, means.weighted))
    return found


def _interval(value: float, drawn: Numbers, level: float) -> Interval:
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))
