"""Words of whole columns of text as 64-bit hashes, read straight from Arrow's buffers.

The words are those of `tasks.conversation.words`, in order; equal words have equal hashes on every machine.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.algorithms.compiled import compiled
from tasks.conversation import is_unspaced

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

_CODE_POINTS = 0x32400
"""Above these lie no letters or digits."""
_BREAK, _LETTER, _WHOLE, _LAST = 0, 1, 2, 3
"""What a character does: parts words, belongs to one, is one by itself, or ends the one that it belongs to."""
_BASIS, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_DOTTED_I = 0x130
"""Its lower case is an i and a dot above, which is no letter."""


class WordHashes(NamedTuple):
    """The words of all texts in one array; those of text i lie between `offsets[i]` and `offsets[i + 1]`."""

    hashes: Hashes
    offsets: Offsets


def word_hashes(texts: pa.Array | pa.ChunkedArray) -> WordHashes:
    """The hashed words of each text of a string array; a null has none."""
    data, offsets = buffers(texts)
    kinds, lowered = _alphabet()
    hashes = np.empty((len(data) + 1) // 2 + len(offsets), dtype=np.uint64)
    bounds = np.empty(len(offsets), dtype=np.int64)
    count = _hash_all(data, offsets, kinds, lowered, hashes, bounds)
    return WordHashes(hashes[:count], bounds)


def buffers(texts: pa.Array | pa.ChunkedArray) -> tuple[Bytes, Offsets]:
    """The UTF-8 bytes of a string array, and where each text begins and ends in them."""
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    if isinstance(texts, pa.ChunkedArray):  # more than an array of one type can hold
        texts = pa.concat_arrays([chunk.cast(pa.large_string()) for chunk in texts.chunks])
    if texts.null_count or pa.types.is_string_view(texts.type):
        texts = texts.cast(pa.large_string()).fill_null("")
    width = np.int64 if pa.types.is_large_string(texts.type) else np.int32
    _, where, content = texts.buffers()
    if not len(texts):
        return np.empty(0, dtype=np.uint8), np.zeros(1, dtype=np.int64)
    offsets = np.frombuffer(where, dtype=width)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    data = np.frombuffer(content, dtype=np.uint8) if content is not None else np.empty(0, dtype=np.uint8)
    return data[offsets[0] : offsets[-1]], offsets - offsets[0]


@cache
def _alphabet() -> tuple[Bytes, npt.NDArray[np.uint32]]:
    """What each character does, and its lower case, by code point: as Python's `str` says."""
    kinds = np.zeros(_CODE_POINTS, dtype=np.uint8)
    lowered = np.arange(_CODE_POINTS, dtype=np.uint32)
    for point, character in enumerate(map(chr, range(_CODE_POINTS))):
        if character.isalnum() or character == "_":
            kinds[point] = _WHOLE if is_unspaced(character) else _LETTER
            lowered[point] = ord(character.lower()[0])
    kinds[_DOTTED_I] = _LAST
    lowered[ord("ς")] = ord("σ")
    return kinds, lowered


@compiled
def _hash_all(
    data: Bytes, offsets: Offsets, kinds: Bytes, lowered: npt.NDArray[np.uint32], hashes: Hashes, bounds: Offsets
) -> int:
    count, length = 0, len(kinds)
    bounds[0] = 0
    for text in range(len(offsets) - 1):
        place, end = offsets[text], offsets[text + 1]
        state, inside = _BASIS, False
        while place < end:
            point, size = np.uint64(data[place]), 1
            if point >= np.uint64(0x80):
                point, size = decode(data, place, point)
            place += size
            kind = kinds[point] if point < np.uint64(length) else np.uint8(_BREAK)
            if kind == _LETTER:
                state = (state ^ np.uint64(lowered[point])) * _PRIME
                inside = True
                continue
            if inside and kind != _LAST:
                hashes[count] = finish(state)
                count += 1
                state, inside = _BASIS, False
            if kind != _BREAK:
                hashes[count] = finish((state ^ np.uint64(lowered[point])) * _PRIME)
                count += 1
                state, inside = _BASIS, False
        if inside:
            hashes[count] = finish(state)
            count += 1
        bounds[text + 1] = count
    return count


@compiled
def decode(data: Bytes, place: int, first: np.uint64) -> tuple[np.uint64, int]:
    """The character that begins at a place with a byte above 127, and its bytes."""
    size = 4 if first >= np.uint64(0xF0) else 3 if first >= np.uint64(0xE0) else 2
    point = first & np.uint64(0x7F >> size)
    for step in range(1, size):
        point = point << np.uint64(6) | np.uint64(data[place + step] & 0x3F)
    return point, size


@compiled
def finish(state: np.uint64) -> np.uint64:
    # The multiplications above carry upwards only; this brings what is above down (MurmurHash3's last step).
    state ^= state >> np.uint64(33)
    state *= np.uint64(0xFF51AFD7ED558CCD)
    state ^= state >> np.uint64(33)
    state *= np.uint64(0xC4CEB9FE1A85EC53)
    return state ^ (state >> np.uint64(33))
