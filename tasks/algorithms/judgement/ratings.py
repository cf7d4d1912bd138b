"""Ratings of three models or more from their pairwise contests: Bradley and Terry's model on Elo's scale."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.algorithms.judgement.logistic import fit, resampled

RESAMPLES = 500
BASE_RATING = 1000.0
POINTS_PER_LOGIT = 400 / math.log(10)
"""Four hundred points more: ten times the odds."""


@dataclass(frozen=True)
class Contest:
    """What `right` won against `left` on a prompt, from 0 to 1."""

    prompt: Hashable
    left: str
    right: str
    score: float


@dataclass(frozen=True)
class Rating:
    """A model's strength; the first model is 1000 by definition."""

    model: str
    elo: float
    low: float
    high: float
    contests: int


def bradley_terry(
    contests: Sequence[Contest], models: Sequence[str], seed: int, *, alpha: float = 0.05
) -> list[Rating]:
    """The models' ratings relative to the first one's, with percentile intervals over resampled prompts.

    Unlike running Elo updates, the result does not depend on the order of the contests. A tie is half a win.
    """
    places = {model: place for place, model in enumerate(models)}
    prompts = {prompt: place for place, prompt in enumerate(dict.fromkeys(each.prompt for each in contests))}
    design = np.zeros((len(contests), len(models)))
    for row, contest in enumerate(contests):
        design[row, places[contest.right]] += 1
        design[row, places[contest.left]] -= 1
    drawn = resampled(len(prompts), RESAMPLES, np.random.default_rng(seed))
    weights = np.vstack([np.ones(len(contests)), drawn[:, [prompts[each.prompt] for each in contests]]])
    outcomes = np.array([each.score for each in contests], dtype=np.float64)
    strengths = fit(design[:, 1:], outcomes, weights)
    elo = BASE_RATING + POINTS_PER_LOGIT * np.column_stack([np.zeros(len(strengths)), strengths])
    low, high = np.quantile(elo[1:], [alpha / 2, 1 - alpha / 2], axis=0)
    counts = np.abs(design).sum(axis=0)
    return [
        Rating(model, float(elo[0][place]), float(low[place]), float(high[place]), int(counts[place]))
        for model, place in places.items()
    ]
