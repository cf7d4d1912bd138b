"""Means and agreement of ratings against published and closed-form values."""

import math

import pytest

from tasks.algorithms.agreement import krippendorff_alpha, mean_interval


def test_the_interval_of_a_mean_is_students() -> None:
    # t(4) = 2.776; the standard error of 1 … 5 is √(2.5 / 5).
    found = mean_interval([1, 2, 3, 4, 5])
    assert found.mean == 3
    assert found.low == pytest.approx(3 - 2.776 * math.sqrt(0.5))
    assert found.high == pytest.approx(3 + 2.776 * math.sqrt(0.5))


@pytest.mark.parametrize(("freedom", "t"), [(11, 2.201), (20, 2.086), (60, 2.000), (1000, 1.962)])
def test_above_ten_degrees_the_quantile_is_expanded(freedom: int, t: float) -> None:
    values = [float(value % 2) for value in range(freedom + 1)]
    found = mean_interval(values)
    variance = sum((value - found.mean) ** 2 for value in values) / freedom
    assert found.high is not None
    assert (found.high - found.mean) / math.sqrt(variance / (freedom + 1)) == pytest.approx(t, abs=0.003)


def test_one_value_has_no_interval() -> None:
    assert mean_interval([4.0]) == (4.0, None, None)


def test_alpha_of_krippendorffs_example() -> None:
    """Interval metric, twelve units and four observers: 0.849 (Computing Krippendorff's Alpha-Reliability, 2011)."""
    observers = (
        (1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None),
        (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3),
        (None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None),
        (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None),
    )
    units = [[value for value in column if value is not None] for column in zip(*observers, strict=True)]
    assert krippendorff_alpha(units) == pytest.approx(0.849, abs=5e-4)


def test_alpha_is_one_for_agreement_and_below_zero_for_the_contrary() -> None:
    assert krippendorff_alpha([(1, 1), (5, 5), (3, 3)]) == 1
    found = krippendorff_alpha([(1, 5), (5, 1)])
    assert found is not None
    assert found < 0


@pytest.mark.parametrize("units", [[], [(3,), (4,)], [(3, 3), (3, 3)]])
def test_alpha_is_unknown_without_two_raters_or_any_difference(units: list[tuple[int, ...]]) -> None:
    assert krippendorff_alpha(units) is None
