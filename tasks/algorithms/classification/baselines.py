"""What a model must beat to be worth its cost: the commonest label, words counted, and a backbone left as it is."""

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import StandardScaler

from tasks.algorithms.classification.matrices import Indicator, Numbers, is_multi_label
from tasks.algorithms.classification.regression import LabelRegression, shares
from tasks.conversation import words

_TEXT_STRENGTH = 10.0
"""A row of TF-IDF has length 1: scikit-learn's 1.0 leaves small sets underfitted, and the baseline too easy to beat."""
_PROBE_STRENGTH = 0.1
"""Standardised features are many and large: with 1.0 the probe learns small sets by heart."""
_MOST_FEATURES = 100_000
MOST_COEFFICIENTS = 5_000_000
"""Of all labels together: what costs time and memory. The commonest words and pairs of words stay."""
_FEWEST_FEATURES = 5_000


def majority(truth_train: Indicator, rows: int) -> Numbers:
    """Probabilities (rows, labels) of a model that knows the shares of the labels and reads nothing."""
    return np.tile(shares(truth_train), (rows, 1))


class TextBaseline:
    """TF-IDF of words and pairs of words, and logistic regression; the text of a pair comes joined."""

    def __init__(
        self, labels: Sequence[str], *, multi_label: bool | None = None, most_coefficients: int = MOST_COEFFICIENTS
    ) -> None:
        """`multi_label` is read off the truth where it is not told; `most_coefficients` are those of all labels."""
        self._labels = labels
        self._multi_label = multi_label
        most = min(_MOST_FEATURES, max(_FEWEST_FEATURES, most_coefficients // max(1, len(labels))))
        # Not scikit-learn's words, which leave out single letters and take a Chinese sentence for one word.
        self._words = TfidfVectorizer(
            sublinear_tf=True,
            ngram_range=(1, 2),
            max_features=most,
            lowercase=False,
            tokenizer=words,
            token_pattern=None,
        )
        self._regression: LabelRegression | None = None
        self._shares = np.empty(0)

    def fit(self, texts: Sequence[str], truth: Indicator) -> Self:
        """From texts and their labels; where no text holds a word, the shares of the labels are all there is to know.

        Raises `ValueError` where texts, truth and labels are not of the same number.
        """
        if truth.shape != (len(texts), len(self._labels)):
            raise ValueError(f"{len(texts)} texts and {len(self._labels)} labels, but a truth of shape {truth.shape}")
        self._shares, self._regression = shares(truth), None
        if any(map(words, texts)):
            regression = LabelRegression(_TEXT_STRENGTH, multi_label=is_multi_label(truth, self._multi_label))
            self._regression = regression.fit(self._words.fit_transform(texts), truth)
        return self

    def probabilities(self, texts: Sequence[str]) -> Numbers:
        """Probabilities (rows, labels) of texts."""
        if self._regression is None or not len(texts):
            return np.tile(self._shares, (len(texts), 1))
        return self._regression.probabilities(self._words.transform(texts))


def linear_probe(
    features_train: NDArray[np.floating],
    truth_train: Indicator,
    features: NDArray[np.floating],
    *,
    multi_label: bool | None = None,
) -> Numbers:
    """Probabilities (rows, labels) by logistic regression on standardised features of a backbone that is not tuned."""
    scale = StandardScaler().fit(np.asarray(features_train, np.float64))
    regression = LabelRegression(_PROBE_STRENGTH, multi_label=is_multi_label(truth_train, multi_label))
    regression.fit(scale.transform(np.asarray(features_train, np.float64)), truth_train)
    if not len(features):
        return np.empty((0, truth_train.shape[1]))
    return regression.probabilities(scale.transform(np.asarray(features, np.float64)))
