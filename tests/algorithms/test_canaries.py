"""Canaries: what an index promises to find is looked for in that index, and a miss stops the run."""

import random

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.algorithms.canaries import MOST_QUESTIONS, CanaryError, plant
from tasks.algorithms.containment import Match, QuestionIndex


def made_up(benchmark: str, count: int, length: int = 30) -> list[tuple[str, str]]:
    """Questions of words that hardly ever meet."""
    chance = random.Random(f"{benchmark} {length}")
    vocabulary = [f"{chance.choice('bdfklmnprst')}{vowel}{number}" for number in range(500) for vowel in "aeiou"]
    return [(f"{benchmark} {number}", f"{' '.join(chance.sample(vocabulary, length))}?") for number in range(count)]


def test_a_sound_index_finds_all_that_it_must() -> None:
    questions = [*made_up("maths", 50), *made_up("maps", 3)]
    maths, maps = plant(QuestionIndex(questions), questions)
    assert maths == {
        "benchmark": "maths",
        "questions": MOST_QUESTIONS,
        "distinctive": MOST_QUESTIONS,
        "planted": 6 * MOST_QUESTIONS,
        "found": 6 * MOST_QUESTIONS,
        "recall": 1.0,
        **dict.fromkeys(["verbatim", "marked", "embedded", "quoted", "inside", "wrapped", "edited", "cut"], 1.0),
        "controls": MOST_QUESTIONS,
    }
    assert (maps["benchmark"], maps["questions"], maps["recall"]) == ("maps", 3, 1.0)


def test_edited_copies_are_told_and_not_demanded() -> None:
    questions = made_up("short", 20, length=9)
    (short,) = plant(QuestionIndex(questions), questions)
    assert (short["recall"], short["edited"], short["cut"]) == (1.0, 0.0, 0.0)


def test_questions_that_are_known_only_as_a_whole_are_counted_apart() -> None:
    questions = [("b 1", "Who?"), ("b 2", "Who are you then?"), ("b 3", "?!")]
    (told,) = plant(QuestionIndex(questions), questions)
    assert (told["questions"], told["distinctive"], told["planted"], told["found"]) == (3, 0, 2 + 4, 2 + 4)
    assert (told["inside"], told["wrapped"], told["edited"], told["controls"]) == (None, None, None, 0)
    (empty,) = plant(QuestionIndex(questions[2:]), questions[2:])
    assert (empty["planted"], empty["recall"]) == (0, None)


def test_the_draw_is_by_content() -> None:
    questions = made_up("maths", 200)
    index = QuestionIndex(questions)
    assert plant(index, questions) == plant(index, reversed(questions))


@pytest.mark.parametrize("known", [[], made_up("maths", 12)[1:], made_up("maps", 3)])
def test_an_index_that_misses_a_question_is_an_error(known: list[tuple[str, str]]) -> None:
    with pytest.raises(
        CanaryError, match=r"misses \d+ of \d+ canaries, first maths \d+ \(\w+\): “.*what it calls clean"
    ):
        plant(QuestionIndex(known), made_up("maths", 12))


class Credulous(QuestionIndex):
    """Finds a question in every text."""

    def find(self, texts: pa.Array | pa.ChunkedArray) -> list[tuple[int, Match]]:
        return [(place, Match("maths 0", 1.0, "")) for place in range(len(texts))]


class Forgetful(QuestionIndex):
    """Finds questions only where a text is nothing else."""

    def find(self, texts: pa.Array | pa.ChunkedArray) -> list[tuple[int, Match]]:
        return [(place, match) for place, match in super().find(texts) if "asked" not in texts[place].as_py()]


def test_an_index_that_finds_what_is_not_there_is_an_error() -> None:
    questions = made_up("maths", 2)
    with pytest.raises(CanaryError, match=r"finds 2 questions in texts that only share their words, first maths \d"):
        plant(Credulous(questions), questions)


def test_an_index_that_misses_one_disguise_is_an_error() -> None:
    questions = made_up("maths", 2)
    with pytest.raises(CanaryError, match=r"misses 2 of 18 canaries, first maths \d \(inside\)"):
        plant(Forgetful(questions), questions)


@given(st.lists(st.one_of(st.text(max_size=60), st.text("ab. ?\n'“Üß東", max_size=40)), max_size=15))
def test_of_any_questions_those_are_found_that_can_be(texts: list[str]) -> None:
    questions = [(f"b {number}", text) for number, text in enumerate(texts)]
    for told in plant(QuestionIndex(questions), questions):
        assert told["recall"] in (1.0, None)
