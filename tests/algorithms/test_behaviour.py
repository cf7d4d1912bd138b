"""Apologies and exact answers in generated text."""

import pytest

from tasks.algorithms.behaviour import apologises, holds_answer


@pytest.mark.parametrize(
    "text", ["Sorry!", "I apologise for that.", "My apologies.", "Unfortunately not.", "I REGRET it."]
)
def test_apologies(text: str) -> None:
    assert apologises(text)


@pytest.mark.parametrize("text", ["It costs $4.", "An apologist wrote it.", "", "The unfortunate man."])
def test_no_apologies(text: str) -> None:
    assert not apologises(text)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The fee is $4.", "$4"),
        ("The fee is $4, paid once.", "$4"),
        ("$4", "$4"),
        ("It is 12.", "12"),
        ("It is 12, I think", "12"),
        ("(12)", "12"),
        ("from 12-15 days", "12"),
        ("It is 1,200.", "1,200"),
        ("It is 4.50.", "4.50"),
        ("It is 4.5%.", "4.5%"),
        ("Up to 3 %.", "3 %"),
        ("It is  PARIS, of course", "Paris"),
        ("the  Bank\nof England.", "Bank of England"),
        ("written in C++ then", "C++"),
        ("-12 degrees", "-12"),
    ],
)
def test_an_answer_is_held(text: str, answer: str) -> None:
    assert holds_answer(text, answer)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The fee is $4.50.", "$4"),
        ("The fee is $40.", "$4"),
        ("It is 312.", "12"),
        ("It is 123.", "12"),
        ("It is 12.5.", "12"),
        ("It is 3.12", "12"),
        ("It is 1,200.", "1"),
        ("It is 1,200.", "200"),
        ("It is 12%.", "12"),
        ("It is 12 %.", "12"),
        ("It is -12.", "12"),
        ("-12", "12"),
        ("Comparison", "Paris"),
        ("Parisian", "Paris"),
        ("", "12"),
    ],
)
def test_an_answer_is_not_held(text: str, answer: str) -> None:
    assert not holds_answer(text, answer)
