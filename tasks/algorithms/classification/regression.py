"""Logistic regression that copes with what training sets are like: labels without rows, and one label alone."""

import warnings
from typing import Any, Self

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from tasks.algorithms.classification.matrices import Indicator, Numbers

_MAX_STEPS = 500


class LabelRegression:
    """Probabilities of labels by scikit-learn: softmax over all labels, or one regression a label for multi-label."""

    def __init__(self, strength: float, *, multi_label: bool) -> None:
        """`strength` is the inverse of the ridge (scikit-learn's C)."""
        self._strength = strength
        self._multi_label = multi_label
        self._shares = np.empty(0)
        self._fitted: dict[int, Any] = {}
        self._present = np.empty(0, np.int64)

    def fit(self, features: Any, truth: Indicator) -> Self:
        """From features (rows, features), dense or sparse; constant where the rows leave nothing to tell apart."""
        self._shares = shares(truth)
        self._fitted = {}
        if self._multi_label:
            for place in np.flatnonzero((self._shares > 0) & (self._shares < 1)):
                self._fitted[int(place)] = self._regression(features, truth[:, place])
            return self
        self._present = np.flatnonzero(self._shares)
        if len(self._present) > 1:
            self._fitted[0] = self._regression(features, truth.argmax(1))
        return self

    def probabilities(self, features: Any) -> Numbers:
        """Probabilities (rows, labels) for features of the same columns."""
        found = np.tile(self._shares, (features.shape[0], 1))
        if not features.shape[0]:
            return found
        if self._multi_label:
            for place, regression in self._fitted.items():
                found[:, place] = regression.predict_proba(features)[:, 1]
        elif self._fitted:
            found[:, self._present] = self._fitted[0].predict_proba(features)
        return found

    def _regression(self, features: Any, classes: Any) -> Any:
        regression = LogisticRegression(C=self._strength, max_iter=_MAX_STEPS)
        # Threads gain nothing on so small products; where others compute, too, they wait for each other.
        with warnings.catch_warnings(), threadpool_limits(1):
            # A fit that is cut short is as good a baseline as one that crept on.
            warnings.simplefilter("ignore", ConvergenceWarning)
            return regression.fit(features, classes)


def shares(truth: Indicator) -> Numbers:
    """The share of rows that bear each label."""
    if not truth.size:
        raise ValueError(f"a truth of shape {truth.shape} to fit on; give at least one row and one label")
    return np.asarray(truth.mean(0), np.float64)
