"""How good a classifier is on rows whose labels are known, by the measures that the report has, too."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.algorithms.classification.calibration import calibrated
from tasks.algorithms.classification.scores import scores
from tasks.trainer.classifier.rows import Truth


class Measured(NamedTuple):
    """What is measured on the validation rows."""

    heldout_loss: float
    """Mean cross-entropy, without weights or smoothing."""
    macro_f1: float
    """Mean F1 of the labels that occur in the rows or in the predictions."""
    accuracy: float
    """Share of rows of which every label is right."""


def measure(logits: npt.NDArray[np.float32], truth: Truth, *, multi_label: bool) -> Measured:
    """Scores of a model's outputs as they are, at temperature 1."""
    found = scores(truth, calibrated(logits.astype(np.float64), 1.0, multi_label), multi_label=multi_label)
    return Measured(found.log_loss, found.macro_f1, found.accuracy)
