"""The classifier's gate: is the tuned model surely no worse than what it must beat, and does it know every label?"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field

from tasks.algorithms.classification.intervals import Interval, paired
from tasks.algorithms.classification.matrices import Indicator
from tasks.algorithms.classification.scores import LabelScores, f1, label_counts, right
from tasks.algorithms.gate.distributions import largest_drop, upper_z, wilson
from tasks.algorithms.gate.paired import ALPHA, Verdict, gravest
from tasks.algorithms.gate.pairs import Row, Rows
from tasks.config import Config

PRODUCTION = "production"
"""The rival that is the model in production; all others are baselines."""

_DRAWS = 4000
"""So many that the ends of an interval corrected for several rivals still rest on a score of them."""

_EMPTY: Row = dict.fromkeys(
    (
        *("name", "kind", "group", "against", "better", "unit", "items", "clusters", "lost", "gained", "needed_items"),
        *("base", "tuned", "difference", "low", "high", "bootstrap_low", "bootstrap_high", "mcnemar_p"),
        *("smallest_visible", "verdict"),
    )
) | {"note": "", "kind": "classification", "better": "higher", "unit": "%"}

_RIVALS = {
    "majority": "the majority class",
    "tfidf": "TF-IDF with logistic regression",
    "frozen": "the frozen backbone",
    PRODUCTION: "the model in production",
}
_MEANING: dict[Verdict, str] = {
    "investigate": "Below what it must not be below, but not surely",
    "underpowered": "Too few test rows to rule out that the model is much worse",
    "fail": "Surely below what it must not be below",
}
_MOST_TOLD = 3
"""Scores that a reason names before it only counts them."""


class GateLimits(Config):
    """What the gate compares a classifier with, and what it allows."""

    worse: float = Field(5.0, ge=0, le=100)
    """Points of macro-F1 by which it must be ruled out that the model is below a rival."""
    recall_floor: float = Field(0.1, ge=0, le=1)
    """The recall, from 0 to 1, below which a label counts as not learnt."""
    baselines: tuple[Literal["majority", "tfidf", "frozen"], ...] = ("majority", "tfidf")
    """Baselines that the model must not be below; the model in production is always one that it must not be below."""


def compare(
    truth: Indicator,
    decided: Indicator,
    rivals: Mapping[str, Indicator],
    per_label: Sequence[LabelScores],
    limits: GateLimits,
    seed: int,
) -> Rows:
    """Score rows: macro-F1 and accuracy against each rival, and the recall of every label not surely above the floor.

    Values are in percent, differences (tuned − rival, or − floor) in points. Rivals that are neither in production nor
    among the baselines of the limits are shown, not judged.
    """
    judged = [name for name in rivals if name == PRODUCTION or name in limits.baselines]
    level = ALPHA / max(1, len(judged))
    rows: Rows = []
    for name, rival in rivals.items():
        found = _macro_and_accuracy(truth, decided, rival, level, seed)
        verdict = _rival_verdict(found[0], limits.worse) if name in judged else None
        needed = _needed(found[0], limits.worse, level) if verdict == "underpowered" else None
        found[0] |= {"verdict": verdict, "needed_items": needed}
        group = "production" if name == PRODUCTION else "baseline"
        rows += [{**_EMPTY, **row, "group": group, "against": name} for row in found]
    return rows + _recalls(per_label, limits.recall_floor)


def verdict_of(scores: Rows) -> tuple[Verdict, str]:
    """The gravest verdict, and in one sentence the scores that it comes from; with no rival it is underpowered."""
    judged = [score for score in scores if score["verdict"]]
    verdict = gravest([score["verdict"] for score in judged])
    if verdict != "fail" and all(score["group"] == "label" for score in judged):
        return "underpowered", "Nothing was there to compare the model with; add a baseline to the gate."
    if verdict == "pass":
        rivals = " and ".join(_RIVALS[score["against"]] for score in judged)
        return verdict, f"Not below {rivals} in macro-F1, and no label is left unlearnt."
    told = [_told(score) for score in judged if score["verdict"] == verdict]
    more = f"; and {len(told) - _MOST_TOLD} more" if len(told) > _MOST_TOLD else ""
    return verdict, f"{_MEANING[verdict]}: {'; '.join(told[:_MOST_TOLD])}{more}."


def _macro_and_accuracy(truth: Indicator, decided: Indicator, rival: Indicator, level: float, seed: int) -> Rows:
    """Two rows without a verdict; `level` is how often the two ends of an interval may err together."""
    found = paired(truth, decided, rival, seed, _DRAWS, 1 - level)
    told = found if level == ALPHA else paired(truth, decided, rival, seed, _DRAWS)
    ours, theirs = f1(*label_counts(truth, decided)), f1(*label_counts(truth, rival))
    unseen = largest_drop(0, 0, len(truth), level / 2)
    macro = _row("macro-F1", float(theirs.macro), float(ours.macro), found.macro_f1, told.macro_f1, unseen)
    was, now = float(right(truth, rival).mean()), float(right(truth, decided).mean())
    accuracy = _row("accuracy", was, now, found.accuracy, told.accuracy, unseen)
    changes = {"lost": found.lost, "gained": found.gained, "mcnemar_p": found.mcnemar_p}
    note = "The two answer alike on every row." if (decided == rival).all() else ""
    return [{**row, "items": len(truth), "note": note} for row in (macro, accuracy | changes)]


def _row(name: str, base: float, tuned: float, found: Interval, told: Interval, unseen: float) -> Row:
    # Where hardly a row tells the two apart, resampling shows no spread; what so few rows leave unseen is added.
    low, high = min(found.low, found.value - unseen), max(found.high, found.value + unseen)
    return {
        "name": name,
        "base": 100 * base,
        "tuned": 100 * tuned,
        "difference": 100 * found.value,
        "low": max(-100.0, 100 * low),
        "high": min(100.0, 100 * high),
        "bootstrap_low": 100 * told.low,
        "bootstrap_high": 100 * told.high,
    }


def _rival_verdict(row: Row, worse: float) -> Verdict:
    if row["high"] < 0:
        return "fail"
    if row["difference"] < 0:
        return "investigate"
    return "underpowered" if row["low"] < -worse else "pass"


def _needed(row: Row, worse: float, level: float) -> int | None:
    """About how many rows would show that the model is not below by more than is allowed, if it is as it was seen."""
    room: float = row["difference"] + worse
    if room <= 0:
        return None
    spread: float = row["items"] * ((row["difference"] - row["bootstrap_low"]) * _wider(level) / room) ** 2
    unseen = math.log(level / 2) / math.log1p(-min(room, 99.9) / 100)
    return max(math.ceil(spread), math.ceil(unseen), int(row["items"]) + 1)


def _wider(level: float) -> float:
    """How much further an interval of this level reaches than one of 95 %."""
    return upper_z(level / 2) / upper_z(ALPHA / 2)


def _recalls(per_label: Sequence[LabelScores], floor: float) -> Rows:
    """Rows of labels that are not surely above the floor; a label without rows has no recall to judge."""
    tested = [each for each in per_label if each.rows]
    rows = []
    for each in tested:
        low, high = wilson(round(each.recall * each.rows), each.rows, ALPHA / len(tested))
        low, high = min(low, each.recall), max(high, each.recall)
        if low <= floor and (floor or each.recall < floor):
            rows.append(_recall(each, floor, low, high))
    return rows


def _recall(found: LabelScores, floor: float, low: float, high: float) -> Row:
    below = found.recall < floor
    verdict: Verdict | None = ("fail" if high < floor else "investigate") if below else None
    return {
        **_EMPTY,
        "name": f"recall of {found.label}",
        "group": "label",
        "against": "floor",
        "items": found.rows,
        "base": 100 * floor,
        "tuned": 100 * found.recall,
        "difference": 100 * (found.recall - floor),
        "low": 100 * (low - floor),
        "high": 100 * (high - floor),
        "verdict": verdict,
        "note": "" if below else "So few rows do not show that it is above the floor.",
    }


def _told(score: Row) -> str:
    if score["group"] == "label":
        return f"{score['name']} {score['tuned']:.1f} % of {score['items']:,} rows, floor {score['base']:g} %"
    told = f"{score['name']} {score['difference']:+.1f} points against {_RIVALS[score['against']]}"
    told += f" ({score['low']:+.1f} to {score['high']:+.1f})"
    return told + (f", about {score['needed_items']:,} rows would decide" if score["needed_items"] else "")
