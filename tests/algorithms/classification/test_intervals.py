"""Bootstrap intervals: of the right score, as wide as they must be, and the same each time."""

import math
import time

import numpy as np
import pytest
from sklearn.metrics import f1_score

from tasks.algorithms.classification.intervals import bootstrap, paired
from tests.algorithms.classification.matrices import guesses, one_hot


def test_the_interval_of_an_accuracy_is_that_of_the_binomial() -> None:
    truth, decided = one_hot([0, 1] * 500, 2), one_hot([0, 0] * 400 + [0, 1] * 100, 2)
    found = bootstrap(truth, decided, 1, draws=4000)["accuracy"]
    reach = 1.96 * math.sqrt(0.6 * 0.4 / 1000)
    assert found.value == pytest.approx(0.6)
    assert (found.low, found.high) == (pytest.approx(0.6 - reach, abs=0.003), pytest.approx(0.6 + reach, abs=0.003))


def test_scores_and_intervals_are_those_of_rows_drawn_one_by_one() -> None:
    random = np.random.default_rng(7)
    truth = random.integers(0, 6, 60)
    decided = guesses(random, truth, 6, 0.6)
    found = bootstrap(one_hot(truth, 6), one_hot(decided, 6), 1, draws=4000)
    for name in ("macro", "weighted"):
        rows = random.integers(0, 60, (400, 60))
        slow = [f1_score(truth[each], decided[each], average=name, zero_division=0) for each in rows]
        expected = f1_score(truth, decided, average=name, zero_division=0), *np.quantile(slow, [0.025, 0.975])
        assert found[f"{name}_f1"] == pytest.approx(expected, abs=0.03)


def test_several_labels_a_row_are_drawn_together() -> None:
    random = np.random.default_rng(8)
    truth = random.random((80, 4)) < 0.3
    decided = truth ^ (random.random((80, 4)) < 0.15)
    found = bootstrap(truth, decided, 1, draws=4000)["macro_f1"]
    rows = random.integers(0, 80, (400, 80))
    slow = [f1_score(truth[each], decided[each], average="macro", zero_division=0) for each in rows]
    expected = f1_score(truth, decided, average="macro"), *np.quantile(slow, [0.025, 0.975])
    assert found == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize(("rows", "labels", "accuracy"), [(40, 2, 0.8), (150, 5, 0.7), (300, 10, 0.6)])
def test_nineteen_intervals_of_twenty_hold_the_true_accuracy(rows: int, labels: int, accuracy: float) -> None:
    random = np.random.default_rng(rows)
    true = accuracy + (1 - accuracy) / labels
    held = 0
    for seed in range(300):
        truth = random.integers(0, labels, rows)
        found = bootstrap(
            one_hot(truth, labels), one_hot(guesses(random, truth, labels, accuracy), labels), seed, draws=400
        )["accuracy"]
        held += found.low <= true <= found.high
    assert held / 300 > 0.9


def test_a_difference_is_that_of_the_two_scores() -> None:
    random = np.random.default_rng(9)
    truth = random.integers(0, 5, 200)
    tuned, rival = guesses(random, truth, 5, 0.8), guesses(random, truth, 5, 0.5)
    found = paired(one_hot(truth, 5), one_hot(tuned, 5), one_hot(rival, 5), 1)
    macro = [f1_score(truth, each, average="macro", zero_division=0) for each in (tuned, rival)]
    assert found.macro_f1.value == pytest.approx(macro[0] - macro[1])
    assert found.accuracy.value == pytest.approx((tuned == truth).mean() - (rival == truth).mean())
    assert (found.gained - found.lost) / 200 == pytest.approx(found.accuracy.value)
    assert 0 < found.macro_f1.low < found.macro_f1.value < found.macro_f1.high
    assert found.mcnemar_p < 1e-4


def test_the_two_are_drawn_together() -> None:
    # One row in fifty differs: unpaired, the interval would be many times as wide.
    truth = one_hot([0, 1] * 100, 2)
    tuned = one_hot([0] * 200, 2)
    rival = tuned.copy()
    rival[1:9:2] = [False, True]
    found = paired(truth, tuned, rival, 1)
    assert found.accuracy.value == pytest.approx(-0.02)
    assert found.accuracy.high - found.accuracy.low < 0.05
    assert (found.lost, found.gained, found.mcnemar_p) == (4, 0, pytest.approx(1 / 16))


def test_swapping_the_two_turns_the_sign() -> None:
    random = np.random.default_rng(10)
    truth, one, other = (one_hot(random.integers(0, 3, 90), 3) for _ in range(3))
    found, turned = paired(truth, one, other, 5, 4000), paired(truth, other, one, 5, 4000)
    assert turned.macro_f1.value == pytest.approx(-found.macro_f1.value)
    assert turned.macro_f1.low == pytest.approx(-found.macro_f1.high, abs=0.01)
    assert (turned.lost, turned.gained) == (found.gained, found.lost)


def test_models_that_agree_do_not_differ() -> None:
    truth, decided = one_hot([0, 1, 1], 2), one_hot([0, 1, 0], 2)
    found = paired(truth, decided, decided, 1)
    assert found.macro_f1 == found.accuracy == (0, 0, 0)
    assert (found.lost, found.gained, found.mcnemar_p) == (0, 0, 1)


def test_the_same_seed_gives_the_same_interval_and_another_level_a_wider_one() -> None:
    random = np.random.default_rng(12)
    truth, decided = (one_hot(random.integers(0, 4, 100), 4) for _ in range(2))
    assert bootstrap(truth, decided, 3) == bootstrap(truth, decided, 3) != bootstrap(truth, decided, 4)
    wide, narrow = (bootstrap(truth, decided, 3, level=level)["macro_f1"] for level in (0.99, 0.8))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_one_row_is_enough() -> None:
    assert bootstrap(one_hot([0], 2), one_hot([1], 2), 1)["macro_f1"] == (0, 0, 0)


def test_no_row_is_not() -> None:
    with pytest.raises(ValueError, match="at least one of both"):
        bootstrap(np.empty((0, 2), np.bool_), np.empty((0, 2), np.bool_), 1)


def test_a_thousand_draws_of_three_thousand_different_rows_take_seconds() -> None:
    random = np.random.default_rng(13)
    truth = random.random((3000, 77)) < 0.05
    decided = truth ^ (random.random(truth.shape) < 0.02)
    rival = truth ^ (random.random(truth.shape) < 0.02)
    begun = time.process_time()
    paired(truth, decided, rival, 1)
    assert time.process_time() - begun < 8
