"""Every near copy among sets, found exactly: prefix filtering (Bayardo, Ma, Srikant, WWW 2007; Xiao et al., WWW 2008).

Two sets as alike as the threshold share at least one of their rarest members, so only rows that do are compared.
What a formulaic source repeats in every row is common, hence never looked at; nothing is left to chance.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.algorithms.shingles import Hashes, jaccard

_FIRST_BLOCK_ROWS = 256
_MOST_BLOCKS = 32
_PAIRS_PER_CHUNK = 1 << 22
_ROUNDING = 1e-9

Numbers = npt.NDArray[np.int64]


class NearCopy(NamedTuple):
    """A row to drop, the kept row before it that it copies, and their exact similarity."""

    row: int
    kept: int
    similarity: float


class _Postings(NamedTuple):
    """Rows by the rare members they hold, grouped by member, in row order within a group."""

    rows: Numbers
    starts: Numbers
    """Where each entry's group begins."""
    rests: Numbers
    """How many members a row has from this one on, itself included: the most it can share with another."""


def near_copies(
    sets: Sequence[Hashes], threshold: float, progress: Callable[[int, int], None] = lambda _done, _total: None
) -> Iterator[NearCopy]:
    """Each row that is as alike as the threshold to a kept row before it, with the first such row.

    Rows are settled in growing blocks, each first against the kept rows before it and then in itself: a dropped row
    is compared with nothing any more, so that a large group of copies costs about one comparison a row.
    """
    sizes = np.array([len(each) for each in sets], dtype=np.int64)
    postings = _postings(sets, sizes, threshold)
    dropped = np.zeros(len(sets), dtype=bool)
    for begin, end in _blocks(len(sets)):
        for earlier in (range(begin), range(begin, end)):
            for row, kept in _candidates(postings, sizes, threshold, dropped, earlier, range(begin, end)).tolist():
                if dropped[row] or dropped[kept]:
                    continue
                similarity = jaccard(sets[row], sets[kept])
                if similarity >= threshold:
                    dropped[row] = True
                    yield NearCopy(row, kept, similarity)
        progress(end, len(sets))


def _blocks(rows: int) -> Iterator[tuple[int, int]]:
    begin, size = 0, _FIRST_BLOCK_ROWS
    while begin < rows:
        yield begin, min(begin + size, rows)
        begin += size
        size = min(2 * size, max(size, rows // _MOST_BLOCKS))


def _least_shared(sizes: Any, others: Any, threshold: float) -> Any:
    """The fewest members that two sets of these sizes share, if they are as alike as the threshold."""
    return np.ceil(threshold / (1 + threshold) * (sizes + others) - _ROUNDING)


def _postings(sets: Sequence[Hashes], sizes: Numbers, threshold: float) -> _Postings:
    members, frequency = _members(sets)
    rows = np.repeat(np.arange(len(sets)), sizes)
    order = np.lexsort((members, frequency[members], rows))
    members, rows = members[order], rows[order]
    rests = np.repeat(np.cumsum(sizes), sizes) - np.arange(len(rows))
    # A set and any other at least as alike share one of the first n - ⌈tn⌉ + 1 members; a member of one row, none.
    chosen = (rests >= np.ceil(threshold * sizes[rows] - _ROUNDING)) & (frequency[members] > 1)
    members, rows, rests = members[chosen], rows[chosen], rests[chosen]
    order = np.lexsort((rows, members))
    members, rows, rests = members[order], rows[order], rests[order]
    for _ in range(2):
        starts, lengths = _groups(members)
        smallest = np.repeat(np.minimum.reduceat(sizes[rows], starts), lengths) if len(rows) else rows
        others = np.maximum(smallest, threshold * sizes[rows])
        kept = (rests >= _least_shared(sizes[rows], others, threshold)) & (np.repeat(lengths, lengths) > 1)
        members, rows, rests = members[kept], rows[kept], rests[kept]
    starts, lengths = _groups(members)
    return _Postings(rows, np.repeat(starts, lengths), rests)


def _members(sets: Sequence[Hashes]) -> tuple[Numbers, Numbers]:
    """All members of all sets as small numbers, and how many sets hold each number's member."""
    joined = np.concatenate([*sets, np.empty(0, dtype=np.uint64)])
    _, numbers, frequency = np.unique(joined, return_inverse=True, return_counts=True)
    return numbers.astype(np.int64), frequency.astype(np.int64)


def _groups(members: Numbers) -> tuple[Numbers, Numbers]:
    """Where each run of equal members begins, and how long it is."""
    starts = np.flatnonzero(np.r_[True, members[1:] != members[:-1]]) if len(members) else np.empty(0, np.int64)
    return starts, np.diff(np.r_[starts, len(members)])


def _candidates(
    postings: _Postings,
    sizes: Numbers,
    threshold: float,
    dropped: npt.NDArray[np.bool_],
    earlier: range,
    block: range,
) -> Numbers:
    """Pairs (row of the block, earlier row), neither dropped, each once, in order."""
    rows, starts, rests = postings
    alive = np.flatnonzero(~dropped[rows] & (rows >= earlier.start) & (rows < earlier.stop))
    here = np.flatnonzero(~dropped[rows] & (rows >= block.start) & (rows < block.stop))
    before = np.searchsorted(alive, starts[here])
    lengths = np.searchsorted(alive, here) - before
    found = []
    for chunk in _chunks(lengths):
        right = np.repeat(here[chunk], lengths[chunk])
        within = np.arange(len(right)) - np.repeat(np.cumsum(lengths[chunk]) - lengths[chunk], lengths[chunk])
        left = alive[np.repeat(before[chunk], lengths[chunk]) + within]
        shared = _least_shared(sizes[rows[left]], sizes[rows[right]], threshold)
        possible = np.minimum(rests[left], rests[right]) >= shared
        found.append(np.unique(rows[right[possible]] * len(sizes) + rows[left[possible]]))
    keys = np.unique(np.concatenate([*found, np.empty(0, np.int64)]))
    return np.stack([keys // len(sizes), keys % len(sizes)], axis=1)


def _chunks(lengths: Numbers) -> Iterator[slice]:
    """Slices of the entries whose lengths add up to about `_PAIRS_PER_CHUNK` each."""
    ends = np.cumsum(lengths)
    count = math.ceil(ends[-1] / _PAIRS_PER_CHUNK) if len(ends) else 0
    edges = np.unique(np.searchsorted(ends, np.arange(1, count) * _PAIRS_PER_CHUNK))
    for begin, end in zip([0, *edges], [*edges, len(lengths)], strict=True):
        yield slice(int(begin), int(end))
