"""Marks show the words that differ, lose no character, and stay away where they would cover everything."""

from hypothesis import given
from hypothesis import strategies as st

from tasks.reporting.differences import Piece, word_differences


def marked(pieces: list[Piece]) -> list[str]:
    return [piece.text for piece in pieces if piece.changed]


def test_only_what_differs_is_marked() -> None:
    before, after = word_differences("The capital is Rome, of course.", "The capital is Paris, of course!")
    assert (marked(before), marked(after)) == (["Rome", "."], ["Paris", "!"])


def test_scripts_without_spaces_are_compared_by_character() -> None:
    before, after = word_differences("今日は天気がいい", "今日は天気が悪い")
    assert (marked(before), marked(after)) == (["い"], ["悪"])


def test_combining_marks_stay_with_their_letter() -> None:
    before, _ = word_differences("שָׁלוֹם לך וגם לה", "שלום לך וגם לה")
    assert marked(before) == ["שָׁלוֹם"]


def test_answers_with_little_in_common_are_not_marked() -> None:
    before, after = word_differences("red green blue", "one two three")
    assert (marked(before), marked(after)) == ([], [])


def test_a_long_loop_is_compared_in_time() -> None:
    before, after = word_differences("so it is " * 20_000, "so it is " * 19_999 + "not ")
    assert "".join(piece.text for piece in after).endswith("so it is not ")
    assert before


@given(st.text(alphabet="ab ,.\n中é", max_size=40), st.text(alphabet="ab ,.\n中é", max_size=40))
def test_no_character_is_lost(before: str, after: str) -> None:
    left, right = word_differences(before, after)
    assert "".join(piece.text for piece in left) == before
    assert "".join(piece.text for piece in right) == after
