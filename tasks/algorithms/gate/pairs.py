"""Two measurements joined item by item, or refused."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]
Rows = list[Row]
Measured = dict[str, Rows]
"""The tables `items`, `answers` and `heldout` of one model."""

_ASKED = ("form", "cluster", "question", "choices", "gold", "answer")
"""What must be the same in an item; a prompt may hold a model's own words, and is known by its digest."""

_NOISE = 1e-3, 1e-5
"""Nats, and share of the sum, by which log-probabilities may differ for no other reason than how rows were batched."""


class IncomparableError(Exception):
    """Two measurements that were not made of the same questions in the same words."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One item with two models' answers to it: `before` is of the base, or of the model in production."""

    item: Row
    before: Row
    after: Row

    @property
    def benchmark(self) -> str:
        return str(self.item["benchmark"])

    @property
    def scored(self) -> bool:
        return self.before["score"] is not None

    @property
    def was_right(self) -> bool | None:
        """Right means more right than wrong, where a score lies in between."""
        return self.before["score"] >= 0.5 if self.scored else None

    @property
    def is_right(self) -> bool | None:
        return self.after["score"] >= 0.5 if self.scored else None

    @property
    def lost(self) -> bool:
        return bool(self.was_right and not self.is_right)

    @property
    def gained(self) -> bool:
        return bool(self.is_right and not self.was_right)


def paired(before: Measured, after: Measured, reference: str = "base") -> list[Pair]:
    """Pairs in the order of the items; raises `IncomparableError` where the two were not asked exactly the same."""
    items, answers = _by_key(before["items"], reference), _by_key(before["answers"], reference)
    other_items, other_answers = _by_key(after["items"], "tuned"), _by_key(after["answers"], "tuned")
    pairs = [
        _pair(item, other_items.get(key), answers.get(key), other_answers.get(key), reference)
        for key, item in items.items()
    ]
    if len(pairs) != len(other_items):
        raise IncomparableError(
            f"the {reference} model answered {len(pairs)} items, the tuned one {len(other_items)}; "
            "measure both again with one recipe"
        )
    return pairs


def _by_key(rows: Rows, side: str) -> dict[tuple[str, str], Row]:
    found = {(row["benchmark"], row["item_id"]): row for row in rows}
    if len(found) < len(rows):
        # Counted twice, one item would look like two that agree.
        raise IncomparableError(
            f"{len(rows) - len(found)} items or answers of the {side} model stand there twice; measure it again"
        )
    return found


def _pair(item: Row, other: Row | None, before: Row | None, after: Row | None, reference: str) -> Pair:
    place = f"{item['benchmark']} {item['item_id']}"
    if not other or not before or not after or before["prompt_sha256"] != after["prompt_sha256"]:
        raise IncomparableError(
            f"{place}: the {reference} and the tuned model were not asked the same question in the same words; "
            "measure both again with one recipe"
        )
    if changed := [name for name in _ASKED if item[name] != other[name]]:
        raise IncomparableError(
            f"{place}: the {reference} and the tuned model were measured on items that differ in "
            f"{', '.join(changed)}; measure both again with one recipe"
        )
    if (before["score"] is None) != (after["score"] is None):
        raise IncomparableError(
            f"{place}: scored for one of the {reference} and the tuned model alone; measure both again"
        )
    for answer in (before, after):
        if fault := _fault(item["form"], answer):
            raise IncomparableError(f"{place}: {fault}")
    return Pair(item, before, after)


def _fault(form: str, answer: Row) -> str | None:
    """Why an answer says nothing of a model."""
    likely, score = answer["loglikelihoods"] or (), answer["score"]
    if not all(map(math.isfinite, likely)):
        return "a log-likelihood is not a finite number; the weights are broken"
    if form == "choices" and not likely:
        return "no choice has a log-likelihood; measure again"
    if score is not None and not 0 <= score <= 1:
        return f"the score is {score:g}, and must be from 0 to 1; measure again"
    if form == "text" and (not answer["tokens"] or answer["loss_sum"] is None):
        return f"the loss of {answer['tokens']} tokens is {answer['loss_sum']}; measure again"
    return None


def unchanged(pairs: Sequence[Pair], before: Measured, after: Measured) -> bool:
    """True where two models answer like one: every text the same, and every log-likelihood and loss but for noise.

    Right and wrong answers that agree say little; a model's log-likelihoods agree only with its own. So equal texts
    alone, with no number beside them, do not count.
    """
    if any(_text(pair.before) != _text(pair.after) for pair in pairs):
        return False
    losses = {row["row_id"]: row["loss_sum"] for row in after["heldout"]}
    numbers = [(row["loss_sum"], losses.get(row["row_id"], math.nan)) for row in before["heldout"]]
    for pair in pairs:
        numbers += _numbers(pair)
    return bool(numbers) and all(abs(one - other) <= _NOISE[0] + _NOISE[1] * abs(one) for one, other in numbers)


def _text(answer: Row) -> tuple[str, bool]:
    return answer["shown"], answer["ended"]


def _numbers(pair: Pair) -> Iterator[tuple[float, float]]:
    before, after = pair.before["loglikelihoods"] or (), pair.after["loglikelihoods"] or ()
    if len(before) != len(after):
        yield math.nan, math.nan
    yield from zip(before, after, strict=False)
    if pair.item["form"] == "text":
        yield pair.before["loss_sum"], pair.after["loss_sum"]
