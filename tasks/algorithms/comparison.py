"""Two models' answers to the same items, side by side."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tasks.algorithms.behaviour import apologises, holds_answer
from tasks.algorithms.paired import Drop, Verdict, drop, judge

Rows = list[dict[str, Any]]
Measured = dict[str, Rows]
"""The tables `items`, `choices`, `generations` and `heldout` of one model."""

MOST_SAMPLES = 40
_Z_95 = 1.959963984540054


class IncomparableError(Exception):
    """Two measurements that were not made of the same questions in the same words."""


@dataclass
class Comparison:
    """What changed from the base to the tuned model."""

    items: int = 0
    scores: Rows = field(default_factory=list)
    samples: Rows = field(default_factory=list)
    forgotten: Rows = field(default_factory=list)


@dataclass(frozen=True)
class _Pair:
    item: dict[str, Any]
    base: dict[str, Any]
    tuned: dict[str, Any]
    base_right: bool | None
    tuned_right: bool | None

    def shown(self) -> dict[str, Any]:
        item = self.item
        choices = item["choices"]
        return {
            "benchmark": item["benchmark"],
            "item_id": item["item_id"],
            "subject": item["cluster"],
            "question": item["question"],
            "expected": choices[item["gold"]].strip() if choices else item["answer"],
            "base": choices[self.base["prediction"]].strip() if choices else self.base["text"],
            "tuned": choices[self.tuned["prediction"]].strip() if choices else self.tuned["text"],
        }


def compare(
    base: Measured, tuned: Measured, gated: Sequence[str], unscored: str, *, investigate: float, fail: float
) -> Comparison:
    """Scores, samples and losses; benchmarks named in `gated` get a verdict, the one named `unscored` only samples.

    Raises `IncomparableError` where the two did not see the same prompts.
    """
    pairs = _paired(base, tuned, unscored)
    made = Comparison(items=len(pairs))
    comparisons = max(1, len(gated))
    for name in dict.fromkeys(pair.item["benchmark"] for pair in pairs):
        chosen = [pair for pair in pairs if pair.item["benchmark"] == name]
        if name != unscored:
            thresholds = (investigate, fail) if name in gated else None
            made.scores.append(_score(name, chosen, comparisons, thresholds))
    generated = [pair for pair in pairs if not pair.item["choices"]]
    if generated:
        # Benchmarks ask both models about the domain; held-out prompts stand in where no benchmark generates.
        asked = [pair for pair in generated if pair.item["benchmark"] != unscored]
        made.scores.append(_apologies(asked or generated))
    if base["heldout"]:
        made.scores.append(_heldout_loss(base["heldout"], tuned["heldout"]))
    made.forgotten = [pair.shown() for pair in pairs if pair.base_right and not pair.tuned_right]
    made.samples = _samples(generated)
    return made


def _paired(base: Measured, tuned: Measured, unscored: str) -> list[_Pair]:
    answers = [_by_item(each) for each in (base, tuned)]
    pairs = []
    for item in base["items"]:
        key = (item["benchmark"], item["item_id"])
        before, after = (each.get(key) for each in answers)
        if before is None or after is None or before["prompt_sha256"] != after["prompt_sha256"]:
            raise IncomparableError(
                f"{item['benchmark']} {item['item_id']}: the two models were not asked the same question in the same "
                "words; measure both again with one recipe"
            )
        right = [_is_right(item, each) if item["benchmark"] != unscored else None for each in (before, after)]
        pairs.append(_Pair(item, before, after, *right))
    if len(pairs) != len(tuned["items"]):
        raise IncomparableError(f"the base model answered {len(pairs)} items, the tuned one {len(tuned['items'])}")
    return pairs


def _by_item(measured: Measured) -> dict[tuple[str, str], dict[str, Any]]:
    rows = [*measured["choices"], *measured["generations"]]
    return {(row["benchmark"], row["item_id"]): row for row in rows}


def _is_right(item: dict[str, Any], row: dict[str, Any]) -> bool:
    if item["choices"]:
        return bool(row["prediction"] == item["gold"])
    return holds_answer(row["text"], item["answer"])


def _score(
    name: str, pairs: Sequence[_Pair], comparisons: int, thresholds: tuple[float, float] | None
) -> dict[str, Any]:
    base = [float(bool(pair.base_right)) for pair in pairs]
    tuned = [float(bool(pair.tuned_right)) for pair in pairs]
    found = drop(base, tuned, [pair.item["cluster"] for pair in pairs], comparisons)
    verdict: Verdict | None = judge(found, investigate=thresholds[0], fail=thresholds[1]) if thresholds else None
    if verdict is not None and not any(base) and not any(tuned):
        # Nothing right at all is a broken benchmark or a hopeless model: either way it can show no loss.
        verdict = "underpowered"
    kind = "multiple choice" if pairs[0].item["choices"] else "exact answer"
    return {**_rates(name, kind, base, tuned, found), "better": "higher", "verdict": verdict}


def _apologies(pairs: Sequence[_Pair]) -> dict[str, Any]:
    base = [float(apologises(pair.base["text"])) for pair in pairs]
    tuned = [float(apologises(pair.tuned["text"])) for pair in pairs]
    found = drop(base, tuned, [pair.item["cluster"] for pair in pairs], 1)
    return {**_rates("apology rate", "apology rate", base, tuned, found), "better": "lower", "verdict": None}


def _rates(name: str, kind: str, base: Sequence[float], tuned: Sequence[float], found: Drop) -> dict[str, Any]:
    """Two rates in percent, their change (tuned − base) and its interval."""
    return {
        "name": name,
        "kind": kind,
        "unit": "%",
        "items": len(base),
        "base": 100 * math.fsum(base) / len(base),
        "tuned": 100 * math.fsum(tuned) / len(tuned),
        "difference": 0.0 - found.mean,
        "low": 0.0 - found.high,
        "high": 0.0 - found.low,
        "smallest_visible": found.smallest_visible,
    }


def _heldout_loss(base: Rows, tuned: Rows) -> dict[str, Any]:
    """Nats per trained token, paired by row, weighted by tokens (a ratio estimate with its linearised error)."""
    after = {row["row_id"]: row for row in tuned}
    if {row["row_id"] for row in base} != set(after):
        raise IncomparableError("the two models were not measured on the same held-out rows; measure both again")
    tokens = [row["tokens"] for row in base]
    changes = [after[row["row_id"]]["loss_sum"] - row["loss_sum"] for row in base]
    if not all(math.isfinite(change) for change in changes):
        raise IncomparableError("a held-out loss is not a finite number; the weights are broken")
    total = sum(tokens)
    mean = math.fsum(changes) / total
    spread = math.fsum((change - mean * count) ** 2 for change, count in zip(changes, tokens, strict=True))
    error = math.sqrt(spread * len(base) / max(1, len(base) - 1)) / total
    low, high = mean - _Z_95 * error, mean + _Z_95 * error
    return {
        "name": "held-out loss",
        "kind": "held-out loss",
        "better": "lower",
        "unit": "nats",
        "items": len(base),
        "base": math.fsum(row["loss_sum"] for row in base) / total,
        "tuned": math.fsum(after[row["row_id"]]["loss_sum"] for row in base) / total,
        "difference": mean,
        "low": low,
        "high": high,
        "smallest_visible": None,
        "verdict": "underpowered" if len(base) < 2 else "fail" if low > 0 else "pass",
    }


def _samples(pairs: Sequence[_Pair]) -> Rows:
    """Lost answers first, then gained ones, then the rest, each kind spread over the benchmarks in their order."""
    chosen = sorted(pairs, key=lambda pair: (_rank(pair), pair.item["item_id"]))[: MOST_SAMPLES // 2]
    taken = {id(pair) for pair in chosen}
    unscored = [pair for pair in pairs if pair.base_right is None and id(pair) not in taken]
    chosen += unscored[: MOST_SAMPLES - len(chosen)]
    return [{**p.shown(), "base_right": p.base_right, "tuned_right": p.tuned_right} for p in chosen]


def _rank(pair: _Pair) -> int:
    if pair.base_right and not pair.tuned_right:
        return 0
    return 1 if pair.tuned_right and not pair.base_right else 2
