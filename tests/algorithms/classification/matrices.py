"""Random truths, and models that are right more or less often."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Indicator = NDArray[np.bool_]


def one_hot(places: Sequence[int] | NDArray[np.int64], labels: int) -> Indicator:
    """The indicator matrix of one label a row."""
    return np.eye(labels, dtype=np.bool_)[np.asarray(places, np.int64)]


def guesses(random: np.random.Generator, truth: NDArray[np.int64], labels: int, accuracy: float) -> NDArray[np.int64]:
    """The right label with about this probability, else any."""
    return np.where(random.random(len(truth)) < accuracy, truth, random.integers(0, labels, len(truth)))
