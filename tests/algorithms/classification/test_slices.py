"""Weak slices come first, and small ones do not come at all."""

import pytest

from tasks.algorithms.classification.slices import Slice, slices


def test_the_weaker_source_comes_first_with_its_difference_to_the_rest() -> None:
    sources = ["web"] * 20 + ["mail"] * 30
    correct = [True] * 5 + [False] * 15 + [True] * 24 + [False] * 6
    first, second = slices([7] * 50, sources, correct)
    assert first == Slice(
        "source web", 20, 0.25, pytest.approx(0.1119, abs=1e-4), pytest.approx(0.4687, abs=1e-4), -0.55
    )
    assert (second.name, second.rows, second.accuracy) == ("source mail", 30, 0.8)
    assert second.difference == pytest.approx(0.55)


def test_lengths_are_cut_into_quarters_named_by_what_is_in_them() -> None:
    found = slices(list(range(1, 81)), ["one"] * 80, [length <= 60 for length in range(1, 81)])
    assert [each.name for each in found] == ["61 to 80 words", "1 to 20 words", "21 to 40 words", "41 to 60 words"]
    assert [each.accuracy for each in found] == [0, 1, 1, 1]


def test_texts_of_one_length_stay_together() -> None:
    found = slices([1] * 60 + [2] * 20 + [1500] * 20, ["one"] * 100, [True] * 100)
    assert sorted(each.name for each in found) == ["1 word", "1,500 words", "2 words"]


def test_what_is_small_or_all_there_is_says_nothing() -> None:
    assert slices([5] * 30, ["only"] * 30, [True] * 30) == []
    assert [each.name for each in slices([5] * 30, ["big"] * 21 + ["small"] * 9, [True] * 30)] == ["source big"]
    assert slices([], [], []) == []


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="one of each for every row"):
        slices([1, 2], ["a"], [True, False])
