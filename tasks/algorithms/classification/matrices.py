"""The matrices that all measures of a classifier read: one row a text, one column a label."""

import numpy as np
from numpy.typing import NDArray

Indicator = NDArray[np.bool_]
"""True where a row bears a label, or was given it: (rows, labels)."""
Numbers = NDArray[np.float64]


def is_multi_label(truth: Indicator, told: bool | None = None) -> bool:
    """Whether rows may bear any number of labels: as told, else whether a row of the truth does not bear exactly one.

    Tell it where it is known: a small split of a multi-label set may hold rows of one label alone.
    """
    return bool((truth.sum(1) != 1).any()) if told is None else told


def require_alike(truth: Indicator, *others: Indicator | Numbers) -> None:
    """Raises `ValueError` where matrices are not of the same rows and labels, have none, or hold no numbers."""
    for each in (truth, *others):
        if each.ndim != 2 or each.shape != truth.shape or not each.size:
            raise ValueError(
                f"matrices of shapes {[each.shape for each in (truth, *others)]}; they must be of the same rows and "
                "labels, and of at least one of both"
            )
        if each.dtype.kind == "f" and not np.isfinite(each).all():
            raise ValueError("a probability or logit is not a finite number; the weights are broken")
