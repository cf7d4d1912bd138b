"""What passes between rendering, tokenising, labelling and the proof: whole batches in flat arrays, no object a row."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ids = npt.NDArray[np.int32]
Places = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Ranges:
    """Half-open UTF-8 byte ranges of n texts, in order: those of text i are `offsets[i]` to `offsets[i + 1]`."""

    offsets: Places
    """(n + 1), from 0."""
    begins: Places
    """(k), from the beginning of their text."""
    ends: Places
    """(k)"""


@dataclass(frozen=True)
class Rendered:
    """The texts of a batch of conversations, special tokens included."""

    texts: pa.LargeStringArray
    """(n)"""
    rows: Places
    """(n) the place in the batch of each text's conversation; never falls, repeats where one gives several texts."""
    trained: Ranges
    """What the model is to write itself: content and end of turn, from behind the generation prompt."""
    turns: Places
    """(k of `trained`) which message of its conversation each range belongs to, from 0."""
    plain: Ranges
    """Text of messages that spells a control token, and must stay text."""
    refused: dict[int, str] = field(default_factory=dict)
    """Places in the batch of conversations that gave no text, with what the template says against them."""


@dataclass(frozen=True)
class Tokens:
    """The tokens of n texts: those of text i are `offsets[i]` to `offsets[i + 1]` of the other arrays."""

    offsets: Places
    """(n + 1), from 0."""
    ids: Ids
    """(k)"""
    begins: Places
    """(k) the UTF-8 byte of its text at which each token begins."""
    ends: Places
    """(k) the byte behind it. Tokens of parts of one character all have the whole character's range."""
