"""The win rate that answers of equal length would have (Dubois et al., length-controlled AlpacaEval, 2404.04475).

P(win) = σ(θ + φ·tanh(Δ / σ_Δ)), where Δ is how much longer the tuned answer is; the rate is read off at Δ = 0.
"""

from collections.abc import Sequence

import numpy as np

from tasks.algorithms.judgement.logistic import Numbers, fit, resampled, sigmoid
from tasks.algorithms.judgement.win_rate import Rate

RESAMPLES = 1000
FEWEST_PROMPTS = 10
"""Two coefficients from fewer prompts would be fiction."""


def length_controlled(
    scores: Sequence[float] | Numbers,
    longer_by: Sequence[float] | Numbers,
    seed: int,
    *,
    alpha: float = 0.05,
    resamples: int = RESAMPLES,
) -> Rate | None:
    """The win rate at equal length, with a percentile interval over resampled prompts.

    One score (0 to 1) and one difference in characters a prompt. None with fewer than ten prompts.
    """
    outcomes, differences = np.asarray(scores, dtype=np.float64), np.asarray(longer_by, dtype=np.float64)
    count = len(outcomes)
    if count < FEWEST_PROMPTS:
        return None
    spread = float(differences.std())
    steepness = np.tanh(differences / spread) if spread else np.zeros(count)
    design = np.column_stack([np.ones(count), steepness])
    drawn = resampled(count, resamples, np.random.default_rng(seed))
    found = sigmoid(fit(design, outcomes, np.vstack([np.ones(count), drawn]))[:, 0])
    low, high = np.quantile(found[1:], [alpha / 2, 1 - alpha / 2])
    return Rate(float(found[0]), float(low), float(high), count, float(high - low) / 2)
