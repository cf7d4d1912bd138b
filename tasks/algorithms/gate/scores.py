"""Score rows: benchmarks, the forgetting gate's verdict on each, and their average."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.algorithms.gate.bootstrap import bootstrap_interval
from tasks.algorithms.gate.distributions import two_sided_mid_p, upper_z
from tasks.algorithms.gate.needed import needed_items
from tasks.algorithms.gate.paired import Changes, Drop, drop, judge
from tasks.algorithms.gate.pairs import Pair, Row, Rows

BROKEN = "A score of exactly 0 on every item is a broken run, not a result."
"""The note of a benchmark that the tuned model has wrong throughout."""
NOTHING_TO_LOSE = "Nothing was right before, so nothing could be forgotten."


@dataclass(frozen=True)
class Thresholds:
    """The forgetting gate: drops in points, and how many comparisons it makes in a run."""

    investigate: float
    fail: float
    comparisons: int


def benchmark_row(pairs: Sequence[Pair], limits: Thresholds, *, gated: bool, same: bool) -> Row:
    """A benchmark's scores; `same` where the two models are known to answer like one."""
    before, after = ([float(row["score"]) for row in side] for side in _sides(pairs))
    clusters = [pair.item["cluster"] for pair in pairs]
    changes = Changes.of(before, after, clusters)
    found = drop(changes, limits.comparisons)
    verdict = judge(found, investigate=limits.investigate, fail=limits.fail) if gated else None
    if same:
        # That few items leave much unseen matters where two models happen to agree, not where there is only one.
        found, verdict = _certain(found), "pass" if gated else None
    broken = not any(after)
    if broken and verdict in ("pass", "investigate"):
        verdict = "underpowered"
    needed = None
    if verdict == "underpowered" and not broken:
        needed = needed_items(changes, limits.comparisons, investigate=limits.investigate, fail=limits.fail)
    low, high = bootstrap_interval(before, after, clusters)
    return {
        **_rates(before, after, found),
        "name": pairs[0].benchmark,
        "kind": pairs[0].item["kind"],
        "better": "higher",
        "clusters": changes.clusters,
        "bootstrap_low": low,
        "bootstrap_high": high,
        "mcnemar_p": _mcnemar(pairs) if {*before, *after} <= {0.0, 1.0} else None,
        "lost": sum(pair.lost for pair in pairs),
        "gained": sum(pair.gained for pair in pairs),
        "smallest_visible": found.smallest_visible,
        "needed_items": needed,
        "verdict": verdict,
        "group": "benchmark",
        "note": BROKEN if broken else "" if any(before) else NOTHING_TO_LOSE,
    }


def macro_row(scores: Rows) -> Row:
    """The plain average over benchmarks, each counting alike; its interval (95 %) takes them as independent."""
    count = len(scores)
    error = math.sqrt(math.fsum(score["standard_error"] ** 2 for score in scores)) / count
    mean = math.fsum(score["difference"] for score in scores) / count
    reach = upper_z(0.025) * error
    return {
        "name": "macro-average",
        "kind": "macro-average",
        "better": "higher",
        "unit": "%",
        "items": sum(score["items"] for score in scores),
        "base": math.fsum(score["base"] for score in scores) / count,
        "tuned": math.fsum(score["tuned"] for score in scores) / count,
        "difference": mean,
        "low": mean - reach,
        "high": mean + reach,
        "group": "macro",
    }


def _sides(pairs: Sequence[Pair]) -> tuple[Rows, Rows]:
    return [pair.before for pair in pairs], [pair.after for pair in pairs]


def _certain(found: Drop) -> Drop:
    nothing = dict.fromkeys(("mean", "low", "high", "standard_error", "surest_high"), 0.0)
    return Drop(**nothing, items=found.items, smallest_visible=found.smallest_visible)


def _rates(before: Sequence[float], after: Sequence[float], found: Drop) -> Row:
    """Two rates in percent, and their change (tuned − base) with its interval."""
    return {
        "unit": "%",
        "items": len(before),
        "base": 100 * math.fsum(before) / len(before),
        "tuned": 100 * math.fsum(after) / len(after),
        "difference": 0.0 - found.mean,
        "low": 0.0 - found.high,
        "high": 0.0 - found.low,
        "standard_error": found.standard_error,
    }


def _mcnemar(pairs: Sequence[Pair]) -> float:
    return two_sided_mid_p(sum(pair.lost for pair in pairs), sum(pair.gained for pair in pairs))
