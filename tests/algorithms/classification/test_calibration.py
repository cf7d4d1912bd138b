"""Temperatures are found again, and bins hold what falls into them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.algorithms.classification.calibration import Bin, calibrated, ece, reliability, temperature
from tasks.algorithms.classification.scores import decide, scores
from tests.algorithms.classification.matrices import Indicator, one_hot


def drawn(true: float, multi_label: bool, rows: int = 20_000) -> tuple[np.ndarray, Indicator]:
    """Logits that are so many times too large, and labels drawn from what they should be."""
    random = np.random.default_rng(11)
    logits = random.normal(0, 1.5, (rows, 4))
    probabilities = calibrated(logits, 1.0, multi_label)
    if multi_label:
        return true * logits, random.random(logits.shape) < probabilities
    places = (probabilities.cumsum(1) > random.random((rows, 1))).argmax(1)
    return true * logits, one_hot(places, 4)


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("true", [0.3, 1.0, 4.0])
def test_the_temperature_is_found_again_and_mends_the_error(true: float, multi_label: bool) -> None:
    logits, truth = drawn(true, multi_label)
    found = temperature(logits, truth, multi_label)
    assert found == pytest.approx(true, rel=0.04)
    assert ece(calibrated(logits, found, multi_label), truth, multi_label=multi_label) < 0.015
    if true != 1:
        assert ece(calibrated(logits, 1.0, multi_label), truth, multi_label=multi_label) > 0.08


@pytest.mark.parametrize("multi_label", [False, True])
def test_where_all_is_right_the_rows_do_not_tell(multi_label: bool) -> None:
    truth = one_hot([0, 1, 0], 2)
    assert temperature(np.where(truth, 2.0, -2.0), truth, multi_label) == 1.0


@pytest.mark.parametrize(
    ("logits", "truth"),
    [
        (np.empty((0, 3)), np.empty((0, 3), np.bool_)),
        (np.zeros((4, 3)), one_hot([0, 1, 2, 0], 3)),
        (np.array([[np.nan, 1.0], [1.0, 0.0]]), one_hot([0, 1], 2)),
        (np.ones((3, 1)), one_hot([0, 0, 0], 1)),
    ],
)
def test_nor_where_there_is_nothing_to_fit(logits: np.ndarray, truth: Indicator) -> None:
    assert temperature(logits, truth, False) == 1.0


def test_a_model_that_is_always_wrong_is_made_unsure_within_bounds() -> None:
    truth = one_hot([0, 1] * 20, 2)
    assert temperature(np.where(truth, -9.0, 9.0), truth, False) == pytest.approx(20, rel=0.01)


def test_huge_logits_give_probabilities() -> None:
    found = calibrated(np.array([[1e6, -1e6, 0.0]]), 0.05, False)
    assert found.tolist() == [[1, 0, 0]]
    assert calibrated(np.array([[1e6, -1e6]]), 0.05, True).tolist() == [[1, 0]]


@pytest.mark.parametrize("t", [0.0, -1.0, float("nan")])
def test_a_temperature_is_above_nothing(t: float) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        calibrated(np.zeros((1, 2)), t, False)


def test_broken_logits_are_refused() -> None:
    with pytest.raises(ValueError, match="weights are broken"):
        calibrated(np.array([[np.inf, 0.0]]), 1.0, False)


@given(
    places=st.lists(st.lists(st.integers(-40, 40), min_size=3, max_size=3), min_size=1, max_size=20),
    t=st.floats(0.05, 20),
    multi_label=st.booleans(),
)
def test_a_temperature_changes_no_decision(places: list[list[int]], t: float, multi_label: bool) -> None:
    logits = np.array(places, np.float64) / 4
    one, other = (decide(calibrated(logits, each, multi_label), multi_label) for each in (1.0, t))
    assert (one == other).all()


def test_bins_by_hand() -> None:
    probabilities = np.array([[0.95, 0.05], [0.92, 0.08], [0.6, 0.4], [0.45, 0.55]])
    found = reliability(probabilities, one_hot([0, 1, 0, 1], 2))
    assert found == [
        Bin(0.5, pytest.approx(0.6), 2, pytest.approx(0.575), 1.0),
        Bin(0.9, 1.0, 2, pytest.approx(0.935), 0.5),
    ]
    assert ece(probabilities, one_hot([0, 1, 0, 1], 2), 10) == pytest.approx((2 * 0.425 + 2 * 0.435) / 4)


def test_multi_label_counts_every_decision() -> None:
    truth = np.array([[True, True, False], [False, False, False]])
    found = reliability(np.array([[0.9, 0.2, 0.1], [0.1, 0.0, 1.0]]), truth)
    assert sum(each.rows for each in found) == 6
    assert found[0] == Bin(pytest.approx(0.7), pytest.approx(0.8), 1, pytest.approx(0.8), 0.0)
    assert found[-1].rows == 5 - sum(each.rows for each in found[1:-1])


def test_certainty_falls_into_the_last_bin_and_none_into_the_first() -> None:
    assert reliability(np.array([[1.0, 0.0]]), one_hot([0], 2)) == [Bin(0.9, 1.0, 1, 1.0, 1.0)]
    assert reliability(np.array([[0.0, 0.0]]), one_hot([0], 2)) == [Bin(0.0, 0.1, 1, 0.0, 1.0)]


def test_the_scores_hold_the_same_error() -> None:
    logits, truth = drawn(2.0, False, 500)
    probabilities = calibrated(logits, 1.0, False)
    assert scores(truth, probabilities).ece == ece(probabilities, truth)
