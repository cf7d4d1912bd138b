"""How often the gate errs, over simulated evaluations; `gate_simulation` runs more of them on a wider grid."""

import numpy as np
import pytest

from tasks.algorithms.gate.paired import Changes, drop, judge
from tests.algorithms.gate_simulation import Case, accused, verdicts

RUNS = 500
SLACK = 0.027
"""Two and a half standard errors of a rate of 6 % over so many runs."""


@pytest.mark.parametrize(
    ("benchmarks", "items", "disagreement"),
    [(1, 20, 0.3), (10, 20, 0.3), (1, 50, 0.05), (3, 50, 0.3), (10, 100, 0.147), (5, 250, 0.147), (1, 1319, 0.05)],
)
def test_harmless_models_are_seldom_accused(benchmarks: int, items: int, disagreement: float) -> None:
    assert accused(Case(benchmarks, items, 0.6, disagreement), RUNS) <= 0.06 + SLACK


@pytest.mark.parametrize(("items", "clusters"), [(50, 5), (100, 10), (250, 25)])
def test_nor_where_subjects_drift_apart(items: int, clusters: int) -> None:
    assert accused(Case(1, items, 0.6, 0.3, clusters), RUNS) <= 0.06 + SLACK


@pytest.mark.parametrize("benchmarks", [1, 5])
@pytest.mark.parametrize(("items", "disagreement"), [(20, 0.147), (50, 0.08), (100, 0.3), (250, 0.147)])
def test_a_drop_of_seven_points_hardly_ever_passes(benchmarks: int, items: int, disagreement: float) -> None:
    found = verdicts(Case(benchmarks, items, 0.6, disagreement), 7, 4000)
    assert found.count("pass") / len(found) < 0.005


@pytest.mark.parametrize(("items", "runs", "power"), [(250, 2000, 0.69), (1319, 500, 0.95)])
def test_a_drop_of_seven_points_is_caught(items: int, runs: int, power: float) -> None:
    found = verdicts(Case(5, items, 0.6, 0.147), 7, runs)
    assert found.count("fail") / len(found) > power


def test_most_harmless_models_pass_where_there_are_items_enough() -> None:
    found = verdicts(Case(5, 1319, 0.6, 0.147), 0, 300)
    assert found.count("pass") > 0.96 * len(found)


@pytest.mark.parametrize("items", [20, 100])
def test_fractional_scores_are_judged_no_worse(items: int) -> None:
    random = np.random.default_rng(5)
    found = []
    for true_drop in (0.0, 0.07):
        for _ in range(RUNS):
            # Many answers shift a little, some a lot, as probabilities of the right answers do.
            much, little = random.uniform(-1, 1, items), random.normal(0, 0.02, items)
            lost = np.where(random.random(items) < 0.2, much, little) + true_drop
            before, after = np.maximum(lost, 0).tolist(), np.maximum(-lost, 0).tolist()
            found.append(judge(drop(Changes.of(before, after, range(items)), 1), investigate=2, fail=5))
    harmless, grave = found[:RUNS], found[RUNS:]
    assert sum(each in ("fail", "investigate") for each in harmless) <= (0.06 + SLACK) * RUNS
    assert grave.count("pass") < 0.005 * RUNS
