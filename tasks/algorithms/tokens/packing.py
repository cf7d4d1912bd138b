"""Best-fit decreasing bin packing (Johnson 1973): long samples first, each into the fullest row that holds it."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.algorithms.compiled import compiled
from tasks.algorithms.tokens.arrays import Places

_SPACES_PER_BLOCK = 256
_NONE = -1


class Packed(NamedTuple):
    """Rows of sample indices; those of row i are `order[offsets[i]:offsets[i + 1]]`."""

    order: Places
    """(samples)"""
    offsets: Places
    """(rows + 1), from 0."""


def pack(lengths: npt.ArrayLike, capacity: int, order: npt.ArrayLike | None = None) -> Packed:
    """Rows that hold every sample once, none longer than the capacity, as the whole set fills them best.

    Samples of one length are taken in the given order, which names each index once; within a row the longest comes
    first, and rows stand in the order in which they were begun. O(n log n) for n samples.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    taken = np.arange(len(sizes)) if order is None else np.asarray(order, dtype=np.int64)
    wrong = np.flatnonzero((sizes < 1) | (sizes > capacity))
    if len(wrong):
        raise ValueError(f"sample {wrong[0]} has {sizes[wrong[0]]} tokens; rows hold 1 to {capacity}")
    decreasing = taken[np.argsort(-sizes[taken], kind="stable")]
    row_of = np.empty(len(decreasing), dtype=np.int64)
    rows = _place(sizes[decreasing], capacity, row_of)
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(np.bincount(row_of, minlength=rows))])
    return Packed(decreasing[np.argsort(row_of, kind="stable")], offsets)


@compiled
def _place(lengths: Places, capacity: int, row_of: Places) -> int:
    """The row of each sample, and how many rows that makes; of rows with equal space, the one changed last is taken."""
    newest = np.full(capacity + 1, _NONE, dtype=np.int64)  # of each free space the newest row that has it
    older = np.full(len(lengths), _NONE, dtype=np.int64)  # of each row the next with the same space
    with_rows = np.zeros(capacity // _SPACES_PER_BLOCK + 1, dtype=np.int64)
    rows = 0
    for index in range(len(lengths)):
        space = _least_space(lengths[index], newest, with_rows)
        if space > capacity:
            row, left = rows, capacity - lengths[index]
            rows += 1
        else:
            row, left = newest[space], space - lengths[index]
            newest[space] = older[row]
            with_rows[space // _SPACES_PER_BLOCK] -= 1
        row_of[index] = row
        older[row] = newest[left]
        newest[left] = row
        with_rows[left // _SPACES_PER_BLOCK] += 1
    return rows


@compiled
def _least_space(length: int, newest: Places, with_rows: Places) -> int:
    """The smallest free space of a row that holds the length; one above the largest where no row does."""
    space = length
    while space < len(newest):
        if not with_rows[space // _SPACES_PER_BLOCK]:
            space = (space // _SPACES_PER_BLOCK + 1) * _SPACES_PER_BLOCK
        elif newest[space] != _NONE:
            return space
        else:
            space += 1
    return len(newest)
