"""Paired differences by hand, and the verdicts that they give."""

import math
from collections.abc import Hashable, Sequence

import numpy as np
import pytest

from tasks.algorithms.gate.bootstrap import bootstrap_interval
from tasks.algorithms.gate.distributions import largest_drop, mid_p, two_sided_mid_p, upper_t, wilson
from tasks.algorithms.gate.needed import needed_items
from tasks.algorithms.gate.paired import Changes, Drop, Verdict, drop, gravest, judge


def found(
    base: Sequence[float], tuned: Sequence[float], clusters: Sequence[Hashable] | None = None, comparisons: int = 1
) -> Drop:
    return drop(Changes.of(base, tuned, clusters if clusters is not None else range(len(base))), comparisons)


def verdict(base: Sequence[float], tuned: Sequence[float]) -> Verdict:
    return judge(found(base, tuned), investigate=2, fail=5)


def changed(items: int, lost: int, gained: int) -> tuple[list[float], list[float]]:
    """Scores of which some are lost and some gained."""
    base = [1.0] * lost + [0.0] * gained + [1.0] * (items - lost - gained)
    return base, [0.0] * lost + [1.0] * gained + [1.0] * (items - lost - gained)


@pytest.mark.parametrize(
    ("level", "degrees", "quantile"),
    [(0.05, 1, 6.3138), (0.05, 2, 2.9200), (0.01, 4, 3.7469), (0.025, 30, 2.0423), (0.05, 2500, 1.6449)],
)
def test_student_quantiles_are_those_of_the_tables(level: float, degrees: float, quantile: float) -> None:
    assert upper_t(level, degrees) == pytest.approx(quantile, abs=6e-5)


def test_half_a_degree_of_freedom_has_no_quantile() -> None:
    with pytest.raises(ValueError, match="needs at least 1"):
        upper_t(0.05, 0.5)


def test_mid_p_by_hand() -> None:
    assert mid_p(3, 1) == pytest.approx((1 + 4 / 2) / 16)
    assert mid_p(5, 0) == pytest.approx(1 / 64)
    assert mid_p(0, 0) == 0.5
    assert two_sided_mid_p(1, 3) == two_sided_mid_p(3, 1) == pytest.approx(2 * 3 / 16)
    assert two_sided_mid_p(4, 4) == pytest.approx(1.0)


def test_mid_p_of_many_is_that_of_the_normal_distribution() -> None:
    # 2,000 are counted one by one, one more is not: the steps on either side are alike.
    assert mid_p(1050, 950) - mid_p(1051, 950) == pytest.approx(mid_p(1051, 950) - mid_p(1052, 950), rel=0.08)


def test_largest_drop_by_hand() -> None:
    z = 1.6448536
    # Without a change Tango's interval ends at z² / (n + z²), the rule of three at 1 − .05^(1/n).
    assert largest_drop(0, 0, 100, 0.05) == pytest.approx(1 - 0.05 ** (1 / 100))
    # The example of Tango (1998): 43 of 44 agree, one lost; the two-sided 95 % interval ends at 0.118.
    assert largest_drop(1, 0, 44, 0.025) == pytest.approx(0.118, abs=0.001)
    many = largest_drop(600, 400, 10_000, 0.05)
    assert many == pytest.approx(0.02 + z * math.sqrt((0.1 - 0.02**2) / 10_000), rel=0.01)


def test_wilson_interval_by_hand() -> None:
    low, high = wilson(2, 10, 0.025)  # the textbook's 20 % of ten
    assert (low, high) == (pytest.approx(0.0567, abs=1e-4), pytest.approx(0.5098, abs=1e-4))
    assert wilson(0, 10, 0.025)[0] == pytest.approx(0, abs=1e-9)


def test_many_items_have_the_interval_of_the_normal_distribution() -> None:
    drawn = found(*changed(4000, 300, 200))
    error = 100 * math.sqrt((0.125 - 0.025**2) / 3999)
    assert drawn.mean == pytest.approx(2.5)
    assert drawn.standard_error == pytest.approx(error)
    assert drawn.low == pytest.approx(2.5 - 1.645 * error, abs=0.01)
    assert drawn.high == pytest.approx(2.5 + 1.645 * error, abs=0.02)
    assert drawn.smallest_visible == pytest.approx(2.49 * 100 * math.sqrt(500) / 4000)


def test_losses_that_a_fair_coin_gives_are_not_sure() -> None:
    three, four = found(*changed(50, 3, 0)), found(*changed(50, 5, 0))
    assert three.mean - 1.6766 * three.standard_error > 0 == three.low  # Student's interval lies above nothing
    assert four.low > 0


def test_clustered_errors_by_hand() -> None:
    base, tuned = [1.0, 1.0, 0.0, 0.0], [0.0] * 4
    # Cluster sums of deviations are ±100: √(2·100²·2/1)/4 = 50; unclustered it were 28.9.
    assert found(base, tuned, ["a", "a", "b", "b"]).standard_error == pytest.approx(50.0)
    assert found(base, tuned).standard_error == pytest.approx(100 * math.sqrt(1 / 3) / 2)


def test_clusters_never_make_the_error_smaller() -> None:
    base, tuned = [1.0, 0.0] * 50, [0.0, 1.0] * 50
    pairs = [number // 2 for number in range(100)]  # each cluster loses one and gains one: no error between them
    assert found(base, tuned, pairs).standard_error == pytest.approx(found(base, tuned).standard_error)
    assert found(base, tuned, pairs).high == pytest.approx(found(base, tuned).high)


def test_one_cluster_says_nothing_about_its_error_so_the_items_do() -> None:
    assert found([1, 0, 1, 1], [0, 0, 1, 1], ["a"] * 4).standard_error == pytest.approx(25.0)


def test_few_clusters_make_a_wide_interval() -> None:
    base, tuned = changed(400, 60, 10)
    few = [number // 100 for number in range(400)]
    assert found(base, tuned, few).low == -100.0 or found(base, tuned, few).low < found(base, tuned).low - 10


def test_more_comparisons_make_the_interval_wider() -> None:
    base, tuned = changed(50, 5, 0)
    assert found(base, tuned, comparisons=10).high > found(base, tuned).high


def test_equal_scores_show_no_drop_and_what_their_items_could_not_have_seen() -> None:
    scores = [1.0, 0.0, 1.0, 1.0] * 100
    same = found(scores, scores, comparisons=3)
    unseen = 100 * (1 - (0.05 / 3) ** (1 / 400))
    assert (same.mean, same.low, same.standard_error) == (0, 0, 0)
    assert same.high == same.smallest_visible == pytest.approx(unseen)
    assert verdict(scores, scores) == "pass"
    assert verdict(scores[:40], scores[:40]) == "underpowered"


def test_small_changes_of_fractional_scores_are_seen_for_what_they_are() -> None:
    random = np.random.default_rng(1)
    base = random.uniform(0.2, 0.8, 800)
    tuned = base - random.normal(0.04, 0.05, 800)
    assert verdict(base.tolist(), tuned.tolist()) == "investigate"
    assert verdict(base.tolist(), (base - random.normal(0, 0.05, 800)).tolist()) == "pass"


def test_few_items_are_underpowered() -> None:
    assert verdict([1, 1, 0, 1, 0, 1, 1, 0], [1, 0, 0, 1, 1, 1, 1, 0]) == "underpowered"
    assert verdict([1], [0]) == "underpowered"


def test_grave_and_smaller_sure_drops() -> None:
    assert verdict(*changed(1000, 100, 0)) == "fail"
    assert verdict(*changed(1000, 35, 0)) == "investigate"
    assert verdict(*changed(1000, 5, 0)) == "pass"


def test_a_grave_drop_must_be_all_but_excluded() -> None:
    lucky = Drop(mean=1, low=-2, high=4.5, standard_error=2, items=250, smallest_visible=5, surest_high=7.5)
    assert judge(lucky, investigate=2, fail=5) == "underpowered"
    assert judge(lucky, investigate=3, fail=5) == "pass"


def test_unequal_or_missing_scores_are_refused() -> None:
    for base, tuned in (([], []), ([1], [1, 0])):
        with pytest.raises(ValueError, match="equal numbers"):
            Changes.of(base, tuned, range(len(base)))


def test_the_gravest_verdict() -> None:
    assert gravest(["pass", "fail", "investigate"]) == "fail"
    assert gravest(["pass", "underpowered"]) == "underpowered"
    assert gravest([]) == "underpowered"


def test_bootstrap_agrees_with_the_standard_error_and_with_itself() -> None:
    base, tuned = changed(1000, 90, 40)
    low, high = bootstrap_interval(base, tuned, range(1000))
    error = found(base, tuned).standard_error
    assert (low, high) == (pytest.approx(-5 - 1.96 * error, abs=0.25), pytest.approx(-5 + 1.96 * error, abs=0.25))
    assert bootstrap_interval(base, tuned, range(1000)) == (low, high)


def test_bootstrap_draws_whole_clusters() -> None:
    base, tuned = changed(400, 40, 0)  # all in one cluster of ten
    clusters = [number // 40 for number in range(400)]
    low, high = bootstrap_interval(base, tuned, clusters)
    assert high == 0.0
    assert low < -25 < bootstrap_interval(base, tuned, range(400))[0]
    # One cluster alone cannot be drawn anew: its items are.
    assert bootstrap_interval(base, tuned, ["a"] * 400) == bootstrap_interval(base, tuned, range(400))


@pytest.mark.parametrize(("lost", "gained"), [(8, 8), (12, 9), (3, 1), (15, 10), (9, 2)])
def test_the_items_asked_for_decide_four_times_in_five(lost: int, gained: int) -> None:
    changes = Changes.of(*changed(100, lost, gained), range(100))
    assert judge(drop(changes, 3), investigate=2, fail=5) == "underpowered"
    needed = needed_items(changes, 3, investigate=2, fail=5)
    assert needed is not None
    assert needed > 100
    random = np.random.default_rng(7)
    drawn = random.multinomial(needed, [lost / 100, gained / 100, 1 - (lost + gained) / 100], 300)
    decided = 0
    for losses, gains, _ in drawn:
        again = Changes.of(*changed(needed, int(losses), int(gains)), range(needed))
        decided += judge(drop(again, 3), investigate=2, fail=5) != "underpowered"
    assert decided >= 0.75 * 300  # 80 %, and two and a half standard errors of 300 draws


def test_how_many_equal_answers_are_enough() -> None:
    few = Changes.of(*changed(40, 0, 0), range(40))
    needed = needed_items(few, 1, investigate=2, fail=5)
    assert needed == math.ceil(math.log(0.0025) / math.log(0.93))  # that seven points would have shown
    assert judge(drop(few.over(needed), 1), investigate=2, fail=5) == "pass"
    assert judge(drop(few.over(needed - 1), 1), investigate=2, fail=5) == "underpowered"


def test_no_number_of_items_tells_a_drop_that_lies_on_both_limits() -> None:
    changes = Changes.of(*changed(100, 10, 5), range(100))
    assert needed_items(changes, 1, investigate=5, fail=5) is None
