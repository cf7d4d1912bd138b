"""Logistic regression by Newton's method, for many weighted samples of one design at once."""

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

RIDGE = 0.01
"""Keeps coefficients finite where every contest went alike; far below what any prompt tells."""
_STEPS = 60
_SMALLEST_STEP = 1e-7
_LARGEST_STEP = 2.0
_FURTHEST = 30.0
"""Beyond this, a logit says no more than certainty, and its exponential nears the end of the numbers."""


def fit(design: Numbers, outcomes: Numbers, weights: Numbers, ridge: float = RIDGE) -> Numbers:
    """Coefficients (samples, features) for outcomes from 0 to 1, by maximum likelihood with a ridge.

    `design` is (rows, features), `outcomes` (rows) and `weights` (samples, rows): how often each sample drew each row.
    Fractions are outcomes, too (a tie is one half): the quasi-likelihood has the same maximum.
    """
    samples, features = len(weights), design.shape[1]
    coefficients = np.zeros((samples, features))
    products = (design[:, :, None] * design[:, None, :]).reshape(len(design), -1)
    penalty = ridge * np.eye(features)
    for _ in range(_STEPS):
        chances = sigmoid(coefficients @ design.T)
        slope = (weights * (outcomes - chances)) @ design - ridge * coefficients
        curve = ((weights * chances * (1 - chances)) @ products).reshape(samples, features, features) + penalty
        # Newton's steps are cut short: far from the maximum they can overshoot it, and each other, for ever.
        step = np.clip(np.linalg.solve(curve, slope[..., None])[..., 0], -_LARGEST_STEP, _LARGEST_STEP)
        coefficients += step
        if np.abs(step).max() < _SMALLEST_STEP:
            break
    return coefficients


def sigmoid(logits: Numbers) -> Numbers:
    """1 / (1 + e^−x), for any x."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -_FURTHEST, _FURTHEST))))


def resampled(units: int, samples: int, generator: np.random.Generator) -> Numbers:
    """How often each of `samples` bootstrap samples drew each unit: (samples, units)."""
    return generator.multinomial(units, np.full(units, 1 / units), size=samples).astype(np.float64)
