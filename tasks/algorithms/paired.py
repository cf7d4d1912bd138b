"""Paired comparison of two models on the same items, and verdicts that know their noise.

Standard errors come from the paired differences, clustered where items share a subject (Miller, "Adding Error Bars to
Evals", arXiv 2411.00640). Differences are in points (percent), positive where the tuned model is worse.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

Verdict = Literal["pass", "investigate", "underpowered", "fail"]

SEVERITY: tuple[Verdict, ...] = ("pass", "investigate", "underpowered", "fail")
"""From the mildest to the gravest."""

_POWER_FACTOR = 2.49
"""z(.95) + z(.80): the smallest difference seen in 80 % of runs, in standard errors."""


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


def drop(
    base: Sequence[float], tuned: Sequence[float], clusters: Sequence[Hashable], comparisons: int, alpha: float = 0.05
) -> Drop:
    """The drop in points between scores from 0 to 1 on the same items; the interval is corrected for the comparisons.

    The clustered standard error carries the factor C/(C−1) and is never taken below the unclustered one.
    """
    if not base or len(base) != len(tuned) or len(base) != len(clusters):
        raise ValueError(f"paired scores need equal numbers of items: {len(base)}, {len(tuned)}, {len(clusters)}")
    differences = [100 * (before - after) for before, after in zip(base, tuned, strict=True)]
    mean = math.fsum(differences) / len(differences)
    error = max(_standard_error(differences, mean), _clustered_error(differences, mean, clusters))
    z = NormalDist().inv_cdf(1 - alpha / comparisons)
    disagreement = sum(abs(each) for each in differences) / 100
    visible = _POWER_FACTOR * 100 * math.sqrt(disagreement) / len(differences)
    # Where no answer changed, the spread says nothing; what so few items cannot rule out is counted instead
    # (the rule of three: no event in n trials leaves a rate of 1 − α^(1/n) possible).
    unseen = 0.0 if any(differences) else 100 * (1 - (alpha / comparisons) ** (1 / len(differences)))
    low, high = max(-100.0, mean - z * error), min(100.0, max(mean + z * error, unseen))
    return Drop(mean, low, high, error, len(differences), max(visible, unseen))


def _standard_error(differences: Sequence[float], mean: float) -> float:
    count = len(differences)
    if count < 2:
        return 100.0
    return math.sqrt(math.fsum((each - mean) ** 2 for each in differences) / (count - 1) / count)


def _clustered_error(differences: Sequence[float], mean: float, clusters: Sequence[Hashable]) -> float:
    sums: dict[Hashable, float] = {}
    for each, cluster in zip(differences, clusters, strict=True):
        sums[cluster] = sums.get(cluster, 0.0) + each - mean
    count = len(sums)
    if count < 2:
        return 0.0
    return math.sqrt(math.fsum(each**2 for each in sums.values()) * count / (count - 1)) / len(differences)


def judge(drop: Drop, *, investigate: float, fail: float) -> Verdict:
    """The verdict on a drop: fail or investigate only where it is sure, pass only where a grave drop is ruled out."""
    if (drop.mean > fail and drop.low > 0) or drop.low > fail:
        return "fail"
    if drop.mean > investigate and drop.low > 0:
        return "investigate"
    return "underpowered" if drop.high > fail else "pass"


def gravest(verdicts: Sequence[Verdict]) -> Verdict:
    """The gravest of some verdicts; a gate with nothing to judge is underpowered, never passed."""
    return max(verdicts, key=SEVERITY.index, default="underpowered")
