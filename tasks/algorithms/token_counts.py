"""How many tokens texts have, without the tokens: texts are cut at their edges, and equal pieces tokenised once.

Exact for tokenizers that part their tokens at edges: see `token_edges`.
"""

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from tokenizers import Tokenizer

from tasks.algorithms.compiled import compiled
from tasks.algorithms.token_edges import EDGE, stretching_tokens
from tasks.algorithms.word_hashes import Bytes, Hashes, Offsets, buffers

Counts = npt.NDArray[np.int64]
Places = npt.NDArray[np.int64]

_BEFORE = "x"
"""Stands before a piece from within a text while its tokens are counted: some tokenizers treat a text's start apart."""
_FEWEST_SLOTS, _MOST_SLOTS = 1 << 16, 1 << 22
_AT_START, _WITHIN = np.uint64(0xCBF29CE484222325), np.uint64(0x84222325CBF29CE4)
_PRIME, _SPREAD, _FREE = np.uint64(0x100000001B3), np.uint64(0x9E3779B97F4A7C15), np.uint64(0)
_LETTER, _MARK, _SPACE = 1, 2, 3
_ROLES = np.zeros(256, dtype=np.uint8)
"""What a byte has to do with edges: a letter or digit before one, or a mark or a space after one."""
for _byte in range(0x80):
    _ROLES[_byte] = _LETTER if chr(_byte).isalnum() else _MARK if EDGE.search("x" + chr(_byte)) else 0
_ROLES[ord(" ")] = _SPACE


class TokenCounts:
    """Counts the tokens of texts and remembers those of the pieces that it has seen."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._stretching = stretching_tokens(tokenizer)
        self._tokens_before = len(tokenizer.encode(_BEFORE, add_special_tokens=False))
        self._forget(_FEWEST_SLOTS)

    def __call__(self, texts: pa.Array) -> Counts:
        """The number of tokens of each text of a string array without nulls."""
        counts = self._by_pieces(texts)
        if self._stretching:
            whole = np.flatnonzero(pl.Series(texts).str.contains_any(self._stretching))
            counts[whole] = self._count(texts.take(whole).to_pylist())
        return counts

    def _by_pieces(self, texts: pa.Array) -> Counts:
        data, offsets = buffers(texts)
        counts = np.zeros(len(offsets) - 1, dtype=np.int64)
        most = len(data) // 2 + len(offsets)
        hashes, places = np.empty(most, dtype=np.uint64), np.empty((most, 3), dtype=np.int64)
        number = _look_up(data, offsets, _ROLES, self._hashes, self._tokens, counts, hashes, places)
        unknown, first, which = np.unique(hashes[:number], return_index=True, return_inverse=True)
        tokens = self._count_pieces(data, offsets, places[first])
        np.add.at(counts, places[:number, 0], tokens[which])
        self._remember(unknown, tokens)
        return counts

    def _count_pieces(self, data: Bytes, offsets: Offsets, places: Places) -> Counts:
        starts = places[:, 1] == offsets[places[:, 0]]
        pieces = [data[begin:end].tobytes().decode() for _, begin, end in places.tolist()]
        given = [piece if start else _BEFORE + piece for piece, start in zip(pieces, starts.tolist(), strict=True)]
        return self._count(given) - np.where(starts, 0, self._tokens_before)

    def _count(self, texts: list[str]) -> Counts:
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return np.array([len(each) for each in encodings], dtype=np.int64)

    def _remember(self, hashes: Hashes, tokens: Counts) -> None:
        known = self._hashes != _FREE
        used, wanted = known.sum(), 2 * (known.sum() + len(hashes))
        if wanted > len(self._hashes):
            old = self._hashes[known], self._tokens[known]
            self._forget(min(1 << int(2 * wanted).bit_length(), _MOST_SLOTS))
            if wanted <= _MOST_SLOTS:
                _insert(self._hashes, self._tokens, *old)
            else:
                used = 0
        room = len(self._hashes) // 2 - used
        _insert(self._hashes, self._tokens, hashes[:room], tokens[:room])

    def _forget(self, slots: int) -> None:
        self._hashes, self._tokens = np.zeros(slots, dtype=np.uint64), np.zeros(slots, dtype=np.int64)


@compiled
def _look_up(
    data: Bytes,
    offsets: Offsets,
    roles: Bytes,
    known: Hashes,
    tokens: Counts,
    counts: Counts,
    hashes: Hashes,
    places: Places,
) -> int:
    """Add up the tokens of known pieces; note hash, text, begin and end of the others, and give their number."""
    unknown = 0
    for text in range(len(offsets) - 1):
        begin, end = offsets[text], offsets[text + 1]
        start, state = begin, _AT_START
        for place in range(begin, end):
            if place > begin and roles[data[place]] >= _MARK and _is_edge(data, roles, begin, place):
                if not _add(state, text, known, tokens, counts):
                    hashes[unknown] = _finish(state)
                    places[unknown, 0], places[unknown, 1], places[unknown, 2] = text, start, place
                    unknown += 1
                start, state = place, _WITHIN
            state = (state ^ np.uint64(data[place])) * _PRIME
        if end > begin and not _add(state, text, known, tokens, counts):
            hashes[unknown] = _finish(state)
            places[unknown, 0], places[unknown, 1], places[unknown, 2] = text, start, end
            unknown += 1
    return unknown


@compiled
def _add(state: np.uint64, text: int, known: Hashes, tokens: Counts, counts: Counts) -> bool:
    slot = _slot(_finish(state), known)
    if known[slot] == _FREE:
        return False
    counts[text] += tokens[slot]
    return True


@compiled
def _is_edge(data: Bytes, roles: Bytes, begin: int, place: int) -> bool:
    before = data[place - 1]
    if roles[before] == _LETTER:
        return True
    if roles[data[place]] != _SPACE or before <= 0x20 or before == 0x7F:
        return False
    if before < 0x80:
        return True
    lead = place - 1
    while lead > begin and data[lead] & 0xC0 == 0x80:
        lead -= 1
    first, second = data[lead], data[lead + 1]
    # Some of these are white space, or nothing at all, to one tokenizer or another.
    if first == 0xC2 or first == 0xE2 or first >= 0xEF:
        return False
    return not (first == 0xE1 and (second == 0x9A or second == 0xA0)) and not (first == 0xE3 and second == 0x80)


@compiled
def _finish(state: np.uint64) -> np.uint64:
    state ^= state >> np.uint64(32)
    return state if state != _FREE else np.uint64(1)


@compiled
def _slot(state: np.uint64, known: Hashes) -> np.uint64:
    """Where a hash stands, or the free slot where it would."""
    last = np.uint64(len(known) - 1)
    slot = (state * _SPREAD) >> np.uint64(20) & last
    while known[slot] != _FREE and known[slot] != state:
        slot = (slot + np.uint64(1)) & last
    return slot


@compiled
def _insert(known: Hashes, tokens: Counts, hashes: Hashes, counts: Counts) -> None:
    for index in range(len(hashes)):
        slot = _slot(hashes[index], known)
        known[slot], tokens[slot] = hashes[index], counts[index]
