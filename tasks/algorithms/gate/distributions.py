"""The three distributions that small numbers of items call for, where the normal one errs."""

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np

_NORMAL_FROM = 2000
"""Degrees of freedom, or changed answers, from which the normal distribution is right to three places."""

_HALVINGS = 30
"""Of the interval in which a limit is looked for: right to nine places."""


@lru_cache(maxsize=4096)
def upper_z(level: float) -> float:
    """The normal quantile that is passed with probability `level`."""
    return NormalDist().inv_cdf(1 - level)


@lru_cache(maxsize=4096)
def upper_t(level: float, degrees: float) -> float:
    """Student's quantile that is passed with probability `level`; `degrees` of freedom of 1 and more.

    With t = √ν·tan θ its density is cos^(ν−1) θ between ±π/2: smooth and bounded, so adding it up is exact enough.
    """
    if degrees < 1:
        raise ValueError(f"{degrees:g} degrees of freedom; a quantile needs at least 1")
    if degrees > _NORMAL_FROM:
        return upper_z(level)
    angles = np.linspace(0.0, math.pi / 2, 100_001)
    density = np.cos(angles) ** (degrees - 1)
    above = np.concatenate(([0.0], np.cumsum((density[1:] + density[:-1]) / 2)))
    angle = np.interp(0.5 - level, 0.5 * above / above[-1], angles)
    return math.sqrt(degrees) * math.tan(float(angle))


def mid_p(lost: int, gained: int) -> float:
    """McNemar's mid-p, one-sided: how likely as many losses are where a loss and a gain are equally so.

    Exact (binomial), with half the probability of the outcome itself: Fagerland, Lydersen and Laake 2013,
    doi:10.1186/1471-2288-13-91.
    """
    changed = lost + gained
    if changed == 0:
        return 0.5
    if changed > _NORMAL_FROM:
        return 1 - NormalDist().cdf((lost - gained) / math.sqrt(changed))
    steps = np.arange(1, changed + 1)
    logs = np.concatenate(([0.0], np.cumsum(np.log((changed - steps + 1) / steps)))) - changed * math.log(2)
    chances = np.exp(logs)
    return float(min(1.0, chances[lost + 1 :].sum() + chances[lost] / 2))


def two_sided_mid_p(lost: int, gained: int) -> float:
    """McNemar's mid-p that losses and gains differ either way."""
    return min(1.0, 2 * mid_p(max(lost, gained), min(lost, gained)))


def largest_drop(lost: float, gained: float, items: float, level: float) -> float:
    """The largest fall of a rate (0 to 1) that `lost` and `gained` of `items` leave possible, at a one-sided level.

    Tango's score interval for paired rates (Statistics in Medicine 17, 1998, 891-908), which holds its level where few
    answers changed. Where none did, the rule of three is exact: 1 − level^(1/n).
    """
    if lost == gained == 0:
        return float(1 - level ** (1 / items))
    z = upper_z(level)
    low, high = (lost - gained) / items, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if lost - gained - items * middle < -z * math.sqrt(_score_variance(lost, gained, items, middle)):
            high = middle
        else:
            low = middle
    return high


def _score_variance(lost: float, gained: float, items: float, drop: float) -> float:
    # The rate of gains that is likeliest under this drop.
    slope = (2 * items - lost + gained) * drop - lost - gained
    root = math.sqrt(max(0.0, slope**2 + 8 * items * gained * drop * (1 - drop)))
    gains = (root - slope) / (4 * items)
    return max(0.0, items * (2 * gains + drop * (1 - drop)))


def wilson(events: float, trials: int, level: float) -> tuple[float, float]:
    """Lower and upper end of a rate (0 to 1), each passed with probability `level` (Wilson 1927)."""
    z = upper_z(level)
    centre = (events + z**2 / 2) / (trials + z**2)
    reach = z / (trials + z**2) * math.sqrt(events * (trials - events) / trials + z**2 / 4)
    return max(0.0, centre - reach), min(1.0, centre + reach)
