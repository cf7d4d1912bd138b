"""Rows that mean the same as a kept row before them: exact cosine similarity of their vectors, each row with every kept
one.

Single-precision matrix products of blocks find the candidates, with a margin for their rounding; each of these is
decided by one double-precision sum in a fixed order. So neither the blocks nor the threads can turn a decision.
The cost is quadratic in the rows that are kept.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.algorithms.compiled import compiled

NONE = -1
_KEPT_PER_BLOCK = 4096
_UNIT_ROUNDOFF = 2.0**-24
"""Of single precision."""

Numbers = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]


class TooManyRowsError(Exception):
    """More rows than may be compared each with each."""


class Meaning(NamedTuple):
    """What rows mean, and from when on two mean the same."""

    vectors: Vectors
    """Of each row one of length 1, or zeros for a row that is like no other."""
    threshold: float


class Neighbours(NamedTuple):
    """Of some rows, one after the other in the order, the rows before them that may mean the same."""

    vectors: Vectors
    threshold: float
    least: float
    """The smallest rounded product of two vectors as alike as the threshold."""
    before: Numbers
    """The first such kept place before all of them; -1 if there is none."""
    cosines: npt.NDArray[np.float64]
    """How alike these are."""
    products: Vectors
    """The products of each with each."""


NO_NEIGHBOURS = Neighbours(
    vectors=np.empty((0, 0), dtype=np.float32),
    threshold=1.0,
    least=1.0,
    before=np.empty(0, dtype=np.int64),
    cosines=np.empty(0),
    products=np.empty((0, 0), dtype=np.float32),
)
"""Where meanings are not compared."""


class SemanticIndex:
    """The kept rows by what they mean."""

    rows_per_step = 2048
    """Rows whose neighbours are asked for at once: the products of each with each are held."""

    def __init__(self, meaning: Meaning, order: Numbers) -> None:
        self._vectors, self._threshold = meaning
        self._least = self._threshold - (self._vectors.shape[1] + 8) * _UNIT_ROUNDOFF
        self._order = order
        self._kept = np.empty(len(order), dtype=np.int64)
        self._count = 0

    def neighbours(self, begin: int, end: int) -> Neighbours:
        """Those of the rows at some places of the order; all kept rows before them must have been entered."""
        rows = self._order[begin:end]
        before, cosines = np.full(len(rows), NONE, dtype=np.int64), np.zeros(len(rows))
        for at in range(0, self._count, _KEPT_PER_BLOCK):
            places = self._kept[at : min(at + _KEPT_PER_BLOCK, self._count)]
            others, waiting = self._order[places], np.flatnonzero(before == NONE)
            products = self._vectors[rows[waiting]] @ self._vectors[others].T
            firsts = _firsts(products, self._vectors, rows[waiting], others, self._threshold, self._least)
            found = firsts >= 0
            before[waiting[found]] = places[firsts[found]]
            cosines[waiting[found]] = _cosines(self._vectors, rows[waiting[found]], others[firsts[found]])
        here = self._vectors[rows]
        return Neighbours(self._vectors, self._threshold, self._least, before, cosines, here @ here.T)

    def keep(self, places: Numbers) -> None:
        """Enter the rows at these places."""
        self._kept[self._count : self._count + len(places)] = places
        self._count += len(places)


@compiled
def first_neighbour(place: int, begin: int, order: Numbers, of: Numbers, near: Neighbours) -> tuple[int, float]:
    """The first kept place that means the same, and how alike it is; -1 if there is none.

    `begin` is the place of the first of the rows that the neighbours are of; `of` tells which rows of these are kept.
    """
    here = place - begin
    if not len(near.before):
        return NONE, 0.0
    if near.before[here] >= 0:
        return near.before[here], near.cosines[here]
    for other in range(begin, place):
        if near.products[here, other - begin] >= near.least and of[order[other]] < 0:
            cosine = _cosine(near.vectors[order[place]], near.vectors[order[other]])
            if cosine >= near.threshold:
                return other, cosine
    return NONE, 0.0


def require_few(rows: int, most: int) -> None:
    """Raise `TooManyRowsError` for more rows than a recipe allows."""
    if rows > most:
        raise TooManyRowsError(
            f"there are {rows:,} rows, and deduplication.semantic.max_rows is {most:,}. Semantic duplicates are found "
            "by comparing each row with each kept one, so twice the rows take four times as long. Raise max_rows if "
            "you can wait, take a sample of the sources, or leave deduplication.semantic out."
        )


@compiled
def _firsts(
    products: Vectors, vectors: Vectors, rows: Numbers, others: Numbers, threshold: float, least: float
) -> Numbers:
    """For each row the first column whose row is as alike as the threshold; -1 if there is none."""
    firsts = np.full(len(rows), NONE, dtype=np.int64)
    for row in range(len(rows)):
        for column in range(len(others)):
            if products[row, column] >= least and _cosine(vectors[rows[row]], vectors[others[column]]) >= threshold:
                firsts[row] = column
                break
    return firsts


@compiled
def _cosines(vectors: Vectors, rows: Numbers, others: Numbers) -> npt.NDArray[np.float64]:
    found = np.empty(len(rows))
    for place in range(len(rows)):
        found[place] = _cosine(vectors[rows[place]], vectors[others[place]])
    return found


@compiled
def _cosine(left: Vectors, right: Vectors) -> float:
    """Exactly 1 for equal vectors, 0 for zeros."""
    product, left_square, right_square = 0.0, 0.0, 0.0
    for place in range(len(left)):
        first, second = np.float64(left[place]), np.float64(right[place])
        product += first * second
        left_square += first * first
        right_square += second * second
    length = np.sqrt(left_square * right_square)
    return min(1.0, product / length) if length > 0.0 else 0.0
