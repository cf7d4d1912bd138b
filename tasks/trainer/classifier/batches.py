"""Rows as a model takes them, padded to the longest of their batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from tasks.trainer.classifier.rows import Numbers, Rows


@dataclass(frozen=True)
class Masking:
    """Which tokens may be masked in training, and what stands in their place."""

    share: float
    mask_id: int
    spared: frozenset[int]
    """Special tokens, which stay."""

    def applied(self, ids: torch.Tensor, seed: Sequence[int]) -> torch.Tensor:
        """The ids with some masked. Drawn by the seed alone, so that a resumed run masks the same."""
        drawn = np.random.default_rng(seed).random(ids.shape) < self.share
        drawn &= ~np.isin(ids.numpy(), list(self.spared))
        return ids.masked_fill(torch.from_numpy(drawn), self.mask_id)


@dataclass(frozen=True)
class Batch:
    """Some rows: what the model is given, and what is true of them."""

    inputs: dict[str, torch.Tensor]
    fixed: dict[str, Any]
    truth: torch.Tensor

    def on(self, device: torch.device) -> "Batch":
        """The same, on a device."""
        inputs = {name: each.to(device, non_blocking=True) for name, each in self.inputs.items()}
        return Batch(inputs, self.fixed, self.truth.to(device, non_blocking=True))


@dataclass(frozen=True)
class Collator:
    """Makes batches for one model."""

    rows: Rows
    padding: int
    """The id that fills rows; what it says is masked away."""
    with_types: bool
    """Whether the model tells first from second texts by `token_type_ids`."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """What the model is told besides."""
    masking: Masking | None = None

    def __call__(self, numbers: Numbers, seed: Sequence[int] | None = None) -> Batch:
        """Some rows; with a seed, some of their tokens are masked."""
        spans = [self.rows.tokens(int(number)) for number in numbers]
        ids = padded([self.rows.input_ids[span] for span in spans], self.padding)
        inputs = {"attention_mask": padded([np.ones(span.stop - span.start, np.int64) for span in spans], 0)}
        if seed is not None and self.masking is not None:
            # Padding is no special token where a model pads with something else; it is hidden in any case.
            ids = self.masking.applied(ids, seed)
        inputs["input_ids"] = ids
        if self.with_types:
            inputs["token_type_ids"] = padded([self.rows.token_type_ids[span] for span in spans], 0)
        return Batch(inputs, dict(self.fixed), torch.from_numpy(self.rows.truth[numbers]))


def padded(lists: Sequence[Any], padding: int) -> torch.Tensor:
    """Lists of numbers as one tensor of int64, filled up on the right."""
    filled = np.full((len(lists), max(map(len, lists))), padding, dtype=np.int64)
    for row, values in zip(filled, lists, strict=True):
        row[: len(values)] = values
    return torch.from_numpy(filled)
