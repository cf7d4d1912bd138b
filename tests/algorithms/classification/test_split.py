"""Rows keep their side: whatever else is there, and in whatever order."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.algorithms.classification.split import Fractions, draw

FRACTIONS = Fractions(validation=0.1, test=0.2)


def ids(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


@pytest.mark.parametrize(
    ("rows", "train", "validation", "test"),
    [(1, 1, 0, 0), (2, 2, 0, 0), (3, 2, 0, 1), (4, 2, 1, 1), (5, 3, 1, 1), (10, 7, 1, 2), (100, 70, 10, 20)],
)
def test_a_label_of_few_rows_is_shared_out(rows: int, train: int, validation: int, test: int) -> None:
    found = Counter(draw(ids("a", rows), [["one"]] * rows, FRACTIONS))
    assert (found["train"], found["validation"], found["test"]) == (train, validation, test)


@pytest.mark.parametrize("rows", range(1, 8))
def test_large_fractions_leave_a_row_to_train_and_one_to_validate(rows: int) -> None:
    found = Counter(draw(ids("a", rows), [["one"]] * rows, Fractions(0.09, 0.9)))
    assert found["train"] >= 1
    assert found["validation"] == (rows >= 4)


def test_no_fraction_no_rows() -> None:
    assert set(draw(ids("a", 50), [["one"]] * 50, Fractions(0, 0))) == {"train"}
    assert set(draw(ids("a", 50), [["one"]] * 50, Fractions(0.1, 0))) == {"train", "validation"}


@pytest.mark.parametrize("fractions", [Fractions(-0.1, 0.2), Fractions(0.5, 0.5), Fractions(0.1, 1.2)])
def test_fractions_that_leave_nothing_are_refused(fractions: Fractions) -> None:
    with pytest.raises(ValueError, match="must leave rows to train on"):
        draw(["a"], [["one"]], fractions)


def test_every_label_is_tested_also_a_rare_one() -> None:
    labels = [["common"]] * 500 + [["rare"]] * 4
    found = draw(ids("a", 504), labels, FRACTIONS)
    assert Counter(found[500:]) == {"train": 2, "validation": 1, "test": 1}


def test_the_rarest_label_of_a_row_decides() -> None:
    labels = [["common"]] * 500 + [["common", "rare"]] * 10
    found = draw(ids("a", 510), labels, FRACTIONS)
    assert Counter(found[500:]) == {"train": 7, "validation": 1, "test": 2}


def test_rows_of_no_label_are_a_stratum_of_their_own() -> None:
    found = draw(ids("a", 20), [["one"]] * 10 + [[]] * 10, FRACTIONS)
    assert Counter(found[10:]) == {"train": 7, "validation": 1, "test": 2}


def test_rows_keep_their_side_when_rows_of_other_labels_come() -> None:
    before = draw(ids("a", 100), [["one"]] * 100, FRACTIONS)
    after = draw([*ids("b", 77), *ids("a", 100)], [["two"]] * 77 + [["one"]] * 100, FRACTIONS)
    assert after[77:] == before


def test_and_mostly_when_rows_of_their_own_do() -> None:
    before = draw(ids("a", 1000), [["one"]] * 1000, FRACTIONS)
    after = draw(ids("a", 1100), [["one"]] * 1100, FRACTIONS)[:1000]
    assert sum(was == now for was, now in zip(before, after, strict=True)) > 950


def test_rows_of_one_id_fall_on_one_side() -> None:
    found = draw(ids("a", 100) * 2, [["one"]] * 100 + [["two"]] * 100, FRACTIONS)
    assert found[:100] == found[100:]
    assert Counter(found[:100]) == {"train": 70, "validation": 10, "test": 20}


@given(
    rows=st.dictionaries(
        st.text(max_size=4), st.lists(st.sampled_from("abc"), max_size=3, unique=True), min_size=1, max_size=60
    ),
    shuffled=st.randoms(use_true_random=False),
    fractions=st.sampled_from([FRACTIONS, Fractions(0.3, 0.6), Fractions(0, 0.1)]),
)
def test_the_order_of_rows_and_of_labels_changes_nothing(
    rows: dict[str, list[str]], shuffled: Random, fractions: Fractions
) -> None:
    order = list(rows)
    shuffled.shuffle(order)
    one = dict(zip(rows, draw(list(rows), list(rows.values()), fractions), strict=True))
    other = dict(zip(order, draw(order, [rows[each][::-1] for each in order], fractions), strict=True))
    assert one == other
