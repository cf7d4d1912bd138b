"""Texts as sets of word n-grams, each a hash, and how alike two sets are."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.algorithms.compiled import compiled
from tasks.algorithms.word_hashes import Hashes, Offsets, word_hashes

BITS = 60
"""Of an n-gram's hash; the four above are free for an order (`tasks.algorithms.similarity_join`)."""
_MASK = np.uint64((1 << BITS) - 1)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C1B)
"""Odd, and 3 modulo 8: the difference of two of its powers has few factors of two, so swapped words change the sum."""
_SCRAMBLE = np.uint64(0xFF51AFD7ED558CCD)
_TEXTS_PER_STEP = 1 << 14

Slots = npt.NDArray[np.int32]


class ShingleSets:
    """The n-grams of many texts, one set a text, in one array that grows in place.

    A text of fewer words than an n-gram has none.
    """

    def __init__(self, words: int) -> None:
        self.words = words
        self.hashes: Hashes = np.empty(0, dtype=np.uint64)
        self.offsets: Offsets = np.zeros(1, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, text: int) -> Hashes:
        return self.hashes[self.offsets[text] : self.offsets[text + 1]]

    def add(self, texts: pa.Array | pa.ChunkedArray) -> None:
        """Take in more texts, each by the place at which it comes."""
        ends = [self.offsets]
        for begin in range(0, len(texts), _TEXTS_PER_STEP):
            found = word_hashes(texts.slice(begin, _TEXTS_PER_STEP))
            held, room = len(self.hashes), len(found.hashes)
            # In place: beside its copy, the largest array there is would take twice the memory.
            self.hashes.resize(held + room, refcheck=False)
            bounds = np.empty(len(found.offsets) - 1, dtype=np.int64)
            count = _fill(found.hashes, found.offsets, self.words, self.hashes[held:], bounds)
            self.hashes.resize(held + count, refcheck=False)
            ends.append(held + bounds)
        self.offsets = np.concatenate(ends)


def jaccard(left: Hashes, right: Hashes) -> float:
    """|A ∩ B| / |A ∪ B| of two sets; 1 for two empty ones."""
    if not len(left) and not len(right):
        return 1.0
    common = len(np.intersect1d(left, right, assume_unique=True))
    return common / (len(left) + len(right) - common)


@compiled
def _fill(words: Hashes, offsets: Offsets, size: int, grams: Hashes, bounds: Offsets) -> int:
    """Write the n-grams of each text, each once, in the order of the text; gives how many there are."""
    count = 0
    leading = np.uint64(1)
    for _ in range(size - 1):
        leading *= _MULTIPLIER
    space = np.zeros(1024, dtype=np.int32)
    for text in range(len(offsets) - 1):
        begin, end = offsets[text], offsets[text + 1]
        first = count
        if end - begin >= size:
            slots = cleared(space, end - begin - size + 1)
            space = slots if len(slots) > len(space) else space
            rolled = np.uint64(0)
            for place in range(begin, begin + size - 1):
                rolled = rolled * _MULTIPLIER + words[place]
            for place in range(begin + size - 1, end):
                rolled = rolled * _MULTIPLIER + words[place]
                mixed = (rolled ^ (rolled >> np.uint64(32))) * _SCRAMBLE
                grams[count] = (mixed ^ (mixed >> np.uint64(29))) & _MASK
                count += insert(slots, grams, first, count)
                rolled -= words[place - size + 1] * leading
        bounds[text] = count
    return count


@compiled
def cleared(slots: Slots, members: int) -> Slots:
    """An empty table with room for so many members: a prefix of this one, or a larger one."""
    room = 16
    while room < 2 * members:
        room *= 2
    if room > len(slots):
        return np.zeros(room, dtype=np.int32)
    table = slots[:room]
    table[:] = 0
    return table


@compiled
def insert(slots: Slots, members: Hashes, first: int, place: int) -> int:
    """1 where a member is new to the set that begins at `first`, else 0."""
    mask = np.int64(len(slots) - 1)
    slot = np.int64(members[place]) & mask
    while slots[slot] != 0:
        if members[first + slots[slot] - 1] == members[place]:
            return 0
        slot = (slot + 1) & mask
    slots[slot] = place - first + 1
    return 1


@compiled
def holds(slots: Slots, members: Hashes, value: np.uint64) -> bool:
    """True where a set, all of it inserted into the table, has a member of this value."""
    mask = np.int64(len(slots) - 1)
    slot = np.int64(value) & mask
    while slots[slot] != 0:
        if members[slots[slot] - 1] == value:
            return True
        slot = (slot + 1) & mask
    return False
