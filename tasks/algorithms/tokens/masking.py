"""Labels from byte ranges: one tokenisation of the whole text decides, so nothing can shift."""

import numpy as np

from tasks.algorithms.compiled import compiled
from tasks.algorithms.tokens.arrays import Flags, Places, Ranges, Tokens

NOT_TRAINED = -100
"""The label that the loss ignores."""


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
