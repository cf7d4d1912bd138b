"""Whether probabilities mean what they say, and the one number that mends them.

Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv 1706.04599.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, softmax

from tasks.algorithms.classification.matrices import Indicator, Numbers, is_multi_label, require_alike

_BOUNDS = math.log(0.05), math.log(20)
_WORTH_IT = 1e-7
"""Nats by which a temperature must lower the loss to be one."""


class Bin(NamedTuple):
    """Decisions of about one confidence; all from 0 to 1."""

    low: float
    high: float
    rows: int
    """Decisions: one a row, or for multi-label one for each of its labels."""
    confidence: float
    accuracy: float


def temperature(logits: Numbers, truth: Indicator, multi_label: bool) -> float:
    """What to divide logits by for the lowest loss on these rows, from 0.05 to 20; 1.0 where they do not tell.

    They do not where all decisions are right: the surer, the better then, without an end.
    """
    if not truth.size or not np.isfinite(logits).all():
        return 1.0
    logits = np.asarray(logits, np.float64)
    right = (logits > 0) == truth if multi_label else logits.argmax(1) == truth.argmax(1)
    if right.all():
        return 1.0
    found = minimize_scalar(lambda each: _loss(logits / math.exp(each), truth, multi_label), bounds=_BOUNDS)
    if not found.fun < _loss(logits, truth, multi_label) - _WORTH_IT:
        return 1.0
    return math.exp(float(found.x))


def calibrated(logits: Numbers, t: float, multi_label: bool) -> Numbers:
    """Probabilities of logits at a temperature: softmax over the labels, or each label's own for multi-label."""
    if not t > 0:
        raise ValueError(f"temperature is {t:g}; it must be above 0")
    if not np.isfinite(logits).all():
        raise ValueError("a logit is not a finite number; the weights are broken")
    scaled = np.asarray(logits, np.float64) / t
    return np.asarray(expit(scaled) if multi_label else softmax(scaled, axis=1), np.float64)


def ece(probabilities: Numbers, truth: Indicator, bins: int = 15, *, multi_label: bool | None = None) -> float:
    """Expected calibration error, from 0 to 1: how far confidence and accuracy lie apart, over equally wide bins."""
    found = reliability(probabilities, truth, bins, multi_label=multi_label)
    apart = sum(each.rows * abs(each.confidence - each.accuracy) for each in found)
    return apart / sum(each.rows for each in found)


def reliability(
    probabilities: Numbers, truth: Indicator, bins: int = 10, *, multi_label: bool | None = None
) -> list[Bin]:
    """Confidence and accuracy by bins of equal width, from the lowest; bins without a decision are left out."""
    require_alike(truth, probabilities)
    if is_multi_label(truth, multi_label):
        decided = probabilities >= 0.5
        sure = np.where(decided, probabilities, 1 - probabilities).ravel()
        right = (decided == truth).ravel()
    else:
        sure, right = probabilities.max(1), probabilities.argmax(1) == truth.argmax(1)
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, sure, side="left") - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    sums, rights = np.bincount(place, sure, bins), np.bincount(place, right, bins)
    return [
        Bin(float(edges[at]), float(edges[at + 1]), int(count), float(sums[at] / count), float(rights[at] / count))
        for at, count in enumerate(counts)
        if count
    ]


def _loss(logits: Numbers, truth: Indicator, multi_label: bool) -> float:
    """Mean negative log-likelihood, in nats a decision."""
    if multi_label:
        return float(np.logaddexp(0, np.where(truth, -logits, logits)).mean())
    return -float(log_softmax(logits, axis=1)[truth].mean())
