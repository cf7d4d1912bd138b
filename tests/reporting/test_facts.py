"""Facts refuse what would turn a report into a lie, and hold text that any encoding can carry."""

import pytest
from pydantic import ValidationError

from tasks.reporting.facts import Facts, Outcome, SampleFacts, ScoreFacts, showcase
from tasks.reporting.score_facts import Effect
from tests.reporting.example import EXAMPLE


def score(**changes: object) -> ScoreFacts:
    plain = {"name": "mmlu", "kind": "multiple choice", "better": "higher", "base": 31.0, "tuned": 30.0}
    return ScoreFacts.model_validate({**plain, "difference": -1.0, "low": -2.0, "high": -0.1, "items": 9, **changes})


def test_a_difference_with_the_wrong_sign_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"difference of 'mmlu' is 1.0, but tuned - base is -1; give tuned minus"):
        score(difference=1.0, low=0.1, high=2.0)


@pytest.mark.parametrize(("low", "high", "words"), [(2.0, -2.0, "low before high"), (None, 1.0, "both ends")])
def test_an_interval_must_be_whole_and_in_order(low: float | None, high: float, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        score(low=low, high=high)


@pytest.mark.parametrize(
    ("changes", "effect"),
    [
        ({}, "worse"),
        ({"better": "lower"}, "better"),
        ({"high": 0.0}, "unsure"),
        ({"low": None, "high": None}, "unsure"),
        ({"tuned": 32.0, "difference": 1.0, "low": 0.5, "high": 2.0}, "better"),
    ],
)
def test_only_an_interval_without_zero_is_sure(changes: dict[str, object], effect: Effect) -> None:
    assert score(**changes).effect == effect


def test_text_that_no_encoding_holds_becomes_visible() -> None:
    outcome = Outcome(verdict="pass", reason="a\x00b\x1bc\ud800d\x9fe\r\nf\tg")
    assert outcome.reason == "a␀b␛c�d�e\nf\tg"
    outcome.reason.encode()


def test_a_number_that_is_none_is_refused() -> None:
    with pytest.raises(ValidationError, match="finite"):
        score(tuned=float("nan"))


def test_the_showcase_holds_a_regression_when_there_is_one() -> None:
    def sample(improved: bool | None, prompt: str) -> SampleFacts:
        return SampleFacts(prompt=prompt, base="", tuned="", benchmark="", improved=improved)

    samples = [*(sample(True, f"good {i}") for i in range(9)), sample(False, "bad"), sample(None, "open")]
    assert [chosen.prompt for chosen in showcase(samples)] == ["good 0", "bad", "open"]
    assert [chosen.prompt for chosen in showcase(samples[:9])] == ["good 0", "good 1", "good 2"]
    assert showcase([]) == []


def test_facts_survive_json() -> None:
    assert Facts.model_validate_json(EXAMPLE.model_dump_json()) == EXAMPLE
