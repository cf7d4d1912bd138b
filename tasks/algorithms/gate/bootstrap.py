"""A paired bootstrap interval: the same question as the standard error's, without a formula."""

from collections.abc import Hashable, Sequence

import numpy as np

from tasks.algorithms.gate.paired import cluster_codes

DRAWS = 2000
_SEED = 20240607
_AT_ONCE = 4_000_000
"""Most counts held in memory at a time."""


def bootstrap_interval(
    base: Sequence[float], tuned: Sequence[float], clusters: Sequence[Hashable], draws: int = DRAWS
) -> tuple[float, float]:
    """95 % interval of the change (tuned − base) in points; whole clusters are drawn, or items where there are none.

    A draw is how often each cluster comes up; clusters that changed alike are counted together, so that many thousands
    of right and wrong answers cost no more than a few.
    """
    codes = cluster_codes(clusters)
    if codes.max() == 0:
        codes = np.arange(len(codes))
    changes = 100 * (np.asarray(tuned, np.float64) - np.asarray(base, np.float64))
    drawn = np.stack([np.bincount(codes, changes), np.bincount(codes).astype(np.float64)], axis=1)
    alike, counts = np.unique(drawn, axis=0, return_counts=True)
    random = np.random.default_rng(_SEED)
    shares, count = counts / counts.sum(), int(counts.sum())
    means = []
    step = max(1, _AT_ONCE // len(alike))
    for start in range(0, draws, step):
        sums = random.multinomial(count, shares, min(step, draws - start)) @ alike
        means.append(sums[:, 0] / sums[:, 1])
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return float(low), float(high)
