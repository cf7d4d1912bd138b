"""Labels from character spans: one tokenisation of the whole text decides, so nothing can shift."""

from collections.abc import Sequence

import numpy as np

from tasks.algorithms.chat.rendering import Span
from tasks.algorithms.compiled import compiled
from tasks.algorithms.tokens.arrays import Flags, Places, Ranges, Tokens

NOT_TRAINED = -100
"""The label that the loss ignores."""


def labels(ids: Sequence[int], offsets: Sequence[Span], trained: Sequence[Span]) -> list[int]:
    """The id of each token that shares a character with a trained span, −100 for all others.

    Offsets and spans are half-open character ranges of one text, both in order.
    """
    made = [NOT_TRAINED] * len(ids)
    current = 0
    for index, (begin, end) in enumerate(offsets):
        while current < len(trained) and trained[current][1] <= begin:
            current += 1
        if current < len(trained) and end > trained[current][0] and begin < end:
            made[index] = ids[index]
    return made


def trained_tokens(tokens: Tokens, ranges: Ranges) -> Flags:
    """Whether each token shares a byte with a trained range of its text."""
    return _overlapping(tokens.offsets, tokens.begins, tokens.ends, ranges.offsets, ranges.begins, ranges.ends)


@compiled
def _overlapping(
    offsets: Places, begins: Places, ends: Places, range_offsets: Places, range_begins: Places, range_ends: Places
) -> Flags:
    made = np.zeros(len(begins), dtype=np.bool_)
    for text in range(len(offsets) - 1):
        current, last = range_offsets[text], range_offsets[text + 1]
        for token in range(offsets[text], offsets[text + 1]):
            # Tokens begin in order, but the parts of one character begin together.
            while current < last and range_ends[current] <= begins[token]:
                current += 1
            if current < last and ends[token] > range_begins[current] and begins[token] < ends[token]:
                made[token] = True
    return made
