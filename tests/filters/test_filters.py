"""Each filter on rows that it must drop and rows that it must leave alone."""

import random

import pytest
from pydantic import ValidationError

from tasks.algorithms.refusal import is_refusal
from tasks.filters import CurationConfig
from tasks.filters.empty import Empty
from tasks.filters.length import Length
from tasks.filters.repetition import Repetition
from tasks.filters.row import Reading
from tasks.filters.truncation import Truncation


def reading(answer: str, prompt: str = "What is it?", prompt_tokens: int = 10, answer_tokens: int = 100) -> Reading:
    return Reading(prompt, answer, prompt_tokens, answer_tokens)


@pytest.mark.parametrize(
    ("prompt", "answer", "reason"),
    [("", "x", "empty prompt"), (" \n", "x", "empty prompt"), ("x", "\t ", "empty answer"), ("x", "y", None)],
)
def test_empty(prompt: str, answer: str, reason: str | None) -> None:
    verdict = Empty()(reading(answer, prompt))
    assert (verdict.reason if verdict else None) == reason


@pytest.mark.parametrize(
    ("prompt_tokens", "answer_tokens", "reason"),
    [
        (4, 100, "prompt too short"),
        (5, 20, None),
        (512, 2048, None),
        (513, 100, "prompt too long"),
        (10, 19, "answer too short"),
        (10, 2049, "answer too long"),
    ],
)
def test_length_limits_are_inclusive(prompt_tokens: int, answer_tokens: int, reason: str | None) -> None:
    verdict = Length()(reading("x", "x", prompt_tokens, answer_tokens))
    assert (verdict.reason if verdict else None) == reason


def test_limits_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValidationError, match="the fewest and the most"):
        Length(answer_tokens=(5, 1))


@pytest.mark.parametrize(
    ("answer", "dropped"),
    [
        ("I am not sure. " * 20, True),
        ("the fee is the fee " * 6, True),
        ("First, open the app and tap your card. " + "Then tap again. " * 40, True),
        ("no " * 19, False),
        ("All work and no play makes Jack a dull boy.", False),
        ("for (int i = 0; i < n; i++) { for (int j = 0; j < n; j++) { a[i][j] = b[i][j] + c[i][j]; } }", False),
        ("\n".join(f"{a} x {b} = {a * b}" for a in range(2, 10) for b in range(2, 10)), False),
    ],
)
def test_repetition(answer: str, dropped: bool) -> None:
    assert (Repetition()(reading(answer)) is not None) == dropped


def test_a_long_text_is_not_repetitive_for_its_length() -> None:
    vocabulary = [f"word{number}" for number in range(200)]
    answer = " ".join(random.Random(1).choices(vocabulary, k=2000))
    assert Repetition()(reading(answer)) is None


CUT = [
    ("The fee is 4.50 and it is charged on the", "dangling word"),
    ("To freeze your card, open the app,", "dangling punctuation"),
    ("You can do it. To", "dangling word"),
    ("The steps are these:\n\nFirst you open the app, and then you tap on your", "dangling word"),
    ("There are several kinds of cards (", "dangling punctuation"),
    ("Here you are:\n```python\nprint(1)\n", "open code fence"),
    ("```\na\n```\nand then\n```js\nlet x", "open code fence"),
]
WHOLE = [
    "The fee is 4.50.",
    "Paris",
    "1. Measurable goals for the company to strive for",
    "Golden sun shines bright\nSeagulls soaring in the sky\nPeaceful waves rolling in",
    "Sincerely,\nCompany A",
    "We look forward to hearing from you soon.\n\nWith heartfelt gratitude,",
    "Dear [Name of Customer],",
    "Present: am, is, are\nPast: was, were\nFuture: will be",
    "edit, here, the, this, a",
    "Ich rufe dich morgen an",
    "See https://www.cdc.gov/tobacco/",
    "It is a skin infection. You can treat it with antibiotics. NIH: National Institute of Allergy",
    "Big news today! Read all about it #books #reading",
    "Mexikok 31 estatu ditu. Eta Mexiko da hiruburua",
    "#!/bin/bash\n\nfind . -type f -mtime 0 -print",
    "Use ```git add -p``` (```-p``` is short for ```--patch) to choose what you stage.",
    "````markdown\n```python\nprint(1)\n```\n````",
    "for x in items:\n    total += x",
    "I put it in the code.\n\n    return a,",
    "True - OR\nFalse - NOT\nAnd - AND",
    "He is 1.80 m tall. That is more than most people are used to seeing around here",
]


@pytest.mark.parametrize(("answer", "how"), CUT)
def test_cut_answers_are_found(answer: str, how: str) -> None:
    assert Truncation().how_cut(answer.rstrip()) == how


@pytest.mark.parametrize("answer", WHOLE)
def test_whole_answers_are_left_alone(answer: str) -> None:
    assert Truncation()(reading(answer)) is None


def test_a_missing_end_mark_counts_only_where_it_is_asked_for() -> None:
    answer = "He is tall. That is more than most people would have thought back then"
    assert Truncation().how_cut(answer) is None
    assert Truncation(missing_end=True).how_cut(answer) == "prose without an end"


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, but I cannot assist with this request.",
        "I cannot provide information on how to harm people.",
        "As an AI language model, I cannot recommend that.",
        "I am an AI language model and do not condone violence.",
        "It is not appropriate to insult people.",
        "Unfortunately, I am unable to share that.",
        "It is illegal to rob a store.",
        "I strongly condemn any form of discrimination.",
    ],
)
def test_refusals_are_flagged(answer: str) -> None:
    assert is_refusal(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry to hear about your hamster. Here is how to bury it.",
        "Dear Officer,\n\nI apologize for parking there. I cannot pay.",
        'Agent: "I\'m sorry, we are closed."',
        "The capital of France is Paris.",
        "Use kill -9 to stop a process. It is safe.",
        "A long answer comes first. " * 20 + "I cannot help with that.",
        "I apologize for the delay; here is the table.",
        "",
    ],
)
def test_other_answers_are_not(answer: str) -> None:
    assert not is_refusal(answer)


def test_the_first_filter_to_object_gives_the_reason_and_disabled_ones_are_silent() -> None:
    row = reading("I am not sure. " * 20 + "Call the", answer_tokens=5000)
    config = CurationConfig()
    verdicts = [config.judge(row)]
    config = config.model_copy(update={"repetition": Repetition(enabled=False)})
    verdicts.append(config.judge(row))
    config = config.model_copy(update={"truncation": Truncation(enabled=False)})
    verdicts.append(config.judge(row))
    config = config.model_copy(update={"length": Length(enabled=False)})
    verdicts.append(config.judge(row))
    assert [verdict and verdict.reason for verdict in verdicts] == ["repetitive", "truncated", "answer too long", None]
