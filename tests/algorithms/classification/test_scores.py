"""The same numbers as scikit-learn's, and those that it has no name for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, log_loss, precision_recall_fscore_support

from tasks.algorithms.classification.scores import LabelScores, confusion, decide, f1, label_counts, per_label, scores
from tests.algorithms.classification.matrices import Indicator, guesses, one_hot


@pytest.mark.parametrize(("rows", "labels"), [(1, 2), (30, 3), (200, 77), (1000, 5)])
def test_single_labels_are_scored_as_by_scikit_learn(rows: int, labels: int) -> None:
    random = np.random.default_rng(rows)
    truth = random.integers(0, labels, rows)
    probabilities = random.dirichlet(np.ones(labels), rows) + 0.5 * one_hot(guesses(random, truth, labels, 0.6), labels)
    probabilities /= probabilities.sum(1, keepdims=True)
    found, given_ = scores(one_hot(truth, labels), probabilities), probabilities.argmax(1)
    for average in ("macro", "weighted", "micro"):
        expected = f1_score(truth, given_, average=average, zero_division=0)
        assert getattr(found, f"{average}_f1") == pytest.approx(expected)
    assert found.accuracy == pytest.approx(accuracy_score(truth, given_))
    assert found.log_loss == pytest.approx(log_loss(truth, probabilities, labels=range(labels)))


@given(arrays.arrays(np.bool_, st.tuples(st.just(2), st.integers(1, 12), st.integers(2, 6))))
def test_means_of_f1_are_scikit_learns_over_labels_that_stand_somewhere(both: Indicator) -> None:
    truth, decided = both
    found = f1(*label_counts(truth, decided))
    here = (truth | decided).any(0)
    each = f1_score(truth, decided, average=None, zero_division=0)
    assert found.macro == pytest.approx(each[here].mean() if here.any() else 0)
    assert found.weighted == pytest.approx(f1_score(truth, decided, average="weighted", zero_division=0))
    assert found.micro == pytest.approx(f1_score(truth, decided, average="micro", zero_division=0))


def test_multi_label_accuracy_asks_for_all_labels_of_a_row() -> None:
    truth = np.array([[True, True, False], [False, False, False], [False, True, False]])
    found = scores(truth, np.array([[0.9, 0.2, 0.1], [0.1, 0.2, 0.3], [0.1, 0.5, 0.1]]))
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.log_loss == pytest.approx(-np.log([0.9, 0.2, 0.9, 0.9, 0.8, 0.7, 0.9, 0.5, 0.9]).mean())


def test_a_set_told_to_be_multi_label_is_one_also_where_each_row_has_one_label() -> None:
    truth, probabilities = one_hot([0, 1], 2), np.array([[0.9, 0.8], [0.1, 0.4]])
    assert scores(truth, probabilities).accuracy == 1
    assert scores(truth, probabilities, multi_label=True).accuracy == 0


def test_by_label_as_scikit_learn() -> None:
    random = np.random.default_rng(3)
    truth = random.integers(0, 4, 80)
    given_ = guesses(random, truth, 4, 0.6)
    found = per_label(one_hot(truth, 5), one_hot(given_, 5).astype(np.float64), list("abcde"))
    expected = precision_recall_fscore_support(truth, given_, labels=range(5), zero_division=0)
    assert np.allclose([[each.precision, each.recall, each.f1, each.rows] for each in found], np.transpose(expected))
    assert [each.predicted for each in found] == np.bincount(given_, minlength=5).tolist()
    assert all(each.recall_low <= each.recall <= each.recall_high for each in found)


def test_a_label_without_rows_is_known_to_be_unknown() -> None:
    (_, other) = per_label(one_hot([0, 0], 2), np.array([[0.9, 0.1], [0.2, 0.8]]), ["here", "nowhere"])
    assert other == LabelScores("nowhere", 0, 1, 0, 0, 0, 0, 1)


def test_the_intervals_of_recall_are_wilsons() -> None:
    found = per_label(one_hot([0] * 10, 2), one_hot([0, 0] + [1] * 8, 2).astype(np.float64), ["a", "b"])[0]
    assert (found.recall_low, found.recall_high) == (pytest.approx(0.0567, abs=1e-4), pytest.approx(0.5098, abs=1e-4))


def test_confusion_as_scikit_learn() -> None:
    random = np.random.default_rng(4)
    truth = random.integers(0, 4, 60)
    given_ = guesses(random, truth, 5, 0.5)
    found = confusion(one_hot(truth, 6), one_hot(given_, 6))
    assert (found == confusion_matrix(truth, given_, labels=range(6))).all()


def test_several_labels_have_no_confusion_matrix() -> None:
    with pytest.raises(ValueError, match="exactly one of each row"):
        confusion(np.array([[True, True]]), np.array([[True, False]]))


def test_the_first_of_equals_is_decided_on_and_a_half_is_enough() -> None:
    probabilities = np.array([[0.5, 0.5], [0.4, 0.4]])
    assert decide(probabilities, False).tolist() == [[True, False], [True, False]]
    assert decide(probabilities, True).tolist() == [[True, True], [False, False]]


def test_broken_probabilities_are_refused() -> None:
    with pytest.raises(ValueError, match="not a finite number"):
        scores(one_hot([0], 2), np.array([[np.nan, 0.5]]))
    with pytest.raises(ValueError, match="not a finite number"):
        decide(np.array([[np.inf, 0.5]]), True)


@pytest.mark.parametrize("shape", [(0, 2), (3, 2), (2, 3)])
def test_matrices_must_match_and_hold_something(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="of the same rows and labels"):
        scores(np.zeros(shape, np.bool_), np.zeros((2, 2)) if shape[0] else np.zeros(shape))


def test_the_only_label_is_always_right() -> None:
    found = scores(one_hot([0, 0], 1), np.ones((2, 1)))
    assert (found.accuracy, found.macro_f1, found.log_loss, found.ece) == (1, 1, 0, 0)


def test_a_loss_stays_finite_where_the_truth_was_ruled_out() -> None:
    assert np.isfinite(scores(one_hot([1], 2), np.array([[1.0, 0.0]])).log_loss)
