"""What a classifier's errors cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch.nn import functional

from tasks.trainer.classifier.rows import Truth

MOST = 100.0
"""Highest weight that `balanced` gives: a label with one row in a million should not drown all others."""

Weights = Literal["balanced"] | Mapping[str, float] | None


def class_weights(weights: Weights, truth: Truth, labels: Sequence[str], *, multi_label: bool) -> list[float] | None:
    """The weight of each label by what the recipe says and the rows hold; none where all count alike.

    Single label: rows / (labels that occur * rows of this one). Several labels: what having this one weighs against
    not having it, rows without / rows with.
    """
    if weights is None:
        return None
    if weights != "balanced":
        return [float(dict(weights).get(label, 1.0)) for label in labels]
    counts = truth.sum(axis=0)
    occurring = np.maximum(counts, 1)
    found = (len(truth) - counts) / occurring if multi_label else len(truth) / (np.count_nonzero(counts) * occurring)
    return [float(weight) if count else 1.0 for weight, count in zip(np.minimum(found, MOST), counts, strict=True)]


@dataclass(frozen=True)
class Objective:
    """The loss that training lowers: cross-entropy, over labels or of each label by itself."""

    multi_label: bool
    weights: torch.Tensor | None = None
    smoothing: float = 0.0

    def total(self, logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """Summed over rows; divide it by the `size` of all rows of the step."""
        scores = logits.float()
        if self.multi_label:
            soft = truth.float() * (1 - self.smoothing) + self.smoothing / 2
            return functional.binary_cross_entropy_with_logits(scores, soft, pos_weight=self.weights, reduction="sum")
        places = truth.int().argmax(dim=1)
        return functional.cross_entropy(
            scores, places, weight=self.weights, label_smoothing=self.smoothing, reduction="sum"
        )

    def size(self, truth: torch.Tensor) -> float:
        """What `total` is divided by: the rows, each as its label weighs; with several labels, all decisions."""
        if self.multi_label:
            return float(truth.numel())
        return float(len(truth) if self.weights is None else (truth * self.weights.to(truth.device)).sum())
