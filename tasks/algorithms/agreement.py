"""What ratings on a scale tell: means and spreads, the paired difference of two sides, how far raters agree."""

import math
from collections.abc import Iterable, Sequence
from statistics import fmean, stdev
from typing import NamedTuple

_T_95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""Student's t at 97.5 % for 1, 2, … 10 degrees of freedom."""
_Z_95 = 1.959964


class Mean(NamedTuple):
    """A mean with the ends of its 95 % interval, which a single value does not have."""

    mean: float
    low: float | None
    high: float | None


def mean_interval(values: Sequence[float]) -> Mean:
    """The mean of at least one value, with Student's interval."""
    mean, count = fmean(values), len(values)
    if count < 2:
        return Mean(mean, None, None)
    freedom = count - 1
    reach = _t(freedom) * stdev(values) / math.sqrt(count)
    return Mean(mean, mean - reach, mean + reach)


def _t(freedom: int) -> float:
    """By Fisher and Cornish's expansion where that is exact to 0.002 (Abramowitz and Stegun 26.7.5)."""
    if freedom <= len(_T_95):
        return _T_95[freedom - 1]
    z = _Z_95
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def krippendorff_alpha(units: Iterable[Sequence[float]]) -> float | None:
    """Agreement of raters beyond chance, for ratings whose distances mean something (the interval metric).

    `units` are the ratings of one answer each; those with fewer than two say nothing. None where nothing is left, or
    where all ratings are the same. Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011.
    """
    paired = [unit for unit in units if len(unit) > 1]
    values = [value for unit in paired for value in unit]
    expected = _squares(values) / (len(values) - 1) if values else 0.0
    if expected == 0:
        return None
    return 1 - math.fsum(_squares(unit) / (len(unit) - 1) for unit in paired) / expected


def _squares(values: Sequence[float]) -> float:
    """The sum of the squared distances of all ordered pairs."""
    mean = fmean(values)
    return 2 * len(values) * math.fsum((value - mean) ** 2 for value in values)
