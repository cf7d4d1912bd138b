"""Two measurements side by side: paired, refused when the questions differ, and never passed on nothing."""

import math
from typing import Any

import pytest

from tasks.algorithms.comparison import IncomparableError, Measured, compare


def measured(right: list[bool], *, prompt: str = "p", loss: float = 1.0, heldout: int = 40) -> Measured:
    """A model that answers these multiple-choice items rightly or not, with the same loss on every held-out row."""
    items: list[dict[str, Any]] = []
    choices: list[dict[str, Any]] = []
    for number, is_right in enumerate(right):
        names = {"benchmark": "b", "item_id": str(number), "cluster": str(number)}
        items.append({**names, "question": "?", "choices": [" a", " b"], "gold": 0, "answer": ""})
        choices.append({**names, "prediction": 0 if is_right else 1, "prompt_sha256": f"{prompt}{number}"})
    rows = [{"row_id": str(n), "loss_sum": loss * 10 + n % 2, "tokens": 10} for n in range(heldout)]
    return {"items": items, "choices": choices, "generations": [], "heldout": rows}


def verdicts(base: Measured, tuned: Measured) -> dict[str, str]:
    made = compare(base, tuned, ["b"], "unscored", investigate=2, fail=5)
    return {score["name"]: score["verdict"] for score in made.scores}


def test_same_answers_pass_only_with_enough_items() -> None:
    assert verdicts(measured([True] * 200), measured([True] * 200))["b"] == "pass"
    assert verdicts(measured([True] * 12), measured([True] * 12))["b"] == "underpowered"
    assert verdicts(measured([True]), measured([True]))["b"] == "underpowered"


def test_nothing_right_at_all_is_no_pass() -> None:
    assert verdicts(measured([False] * 500), measured([False] * 500))["b"] == "underpowered"


def test_a_grave_drop_fails_and_is_listed_item_by_item() -> None:
    base, tuned = measured([True] * 200), measured([True] * 150 + [False] * 50)
    made = compare(base, tuned, ["b"], "unscored", investigate=2, fail=5)
    (score,) = [each for each in made.scores if each["name"] == "b"]
    assert (score["base"], score["tuned"], score["difference"]) == (100, 75, -25)
    assert -100 <= score["low"] < -25 < score["high"] < 0
    assert score["verdict"] == "fail"
    assert len(made.forgotten) == 50
    assert made.forgotten[0]["expected"] == "a"


def test_benchmark_outside_the_gate_gets_no_verdict() -> None:
    made = compare(measured([True] * 9), measured([False] * 9), [], "unscored", investigate=2, fail=5)
    assert made.scores[0]["verdict"] is None


@pytest.mark.parametrize(("tuned_loss", "verdict"), [(0.5, "pass"), (1.0, "pass"), (1.5, "fail")])
def test_heldout_loss_must_not_surely_rise(tuned_loss: float, verdict: str) -> None:
    assert verdicts(measured([True] * 99), measured([True] * 99, loss=tuned_loss))["held-out loss"] == verdict


def test_heldout_loss_of_one_row_decides_nothing() -> None:
    found = verdicts(measured([True] * 99, heldout=1), measured([True] * 99, heldout=1, loss=9))
    assert found["held-out loss"] == "underpowered"


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_broken_loss_is_refused(loss: float) -> None:
    with pytest.raises(IncomparableError, match="not a finite number"):
        verdicts(measured([True] * 99), measured([True] * 99, loss=loss))


def test_other_prompts_items_or_rows_are_refused() -> None:
    base = measured([True] * 9)
    with pytest.raises(IncomparableError, match="not asked the same question in the same words"):
        verdicts(base, measured([True] * 9, prompt="q"))
    with pytest.raises(IncomparableError, match="the base model answered 9 items, the tuned one 10"):
        verdicts(base, measured([True] * 10))
    with pytest.raises(IncomparableError, match="not measured on the same held-out rows"):
        verdicts(base, measured([True] * 9, heldout=41))
