"""Numbers, times and shares read the same everywhere."""

import pytest

from tasks.reporting import wording


@pytest.mark.parametrize(
    ("given", "text"),
    [(1234567, "1,234,567"), (0.25, "0.25"), (2e-4, "0.0002"), (2e-5, "2e-5"), (-1200.5, "-1,200.5"), (0.0, "0")],
)
def test_number(given: float, text: str) -> None:
    assert wording.number(given) == text


@pytest.mark.parametrize(
    ("given", "text"), [(None, "–"), (True, "yes"), (False, "no"), (3, "3"), (0.5, "0.5"), ("bf16", "bf16")]
)
def test_value(given: object, text: str) -> None:
    assert wording.value(given) == text


@pytest.mark.parametrize(
    ("amount", "unit", "text"),
    [(2.14, "%", "+2.1"), (-0.034, "nats", "−0.034"), (-0.04, "%", "0.0"), (0, "", "0.00"), (-1234.5, "", "−1,234.50")],
)
def test_change(amount: float, unit: str, text: str) -> None:
    assert wording.change(amount, unit) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0.0%"), (0.0001, "<0.1%"), (0.3498, "35.0%"), (0.9999, ">99.9%"), (1, "100.0%")],
)
def test_percentage(share: float, text: str) -> None:
    assert wording.percentage(share) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.44, "0.4 s"),
        (9.96, "10 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (3599.7, "1 h"),
        (4320, "1 h 12 min"),
        (90 * 3600, "90 h"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert wording.duration(seconds) == text
