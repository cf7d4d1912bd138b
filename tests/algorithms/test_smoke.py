"""The first steps of a run are judged: what cannot become well is fatal, the rest is said."""

import math
from typing import Any

import pytest

from tasks.algorithms.training.smoke import FEWEST_TOKENS, Generation, judge

FALLING = [3.0 - 0.05 * step for step in range(20)]
RISING = [3.0 + 0.2 * step for step in range(20)]
ANSWER = Generation(text="The capital is Paris.", ended=True, tokens=6)
ENDLESS = Generation(text="The capital is Paris and the", ended=False, tokens=7)


def rows(losses: list[float]) -> list[dict[str, Any]]:
    return [{"step": 0, "heldout_loss": 3.0}, *({"step": n, "loss": loss} for n, loss in enumerate(losses, 1))]


def repeated(token: str, times: int) -> Generation:
    return Generation(text=token * times, ended=False, tokens=times)


@pytest.mark.parametrize(
    ("losses", "heldout", "words"),
    [
        ([3.0, math.nan], None, "the loss is nan at step 2"),
        ([math.inf], 2.0, "the loss is inf at step 1"),
        (FALLING, math.nan, "the held-out loss is nan"),
        (RISING, 3.7, "the held-out loss rose from 3.000 to 3.700 in 20 steps"),
    ],
)
def test_a_loss_that_is_lost_is_fatal(losses: list[float], heldout: float | None, words: str) -> None:
    (sentence,) = judge(rows(losses), 3.0, heldout, [ANSWER]).fatal
    assert words in sentence


@pytest.mark.parametrize(
    ("losses", "heldout"),
    [
        (FALLING, 2.5),
        (FALLING, 3.5),  # barely worse, and training goes well
        ([2.0 * loss for loss in FALLING[:9]], 4.0),  # too few steps to tell
        ([4.0 - 0.05 * step for step in range(20)], 3.7),  # a rise that is passing
        (FALLING, None),
    ],
)
def test_what_may_become_well_is_not_fatal(losses: list[float], heldout: float | None) -> None:
    assert judge(rows(losses), 3.0, heldout, [ANSWER]).fatal == ()


def test_a_rate_that_is_still_warming_up_is_given_time() -> None:
    assert judge(rows(RISING[:9]), 3.0, 5.0, []).fatal == ()
    assert judge(rows(RISING[:10]), 3.0, 5.0, []).fatal != ()


def test_without_heldout_rows_training_is_enough() -> None:
    assert judge(rows(FALLING), None, None, []) == ((), ())


@pytest.mark.parametrize("text", ["", " \n"])
def test_empty_answers_are_fatal_if_all_are_and_nothing_was_learned(text: str) -> None:
    empty = Generation(text=text, ended=True, tokens=0)
    assert "all 2 answers to held-out prompts are empty" in judge(rows(FALLING), 3.0, 3.1, [empty, empty]).fatal[0]
    assert judge(rows(FALLING), 3.0, 3.1, [empty, ANSWER]).fatal == ()
    assert judge(rows(FALLING[:9]), 3.0, 3.1, [empty, empty]).fatal == ()
    fatal, warnings = judge(rows(FALLING), 3.0, 2.5, [empty, empty])
    assert fatal == ()
    assert "all 2 answers to held-out prompts are empty" in warnings[0]


@pytest.mark.parametrize("token", ["!", " the", "na", "的", "\ufffd", " internationalisation"])
def test_one_token_again_and_again_is_fatal_if_all_do_it(token: str) -> None:
    stuck = repeated(token, 40)
    (sentence,) = judge(rows(FALLING), 3.0, 3.1, [stuck, stuck]).fatal
    assert "one token again and again" in sentence
    assert judge(rows(FALLING), 3.0, 3.1, [stuck, ANSWER]).fatal == ()


@pytest.mark.parametrize(
    "text",
    ["no no no no no no no yes", "1, 2, 3, 4, 5, 6, 7, 8, 9", "aaaaaaab", "abcabcabd abcabcabd"],
)
def test_an_answer_that_varies_is_not_stuck(text: str) -> None:
    answer = Generation(text=text, ended=False, tokens=FEWEST_TOKENS)
    assert judge(rows(FALLING), 3.0, 2.5, [answer]).fatal == ()


def test_a_short_answer_may_be_one_word() -> None:
    assert judge(rows(FALLING), 3.0, 2.5, [repeated("no ", FEWEST_TOKENS - 1)]).fatal == ()


def test_endless_answers_are_a_warning_if_most_are() -> None:
    (warning,) = judge(rows(FALLING), 3.0, 2.5, [ENDLESS, ENDLESS, ANSWER]).warnings
    assert warning.startswith("2 of 3 answers")
    assert judge(rows(FALLING), 3.0, 2.5, [ENDLESS, ANSWER]).warnings == ()


def test_a_heldout_loss_that_did_not_fall_is_a_warning() -> None:
    (warning,) = judge(rows(FALLING), 3.0, 3.1, [ANSWER]).warnings
    assert warning.startswith("the held-out loss is 3.100, and the base's was 3.000")
