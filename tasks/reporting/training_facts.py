"""What a report tells of the training: what ran where, the losses, what the watch over it found, lengths."""

from collections.abc import Iterable
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from tasks.config import Config
from tasks.reporting.values import Count, Scalar, Seconds, Text

_BANDS = 20
_STEPS = (1, 2, 4, 5, 8, 10)


class CurvePoint(Config):
    """The losses at one optimiser step."""

    step: Count
    """Optimiser step."""
    loss: float
    """Training loss, nats a token."""
    heldout_loss: float | None = None
    """Held-out loss, nats a token, at the steps where it was measured."""


class DiagnosisFacts(Config):
    """What the watch over training found."""

    name: Text
    """What it is called, such as overfitting."""
    sentence: Text
    """What was seen, with its numbers."""
    advice: Text = ""
    """What to do."""


class TrainingFacts(Config):
    """How the weights were trained."""

    method: Text
    """Full, LoRA, QLoRA, …"""
    device: Text
    """What it ran on."""
    parameters: Count
    """Parameters of the model."""
    trainable_parameters: Count
    """Parameters that were trained."""
    tokens: Count
    """Tokens seen, all epochs together."""
    tokens_per_second: Annotated[float, Field(ge=0)]
    """Training speed."""
    seconds: Seconds | None = None
    """How long training took."""
    steps: Count | None = None
    """Optimiser steps that were taken."""
    planned_steps: Count | None = None
    """Optimiser steps that the recipe asks for; fewer are taken where training stops early."""
    best_step: Count | None = None
    """The step whose weights are kept."""
    diagnoses: tuple[DiagnosisFacts, ...] = ()
    """What was found wrong, the gravest first."""
    settings: dict[Text, Scalar] = Field(default_factory=dict)
    """Learning rate, epochs, batch size and the like, in reading order."""
    curve: tuple[CurvePoint, ...] = ()
    """The losses, in step order."""


class LengthBand(Config):
    """Texts whose length lies in one band."""

    from_tokens: Count
    """Shortest length in the band."""
    to_tokens: Count
    """Longest length in the band."""
    rows: Count
    """Texts."""


def length_bands(lengths: Iterable[npt.NDArray[np.integer]]) -> tuple[LengthBand, ...]:
    """Texts by length in tokens: at most 20 bands of one round width, from none to the longest."""
    counts = np.zeros(0, dtype=np.int64)
    for some in lengths:
        found = np.bincount(some, minlength=len(counts))
        found[: len(counts)] += counts
        counts = found
    if not counts.any():
        return ()
    wanted = len(counts) / _BANDS
    decade = 10 ** int(np.log10(max(wanted, 1)))
    width = next(step * decade for step in _STEPS if step * decade >= wanted)
    starts = np.arange(0, len(counts), width)
    return tuple(
        LengthBand(from_tokens=start, to_tokens=start + width - 1, rows=rows)
        for start, rows in zip(starts.tolist(), np.add.reduceat(counts, starts).tolist(), strict=True)
    )
