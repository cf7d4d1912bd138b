"""How often the gate errs, in simulated evaluations: `python -m tests.algorithms.gate_simulation [RUNS]`.

Prints, for every case, how often a run of harmless benchmarks accuses one, and how often one that truly lost seven
points passes or fails. 4,000 runs a case take about half an hour.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from tasks.algorithms.gate.paired import Changes, Verdict, drop, judge

INVESTIGATE, FAIL, TRUE_DROP = 2.0, 5.0, 7.0


@dataclass(frozen=True)
class Case:
    """Benchmarks of one kind: answers that change, with as many losses as gains but for the true drop."""

    benchmarks: int
    items: int
    accuracy: float
    disagreement: float
    clusters: int = 0
    """Clusters whose own drops scatter around the true one, of unequal sizes; 0 for none."""

    def rates(self, true_drop: float) -> tuple[float, float]:
        """Share of all items lost and gained."""
        return (self.disagreement + true_drop / 100) / 2, (self.disagreement - true_drop / 100) / 2

    def possible(self, true_drop: float) -> bool:
        lost, gained = self.rates(true_drop)
        return 0 <= lost <= self.accuracy and 0 <= gained <= 1 - self.accuracy


GRID = [
    case
    for fields in product((1, 3, 5, 10), (20, 50, 100, 250, 1319), (0.3, 0.6, 0.9), (0.05, 0.147, 0.3))
    if (case := Case(*fields)).possible(0)
]
CLUSTERED = [
    Case(benchmarks, items, 0.6, disagreement, clusters)
    for benchmarks, items, disagreement in product((1, 3, 5, 10), (20, 50, 100, 250, 1319), (0.05, 0.147, 0.3))
    for clusters in sorted({5, max(10, items // 10)})
]


def verdicts(case: Case, true_drop: float, count: int, seed: int = 20240607) -> list[Verdict]:
    """Verdicts on `count` benchmarks of one case."""
    random = np.random.default_rng([seed, *map(ord, repr((case, true_drop)))])
    sample = _clustered if case.clusters else _independent
    return list(sample(case, true_drop, count, random))


def accused(case: Case, runs: int) -> float:
    """Share of harmless runs in which a benchmark is accused."""
    found = verdicts(case, 0, runs * case.benchmarks)
    wrong = np.array([each in ("fail", "investigate") for each in found])
    return float(wrong.reshape(runs, case.benchmarks).any(1).mean())


def _independent(case: Case, true_drop: float, count: int, random: np.random.Generator) -> Iterator[Verdict]:
    lost, gained = case.rates(true_drop)
    for losses, gains, _ in random.multinomial(case.items, [lost, gained, 1 - lost - gained], count):
        yield _counted(case.items, case.benchmarks, int(losses), int(gains))


@cache
def _counted(items: int, benchmarks: int, losses: int, gains: int) -> Verdict:
    changes = np.zeros(items)
    changes[:losses], changes[losses : losses + gains] = 1, -1
    return _judged(changes, np.arange(items), benchmarks)


def _clustered(case: Case, true_drop: float, count: int, random: np.random.Generator) -> Iterator[Verdict]:
    lost, gained = case.rates(true_drop)
    shares = np.arange(1, case.clusters + 1) / (case.clusters * (case.clusters + 1) / 2)
    for _ in range(count):
        clusters = random.choice(case.clusters, case.items, p=shares)
        leaning = random.uniform(-0.7, 0.7, case.clusters)[clusters]
        chance = random.random(case.items)
        losses, gains = lost * (1 + leaning), gained * (1 - leaning)
        changes = (chance < losses).astype(float) - ((chance >= losses) & (chance < losses + gains))
        yield _judged(changes, clusters, case.benchmarks)


def _judged(changes: NDArray[np.float64], clusters: NDArray[np.int64], benchmarks: int) -> Verdict:
    found = drop(
        Changes.of(np.maximum(changes, 0).tolist(), np.maximum(-changes, 0).tolist(), clusters.tolist()), benchmarks
    )
    return judge(found, investigate=INVESTIGATE, fail=FAIL)


def main(runs: int) -> None:
    print("benchmarks items accuracy changed clusters | accused when harmless | 7 points down: passed, failed")
    for case in [*GRID, *CLUSTERED]:
        line = f"{case.benchmarks:10} {case.items:5} {case.accuracy:8} {case.disagreement:7} {case.clusters:8} | "
        line += f"{accused(case, runs):21.2%} | "
        if case.possible(TRUE_DROP):
            found = verdicts(case, TRUE_DROP, runs)
            line += f"{found.count('pass') / runs:22.2%}, {found.count('fail') / runs:6.2%}"
        print(line, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 4000)
