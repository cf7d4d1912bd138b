"""Paired differences by hand, and how often the verdict is wrong in simulated evaluations."""

import math
from collections.abc import Hashable, Sequence

import numpy as np
import pytest

from tasks.algorithms.paired import Drop, Verdict, drop, gravest, judge


def verdict(base: Sequence[float], tuned: Sequence[float], clusters: Sequence[Hashable] | None = None) -> Verdict:
    found = drop(base, tuned, clusters if clusters is not None else range(len(base)), 1)
    return judge(found, investigate=2, fail=5)


def test_four_items_by_hand() -> None:
    found = drop([1, 1, 1, 0], [1, 0, 1, 0], range(4), 1)
    assert found.mean == 25.0
    assert found.standard_error == pytest.approx(25.0)  # differences 0, 100, 0, 0: sd 50, over √4
    assert found.low == pytest.approx(25 - 1.6448536 * 25)
    assert found.high == pytest.approx(25 + 1.6448536 * 25)
    assert found.smallest_visible == pytest.approx(2.49 * 100 / 4)


def test_clustered_errors_by_hand() -> None:
    base, tuned = [1, 1, 0, 0], [0, 0, 0, 0]
    found = drop(base, tuned, ["a", "a", "b", "b"], 1)
    # Cluster sums of deviations are ±100: √(2·100²·2/1)/4 = 50; unclustered it were 28.9.
    assert found.standard_error == pytest.approx(50.0)
    assert drop(base, tuned, range(4), 1).standard_error == pytest.approx(100 * math.sqrt(1 / 3) / 2)


def test_one_cluster_says_nothing_about_its_error_so_the_items_do() -> None:
    assert drop([1, 0, 1, 1], [0, 0, 1, 1], ["a"] * 4, 1).standard_error == pytest.approx(25.0)


def test_more_comparisons_make_the_interval_wider() -> None:
    base, tuned = [1.0] * 50, [0.0] * 5 + [1.0] * 45
    assert drop(base, tuned, range(50), 10).high > drop(base, tuned, range(50), 1).high


def test_a_model_against_itself_shows_no_drop_and_what_its_items_could_not_have_seen() -> None:
    scores = [1.0, 0.0, 1.0, 1.0] * 100
    found = drop(scores, scores, range(400), 3)
    unseen = 100 * (1 - (0.05 / 3) ** (1 / 400))
    assert found == Drop(0.0, 0.0, unseen, 0.0, 400, unseen)
    assert 1.0 < unseen < 1.1
    assert verdict(scores, scores) == "pass"
    assert verdict(scores[:40], scores[:40]) == "underpowered"


def test_few_items_are_underpowered() -> None:
    assert verdict([1, 1, 0, 1, 0, 1, 1, 0], [1, 0, 0, 1, 1, 1, 1, 0]) == "underpowered"
    assert verdict([1], [0]) == "underpowered"


def test_grave_and_smaller_sure_drops() -> None:
    assert verdict([1] * 1000, [0] * 100 + [1] * 900) == "fail"
    assert verdict([1] * 1000, [0] * 35 + [1] * 965) == "investigate"
    assert verdict([1] * 1000, [0] * 5 + [1] * 995) == "pass"


def test_unequal_or_missing_scores_are_refused() -> None:
    for base, tuned in (([], []), ([1], [1, 0])):
        with pytest.raises(ValueError, match="equal numbers"):
            drop(base, tuned, range(len(base)), 1)


def test_the_gravest_verdict() -> None:
    assert gravest(["pass", "fail", "investigate"]) == "fail"
    assert gravest(["pass", "underpowered"]) == "underpowered"
    assert gravest([]) == "underpowered"


def simulated(true_drop: float, runs: int, items: int = 1500, subjects: int = 50) -> list[Verdict]:
    """Verdicts on models that lose and win 8 % of the items each, and `true_drop` points more lost than won."""
    random = np.random.default_rng(20240607)
    found = []
    clusters = [number % subjects for number in range(items)]
    for _ in range(runs):
        base = random.random(items) < 0.5
        chance = random.random(items)
        lost = base & (chance < 0.16 + 2 * true_drop / 100)
        won = ~base & (chance < 0.16)
        tuned = (base & ~lost) | won
        found.append(verdict(base.astype(float).tolist(), tuned.astype(float).tolist(), clusters))
    return found


def test_a_harmless_model_is_seldom_accused() -> None:
    found = simulated(0.0, 400)
    assert sum(each in ("fail", "investigate") for each in found) <= 0.06 * len(found)
    assert found.count("pass") > 0.9 * len(found)


def test_a_drop_of_seven_points_hardly_ever_passes() -> None:
    found = simulated(7.0, 400)
    assert found.count("pass") < 0.01 * len(found)
    assert found.count("fail") > 0.9 * len(found)
