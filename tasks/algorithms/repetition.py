"""How much of each text repeats what stood in it before, in compiled loops and at most a little too high.

What was seen is kept as single bits, so now and then something new is taken for a repeat, and never the other way
round: what is found here to be within a limit surely is.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.algorithms.compiled import compiled
from tasks.algorithms.word_hashes import Bytes, Hashes, Offsets, WordHashes, buffers

Numbers = npt.NDArray[np.int64]

_PRIME, _SPREAD = np.uint64(0x100000001B3), np.uint64(0x9E3779B97F4A7C15)
_BITS_PER_ENTRY = 8
"""Then about one in sixteen new entries is taken for a repeat."""
_NEWLINE, _SPACE = 0x0A, 0x20


def different_runs(words: WordHashes, length: int) -> Numbers:
    """How many different runs of so many words each text has; no more than it has, hardly ever much less."""
    found = np.empty(len(words.offsets) - 1, dtype=np.int64)
    _count_different(words.hashes, words.offsets, length, _bits(words.offsets), found)
    return found


def repeated_lines(texts: pa.Array, at_least: int = 2) -> tuple[Numbers, Numbers]:
    """How many lines each text has, and how many of them (or a few more) stood in it before; blank lines are none.

    Texts with fewer than so many lines are passed over, as if they had none.
    """
    data, offsets = buffers(texts)
    lines, repeated = (np.zeros(len(offsets) - 1, dtype=np.int64) for _ in range(2))
    _count_lines(data, offsets, at_least, _bits(offsets), lines, repeated)
    return lines, repeated


def _bits(offsets: Offsets) -> Hashes:
    longest = int((offsets[1:] - offsets[:-1]).max(initial=1))
    return np.empty(1 + 2 * _BITS_PER_ENTRY * longest // 64, dtype=np.uint64)


@compiled
def _clear(bits: Hashes, entries: int) -> np.uint64:
    """Make room for so many entries; gives how far their hashes are to be shifted."""
    size, shift = 64, np.uint64(58)
    while size < _BITS_PER_ENTRY * entries:
        size, shift = 2 * size, shift - np.uint64(1)
    bits[: size // 64] = 0
    return shift


@compiled
def _is_new(state: np.uint64, shift: np.uint64, bits: Hashes) -> bool:
    place = (state * _SPREAD) >> shift
    bit = np.uint64(1) << (place & np.uint64(63))
    known = bits[place >> np.uint64(6)]
    bits[place >> np.uint64(6)] = known | bit
    return bool(known & bit == 0)


@compiled
def _count_different(words: Hashes, offsets: Offsets, length: int, bits: Hashes, found: Numbers) -> None:
    for text in range(len(offsets) - 1):
        begin, last = offsets[text], offsets[text + 1] - length
        different, shift = 0, _clear(bits, last + 1 - begin)
        for start in range(begin, last + 1):
            state = np.uint64(0)
            for place in range(start, start + length):
                state = (state ^ (state >> np.uint64(29))) * _SPREAD + words[place]
            different += _is_new(state, shift, bits)
        found[text] = different


@compiled
def _count_lines(data: Bytes, offsets: Offsets, at_least: int, bits: Hashes, lines: Numbers, repeated: Numbers) -> None:
    for text in range(len(offsets) - 1):
        begin, end = offsets[text], offsets[text + 1]
        breaks = 0
        for place in range(begin, end):
            breaks += data[place] == _NEWLINE
        if breaks + 1 < at_least:
            continue
        shift, state, blank = _clear(bits, breaks + 1), _SPREAD, True
        for place in range(begin, end + 1):
            if place < end and data[place] != _NEWLINE:
                state = (state ^ np.uint64(data[place])) * _PRIME
                blank &= data[place] <= _SPACE
                continue
            if not blank:
                lines[text] += 1
                repeated[text] += not _is_new(state, shift, bits)
            state, blank = _SPREAD, True
