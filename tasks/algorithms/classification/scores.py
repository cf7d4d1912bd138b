"""How right a classifier is: over all rows, and label by label."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.algorithms.classification.calibration import ece
from tasks.algorithms.classification.matrices import Indicator, Numbers, is_multi_label, require_alike
from tasks.algorithms.gate.distributions import wilson


class Scores(NamedTuple):
    """A classifier's scores over all rows; all but the loss from 0 to 1."""

    accuracy: float
    """The share of rows with exactly the right labels."""
    macro_f1: float
    """The mean over labels that stand in the truth or in the decisions, each counting alike."""
    weighted_f1: float
    """The mean over labels, each counting by its rows."""
    micro_f1: float
    """Over all decisions; the accuracy where each row bears one label."""
    log_loss: float
    """In nats a row, or for multi-label a decision."""
    ece: float
    """Expected calibration error."""


class LabelScores(NamedTuple):
    """A classifier's scores on one label, from 0 to 1."""

    label: str
    rows: int
    """Rows that bear it."""
    predicted: int
    """Rows that were given it."""
    precision: float
    """0 where no row was given the label."""
    recall: float
    """0 where no row bears the label; its interval is then from 0 to 1."""
    f1: float
    recall_low: float
    recall_high: float
    """Ends of Wilson's 95 % interval."""


class F1(NamedTuple):
    """The three means of F1, each of the shape of its counts without the labels."""

    macro: Numbers
    weighted: Numbers
    micro: Numbers


def decide(probabilities: Numbers, multi_label: bool) -> Indicator:
    """The labels given: the likeliest (the first of equals), or for multi-label all from 0.5."""
    if not np.isfinite(probabilities).all():
        raise ValueError("a probability is not a finite number; the weights are broken")
    if multi_label:
        return np.asarray(probabilities >= 0.5)
    decided = np.zeros(probabilities.shape, np.bool_)
    decided[np.arange(len(probabilities)), probabilities.argmax(1)] = True
    return decided


def scores(truth: Indicator, probabilities: Numbers, *, multi_label: bool | None = None) -> Scores:
    """Scores of probabilities and of the decisions that they lead to."""
    require_alike(truth, probabilities)
    several = is_multi_label(truth, multi_label)
    decided = decide(probabilities, several)
    means = f1(*label_counts(truth, decided))
    return Scores(
        accuracy=float(right(truth, decided).mean()),
        macro_f1=float(means.macro),
        weighted_f1=float(means.weighted),
        micro_f1=float(means.micro),
        log_loss=_log_loss(truth, probabilities, several),
        ece=ece(probabilities, truth, multi_label=several),
    )


def per_label(
    truth: Indicator, probabilities: Numbers, labels: Sequence[str], *, multi_label: bool | None = None
) -> list[LabelScores]:
    """Scores of each label, in the order of the labels."""
    require_alike(truth, probabilities)
    decided = decide(probabilities, is_multi_label(truth, multi_label))
    hits, borne, given = (each.astype(int).tolist() for each in label_counts(truth, decided))
    return [_of_label(*each) for each in zip(labels, hits, borne, given, strict=True)]


def confusion(truth: Indicator, predicted: Indicator) -> NDArray[np.int64]:
    """How many rows of each label (rows) were given each label (columns); each row must bear one and be given one."""
    require_alike(truth, predicted)
    if is_multi_label(truth) or is_multi_label(predicted):
        raise ValueError("a row has no label, or several; a confusion matrix needs exactly one of each row")
    return truth.T.astype(np.int64) @ predicted.astype(np.int64)


def right(truth: Indicator, decided: Indicator) -> Indicator:
    """Whether each row was given exactly its labels."""
    return np.asarray((truth == decided).all(1))


def label_counts(truth: Indicator, decided: Indicator) -> tuple[Numbers, Numbers, Numbers]:
    """Of each label: rows that bear it and were given it, rows that bear it, rows that were given it."""
    hits, borne, given = ((truth & decided).sum(0), truth.sum(0), decided.sum(0))
    return hits.astype(np.float64), borne.astype(np.float64), given.astype(np.float64)


def f1(hits: Numbers, borne: Numbers, given: Numbers) -> F1:
    """F1 over counts (…, labels): 0 where nothing is hit, and no part of the mean for labels that stand nowhere.

    That is scikit-learn's, for one sample of rows as for a thousand of them at once.
    """
    both = borne + given
    each = 2 * hits / np.maximum(both, 1)
    macro = each.sum(-1) / np.maximum((both > 0).sum(-1), 1)
    weighted = (each * borne).sum(-1) / np.maximum(borne.sum(-1), 1)
    micro = 2 * hits.sum(-1) / np.maximum(both.sum(-1), 1)
    return F1(np.asarray(macro), np.asarray(weighted), np.asarray(micro))


def _of_label(label: str, hits: int, borne: int, given: int) -> LabelScores:
    low, high = wilson(hits, borne, 0.025) if borne else (0.0, 1.0)
    return LabelScores(
        label=label,
        rows=borne,
        predicted=given,
        precision=hits / max(given, 1),
        recall=hits / max(borne, 1),
        f1=2 * hits / max(borne + given, 1),
        recall_low=low,
        recall_high=high,
    )


def _log_loss(truth: Indicator, probabilities: Numbers, several: bool) -> float:
    # Not scikit-learn's, which refuses a single label and warns of sums that single precision left a little off 1.
    floor = np.finfo(np.float64).eps
    likely = np.where(truth, probabilities, 1 - probabilities) if several else probabilities[truth]
    return -float(np.log(np.clip(likely, floor, 1)).mean())
