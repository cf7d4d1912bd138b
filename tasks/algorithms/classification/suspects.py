"""Rows whose labels a simple model, trained on the other rows, confidently contradicts: confident learning.

Northcutt, Jiang and Chuang 2021, doi:10.1613/jair.1.12125, by cleanlab.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.multilabel_classification.filter import find_multilabel_issues_per_class
from numpy.typing import NDArray

from tasks.algorithms.classification.baselines import TextBaseline
from tasks.algorithms.classification.matrices import Indicator, Numbers, is_multi_label

_MOST_COEFFICIENTS = 600_000
"""Fewer than the baseline's, as it is fitted once a fold: pairs of words seen once or twice cost most of the time."""
_MOST_OF_A_LABEL = 0.5
"""Where more than this share of a label's rows is contradicted, the model has not learnt it, and proves nothing."""

_METHOD = "prune_by_class"
"""Of cleanlab's, the one that finds most planted errors; ranked by the probability of the label given, the first of its
finds are as often errors as those of the stricter ones."""
_LEAST = 1e-6
"""No label is held to be less likely than this: nor does one row outweigh all others."""


class Suspect(NamedTuple):
    """A row whose labels want a second look."""

    place: int
    """Of the row, from 0."""
    given: tuple[str, ...]
    suggested: tuple[str, ...]
    confidence: float
    """In the labels given, from 0 to 1: the lower, the more suspicious."""


def suspects(
    texts: Sequence[str],
    truth: Indicator,
    labels: Sequence[str],
    seed: int,
    folds: int = 5,
    *,
    multi_label: bool | None = None,
) -> list[Suspect]:
    """Suspicious rows, the most suspicious first; labels of fewer rows than `folds` are not judged."""
    several = is_multi_label(truth, multi_label)
    judged = np.flatnonzero(truth.sum(0) >= folds)
    if len(judged) < (1 if several else 2):
        return []
    told = _cross_validated(texts, truth, labels, np.random.default_rng(seed), folds, several)
    judged = _learnt(truth, told, judged, several)
    if not len(judged):
        return []
    suggested = _several(truth, told, judged) if several else _single(truth, told, judged)
    # The probability of what was given, where the suggestion differs: of the label, or of its absence.
    given = np.where(truth, told, 1 - told if several else 1.0)
    doubted = np.where(suggested != truth, given, 1.0).min(1)
    places = np.flatnonzero((suggested != truth).any(1))
    ordered = places[np.argsort(doubted[places], kind="stable")]
    return [
        Suspect(int(row), _names(truth[row], labels), _names(suggested[row], labels), float(doubted[row]))
        for row in ordered
    ]


def _cross_validated(
    texts: Sequence[str],
    truth: Indicator,
    labels: Sequence[str],
    random: np.random.Generator,
    folds: int,
    several: bool,
) -> Numbers:
    fold_of = _folds(truth, random, folds)
    told = np.zeros(truth.shape)
    for fold in range(folds):
        held, kept = np.flatnonzero(fold_of == fold).tolist(), np.flatnonzero(fold_of != fold).tolist()
        if held:
            simple = TextBaseline(labels, multi_label=several, most_coefficients=_MOST_COEFFICIENTS)
            baseline = simple.fit([texts[row] for row in kept], truth[kept])
            told[held] = baseline.probabilities([texts[row] for row in held])
    return told


def _folds(truth: Indicator, random: np.random.Generator, folds: int) -> NDArray[np.int64]:
    """Each row's fold: rows of one rarest label are dealt out in turn, so that no fold takes all of a label."""
    rarity = np.where(truth, truth.sum(0), len(truth) + 1)
    order = random.permutation(len(truth))
    dealt = order[np.argsort(rarity.argmin(1)[order], kind="stable")]
    found = np.empty(len(truth), np.int64)
    found[dealt] = np.arange(len(truth)) % folds
    return found


def _learnt(truth: Indicator, told: Numbers, judged: NDArray[np.int64], several: bool) -> NDArray[np.int64]:
    """The labels of which texts told more than the shares of the labels do; each alone only where there are several."""
    shares = np.broadcast_to(truth.mean(0), truth.shape)
    gained = _loss(truth, shares, several) - _loss(truth, told, several)
    if several:
        return np.asarray(judged[gained[:, judged].mean(0) > 0])
    return judged if gained.mean() > 0 else judged[:0]


def _loss(truth: Indicator, told: Numbers, several: bool) -> Numbers:
    """In nats by decision, so (rows, labels) for multi-label, or by row."""
    likely = np.where(truth, told, 1 - told) if several else told[truth]
    return np.asarray(-np.log(np.clip(likely, _LEAST, 1)))


def _single(truth: Indicator, told: Numbers, judged: NDArray[np.int64]) -> Indicator:
    """The truth, with another label where one is suggested."""
    suggested = truth.copy()
    rows = np.flatnonzero(truth[:, judged].any(1))
    likely = np.clip(told[np.ix_(rows, judged)], _LEAST, 1)
    likely /= likely.sum(1, keepdims=True)
    given, best = truth[np.ix_(rows, judged)].argmax(1), likely.argmax(1)
    flagged = np.asarray(find_label_issues(given, likely, filter_by=_METHOD, n_jobs=1), bool) & (best != given)
    shares = np.bincount(given, flagged, len(judged)) / np.bincount(given, minlength=len(judged))
    flagged &= shares[given] <= _MOST_OF_A_LABEL
    suggested[rows[flagged]] = False
    suggested[rows[flagged], judged[best[flagged]]] = True
    return suggested


def _several(truth: Indicator, told: Numbers, judged: NDArray[np.int64]) -> Indicator:
    """The truth, with labels added and taken away where that is suggested."""
    suggested, given = truth.copy(), truth[:, judged]
    lists = [np.flatnonzero(row).tolist() for row in given]
    flagged = np.asarray(find_multilabel_issues_per_class(lists, told[:, judged], filter_by=_METHOD, n_jobs=1), bool)
    flagged &= (told[:, judged] >= 0.5) != given
    unlearnt = (flagged & given).sum(0) > _MOST_OF_A_LABEL * given.sum(0)
    flagged[:, unlearnt] = False
    suggested[:, judged] ^= flagged
    return suggested


def _names(row: Indicator, labels: Sequence[str]) -> tuple[str, ...]:
    return tuple(label for label, borne in zip(labels, row, strict=True) if borne)
