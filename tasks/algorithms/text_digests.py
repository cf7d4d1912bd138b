"""128-bit digests of whole columns of text, equal for texts that differ in capitals and white space only."""

from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.algorithms.compiled import compiled
from tasks.algorithms.word_hashes import Bytes, Hashes, Offsets, buffers, decode, finish

_CODE_POINTS = 0x1F000
"""Above these lies nothing that has a case or is a space."""
_LONGEST_FOLDED = 3
_SPACE = np.uint32(0x20)
_BASES = np.uint64(0xCBF29CE484222325), np.uint64(0x84222325CBF29CE5)
_MULTIPLIERS = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1342543DE82EF95)

Folded = npt.NDArray[np.uint32]


def text_digests(texts: pa.Array | pa.ChunkedArray) -> Hashes:
    """Two numbers a text: those of `" ".join(text.casefold().split())`."""
    data, offsets = buffers(texts)
    digests = np.empty((len(offsets) - 1, 2), dtype=np.uint64)
    _digest_all(data, offsets, _folded(), digests)
    return digests


def groups(digests: Hashes, nothing: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """A number for the texts of each digest that several have; -1 for a digest of one text, and for no text at all."""
    order = np.lexsort((digests[:, 1], digests[:, 0]))
    new = np.ones(len(order), dtype=np.bool_)
    new[1:] = (digests[order[1:]] != digests[order[:-1]]).any(axis=1)
    several = (~new | ~np.append(new[1:], True)) & ~nothing[order]
    numbers = np.full(len(order), -1, dtype=np.int64)
    numbers[order[several]] = np.cumsum(new[several]) - 1
    return numbers


@cache
def _folded() -> Folded:
    """The characters that each one is without its case, by code point; every white space is one space."""
    folded = np.zeros((_CODE_POINTS, _LONGEST_FOLDED), dtype=np.uint32)
    folded[:, 0] = np.arange(_CODE_POINTS)
    for point, character in enumerate(map(chr, range(_CODE_POINTS))):
        plain = " " if character.isspace() else character.casefold()
        if plain != character:
            folded[point] = [*map(ord, plain), *[0] * (_LONGEST_FOLDED - len(plain))]
    return folded


@compiled
def _digest_all(data: Bytes, offsets: Offsets, folded: Folded, digests: Hashes) -> None:
    for text in range(len(offsets) - 1):
        place, end = offsets[text], offsets[text + 1]
        left, right, word = _BASES[0], _BASES[1], np.uint64(0)
        begun, between = False, False
        while place < end:
            point, size = np.uint64(data[place]), 1
            if point >= np.uint64(0x80):
                point, size = decode(data, place, point)
            place += size
            plain = folded[point, 0] if point < np.uint64(_CODE_POINTS) else np.uint32(point)
            if plain == _SPACE:
                between = begun
                continue
            if between:
                left, right, word = _take(left, right, word, _SPACE)
                between = False
            left, right, word = _take(left, right, word, plain)
            begun = True
            if point >= np.uint64(0x80) and point < np.uint64(_CODE_POINTS):
                for more in range(1, _LONGEST_FOLDED):
                    if folded[point, more]:
                        left, right, word = _take(left, right, word, folded[point, more])
        left, right = _mix(left, right, word)
        digests[text, 0], digests[text, 1] = finish(left), finish(right)


@compiled
def _take(
    left: np.uint64, right: np.uint64, word: np.uint64, plain: np.uint32
) -> tuple[np.uint64, np.uint64, np.uint64]:
    """Collect characters, and mix in three of them at once."""
    word = (word << np.uint64(21)) + np.uint64(plain) + np.uint64(1)
    if word >> np.uint64(42):
        left, right = _mix(left, right, word)
        word = np.uint64(0)
    return left, right, word


@compiled
def _mix(left: np.uint64, right: np.uint64, word: np.uint64) -> tuple[np.uint64, np.uint64]:
    left = (left ^ word) * _MULTIPLIERS[0]
    right = (right + word) * _MULTIPLIERS[1]
    return left ^ (left >> np.uint64(32)), right ^ (right >> np.uint64(29))
