"""Texts as sets of word n-grams, and how alike two sets are."""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


class WordHasher:
    """Stable 64-bit hashes of words, each computed once."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def __call__(self, words: Sequence[str]) -> Hashes:
        """One hash a word."""
        known = self._known
        hashes = np.empty(len(words), dtype=np.uint64)
        for index, word in enumerate(words):
            value = known.get(word)
            if value is None:
                value = int.from_bytes(hashlib.blake2b(word.encode(errors="replace"), digest_size=8).digest())
                known[word] = value
            hashes[index] = value
        return hashes


def ngrams(word_hashes: Hashes, size: int) -> Hashes:
    """Hashes of all runs of `size` words, in order; of a shorter text one, over all its words; of none, none."""
    size = min(size, len(word_hashes))
    if size == 0:
        return word_hashes
    count = len(word_hashes) - size + 1
    mixed = np.zeros(count, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for offset in range(size):
            mixed = (mixed ^ word_hashes[offset : offset + count]) * _MULTIPLIER
            mixed ^= mixed >> np.uint64(29)
        # A text of two words must not look like the start of a longer one.
        return mixed + np.uint64(size)


def shingles(word_hashes: Hashes, size: int) -> Hashes:
    """The set of a text's n-grams, sorted."""
    return np.unique(ngrams(word_hashes, size))


def jaccard(left: Hashes, right: Hashes) -> float:
    """|A ∩ B| / |A ∪ B| of two sorted sets; 1 for two empty ones."""
    if not len(left) and not len(right):
        return 1.0
    common = len(np.intersect1d(left, right, assume_unique=True))
    return common / (len(left) + len(right) - common)
