"""Paired comparison of two models on the same items, and verdicts that know their noise.

Standard errors come from the paired differences, clustered where items share a subject (Miller, "Adding Error Bars to
Evals", arXiv 2411.00640). Differences are in points (percent), positive where the tuned model is worse.

On few items the normal interval errs, so that each end asks for a second witness: the lower end is above nothing only
where McNemar's mid-p agrees, the upper end is never below Tango's score interval.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from tasks.algorithms.gate.distributions import largest_drop, mid_p, upper_t

Verdict = Literal["pass", "investigate", "underpowered", "fail"]

SEVERITY: tuple[Verdict, ...] = ("pass", "investigate", "underpowered", "fail")
"""From the mildest to the gravest."""

ALPHA = 0.05
"""How often a run of harmless comparisons may accuse one of them."""

_POWER_FACTOR = 2.49
"""z(.95) + z(.80): the smallest difference seen in 80 % of runs, in standard errors."""

_GRAVE_LEVEL = 0.0025
"""How often a grave drop may pass, whatever the number of comparisons."""


@dataclass(frozen=True)
class Changes:
    """What two models' scores from 0 to 1 on the same items differ in: all that a verdict looks at."""

    items: int
    clusters: int
    equal_clusters: float
    """The number of equal clusters that tell as much about the error between them."""
    mean: float
    """Base minus tuned, in points."""
    spread: float
    """Standard deviation of an item's difference, in points."""
    cluster_factor: float
    """The clustered standard error, in unclustered ones; 0 where no items share a cluster."""
    lost: float
    """Score that the tuned model lost, in items."""
    gained: float
    """Score that it gained, in items."""
    whole: float
    """Changed items; fractional changes as the number of equal ones that vary as much (Kish)."""

    @classmethod
    def of(cls, base: Sequence[float], tuned: Sequence[float], clusters: Sequence[Hashable]) -> Self:
        """From scores and the cluster of each item, all of one length."""
        if not len(base) or len(base) != len(tuned) or len(base) != len(clusters):
            raise ValueError(f"paired scores need equal numbers of items: {len(base)}, {len(tuned)}, {len(clusters)}")
        differences = 100 * (np.asarray(base, np.float64) - np.asarray(tuned, np.float64))
        items, mean = len(differences), float(differences.mean())
        codes = cluster_codes(clusters)
        spread = float(differences.std(ddof=1)) if items > 1 else 100.0
        size, squares = float(np.abs(differences).sum()), float((differences**2).sum())
        factor, worth = _clustering(differences - mean, spread, codes)
        return cls(
            items=items,
            clusters=int(codes.max()) + 1,
            equal_clusters=worth,
            mean=mean,
            spread=spread,
            cluster_factor=factor,
            lost=float(differences[differences > 0].sum()) / 100,
            gained=float(-differences[differences < 0].sum()) / 100,
            whole=size**2 / squares if squares else 0.0,
        )

    def over(self, items: int) -> Self:
        """The same changes, had there been so many items like these."""
        times = items / self.items
        grown = {name: getattr(self, name) * times for name in ("lost", "gained", "whole")}
        clusters = items if self.clusters == self.items else self.clusters
        return replace(self, items=items, clusters=clusters, **grown)


@dataclass(frozen=True)
class Drop:
    """How much worse the tuned model is than the base, in points, and how sure that is."""

    mean: float
    low: float
    high: float
    standard_error: float
    items: int
    smallest_visible: float
    """The smallest drop that this many items could have shown, in points."""
    surest_high: float
    """The upper end that is passed once in 400 runs, however many comparisons there are."""


def drop(changes: Changes, comparisons: int, alpha: float = ALPHA) -> Drop:
    """The drop in points; `low` and `high` are one-sided ends at alpha / comparisons.

    The clustered standard error carries the factor C/(C−1), and neither it nor its interval with C−1 degrees of freedom
    is taken below the unclustered one. An end that the normal interval draws too near on few changed answers is moved
    to where McNemar's mid-p and Tango's score interval put it.
    """
    level = alpha / comparisons
    error = changes.spread / math.sqrt(changes.items)
    low = max(-100.0, changes.mean - _reach(changes, level))
    if low > 0 and _chance_of_none(changes) > level:
        low = 0.0
    # Where no answer changed, the spread says nothing; what so few items cannot rule out is counted instead.
    unseen = 100 * largest_drop(0, 0, changes.items, level) if changes.whole == 0 else 0.0
    visible = _POWER_FACTOR * 100 * math.sqrt(changes.lost + changes.gained) / changes.items
    factor = max(1.0, changes.cluster_factor)
    return Drop(
        mean=changes.mean,
        low=low,
        high=_upper(changes, level),
        standard_error=error * factor,
        items=changes.items,
        smallest_visible=max(visible, unseen),
        surest_high=_upper(changes, _GRAVE_LEVEL),
    )


def judge(drop: Drop, *, investigate: float, fail: float) -> Verdict:
    """The verdict on a drop: fail or investigate only where it is sure, pass only where a grave drop is ruled out.

    A drop beyond both limits together is so grave that a pass must all but exclude it, also where few comparisons make
    the interval short.
    """
    if drop.low > 0 and drop.mean > fail:
        return "fail"
    if drop.low > 0 and drop.mean > investigate:
        return "investigate"
    return "underpowered" if drop.high > fail or drop.surest_high > fail + investigate else "pass"


def gravest(verdicts: Sequence[Verdict]) -> Verdict:
    """The gravest of some verdicts; a gate with nothing to judge is underpowered, never passed."""
    return max(verdicts, key=SEVERITY.index, default="underpowered")


def cluster_codes(clusters: Sequence[Hashable]) -> NDArray[np.int64]:
    """Each item's cluster as a number from 0, in the order of their first items."""
    numbers: dict[Hashable, int] = {}
    return np.fromiter((numbers.setdefault(each, len(numbers)) for each in clusters), np.int64, len(clusters))


def _clustering(deviations: NDArray[np.float64], spread: float, codes: NDArray[np.int64]) -> tuple[float, float]:
    """The clustered standard error in unclustered ones, and how many equal clusters tell as much about it.

    Leaving out a cluster at a time (the jackknife) gives the factor C/(C−1) for equal clusters and allows for unequal
    ones. Clusters count by their variances (Satterthwaite): their items' noise and a share of the effect between them.
    """
    items, count = len(deviations), int(codes.max()) + 1
    if count in (1, items) or not spread:
        return 0.0, float(items)
    sizes = np.bincount(codes).astype(np.float64)
    sums = np.bincount(codes, deviations)
    factor = math.sqrt(float(((sums / (items - sizes)) ** 2).sum()) * (count - 1) / count * items) / spread
    between = max(0.0, factor**2 - 1) * items / float((sizes**2).sum())
    variances = sizes + between * sizes**2
    equal = float(variances.sum()) ** 2 / float((variances**2).sum())
    # Rounded down to halves: a quantile of few different degrees of freedom is computed few times.
    return factor, max(2.0, int(2 * equal) / 2)


def _reach(changes: Changes, level: float) -> float:
    """From the mean to either end of the interval, in points."""
    error = changes.spread / math.sqrt(changes.items)
    alone = upper_t(level, max(1, changes.items - 1)) * error
    if not changes.cluster_factor:
        return alone
    return max(alone, upper_t(level, changes.equal_clusters - 1) * error * changes.cluster_factor)


def _upper(changes: Changes, level: float) -> float:
    # Items that share a cluster tell as much as fewer independent ones.
    worth = 1 / max(1.0, changes.cluster_factor) ** 2
    counted = largest_drop(changes.lost * worth, changes.gained * worth, changes.items * worth, level)
    return min(100.0, max(changes.mean + _reach(changes, level), 100 * counted))


def _chance_of_none(changes: Changes) -> float:
    """McNemar's mid-p that as much is lost where losses and gains are equally likely."""
    whole = int(changes.whole + 1e-6)
    lost = int(changes.whole * changes.lost / (changes.lost + changes.gained) + 1e-6)
    return mid_p(min(lost, whole), whole - min(lost, whole))
