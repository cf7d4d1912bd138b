import pytest

from tasks.trainer.schedule import evaluation_steps, learning_rate_factor


@pytest.mark.parametrize("scheduler", ["cosine", "linear", "constant"])
@pytest.mark.parametrize("total", [1, 2, 30, 100])
def test_every_step_learns_and_the_peak_is_the_asked_rate(scheduler: str, total: int) -> None:
    factor = learning_rate_factor(scheduler, 0.1, total)
    shares = [factor(step) for step in range(total)]
    assert all(0 < share <= 1 for share in shares)
    assert max(shares) == 1.0
    peak = shares.index(1.0)
    assert shares[:peak] == sorted(shares[:peak])
    assert shares[peak:] == sorted(shares[peak:], reverse=True)
    if scheduler == "constant":
        assert set(shares[peak:]) == {1.0}
    elif total == 100:
        assert shares[55] == pytest.approx(0.5)  # half way between the end of the warm-up (step 10) and the end
        assert shares[-1] < 0.02


@pytest.mark.parametrize(
    ("total", "evaluations", "steps"),
    [(100, 4, {25, 50, 75, 100}), (10, 3, {4, 7, 10}), (2, 5, {1, 2}), (7, 1, {7}), (7, 0, set())],
)
def test_evaluations_are_evenly_spread_and_end_with_the_last_step(
    total: int, evaluations: int, steps: set[int]
) -> None:
    assert evaluation_steps(total, evaluations) == steps
