"""What ids say, stretch by stretch of a text, where a tokenizer changes texts and they do not spell it byte by byte.

A stretch is as far as tokens are trained, or are not: labels can be wrong at its edges only.
"""

import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np

from tasks.algorithms.compiled import compiled
from tasks.algorithms.masks.loops import Bytes
from tasks.algorithms.masks.vocabulary import Vocabulary
from tasks.algorithms.tokens.arrays import Flags, Ids, Places, Tokens

Alike = Literal["composed", "folded"]
"""What need not be the same: how characters are composed (NFC); or what tokenizers change besides: case, accents, white
space, compatibility forms, control characters."""
_SPACE, _UPPER_A, _UPPER_Z, _TO_LOWER = 0x20, 0x41, 0x5A, 0x20
_CONTEXT = 20
"""How much of what is the same is told before what is not, in characters."""


class Stretch(NamedTuple):
    """Tokens of one text, counted over the batch, and the bytes that they stand for, counted over all texts."""

    first: int
    stop: int
    begin: int
    end: int


class Written:
    """A batch and what its ids are written with."""

    def __init__(self, data: Bytes, bounds: Places, tokens: Tokens, trained: Flags, vocabulary: Vocabulary) -> None:
        self._data, self._bounds, self._tokens, self._trained = data, bounds, tokens, trained
        self._vocabulary = vocabulary

    def fault(self, text: int, alike: Alike) -> str | None:
        """The first place of a text where its ids say something else; nothing where there is none."""
        told = (self._told(each, alike) for each in self._stretches(text))
        return next((each for each in told if each), None)

    def odd(self) -> Flags:
        """Texts that may have a fault."""
        tokens = self._tokens
        columns = tokens.offsets, tokens.ids, tokens.begins, self._trained
        return np.asarray(_are_odd(self._data, self._bounds, *columns, *self._vocabulary.written))

    @property
    def unknown_word(self) -> str:
        """How the token for what has none is written."""
        unknown = self._vocabulary.unknown
        return "" if unknown is None else self._word(unknown).decode(errors="replace")

    def unknown(self) -> Iterator[tuple[int, int]]:
        """Texts that train the token for what has none, and where: unless they spell it themselves."""
        ids, unknown = self._tokens.ids, self._vocabulary.unknown
        if unknown is None:
            return
        spelled = self._word(unknown)
        for place in np.flatnonzero((ids == unknown) & self._trained).tolist():
            text = int(np.searchsorted(self._tokens.offsets, place, side="right")) - 1
            if spelled not in self._piece(text, place):
                yield text, place

    def _piece(self, text: int, place: int) -> bytes:
        base = self._bounds[text]
        return self._data[base + self._tokens.begins[place] : base + self._tokens.ends[place]].tobytes()

    def _word(self, token: int) -> bytes:
        data, offsets = self._vocabulary.written
        return data[offsets[token] : offsets[token + 1]].tobytes() if 0 <= token < len(offsets) - 1 else b""

    def _stretches(self, text: int) -> Iterator[Stretch]:
        first, stop = self._tokens.offsets[text : text + 2].tolist()
        base, end = self._bounds[text : text + 2].tolist()
        edges = (np.flatnonzero(np.diff(self._trained[first:stop])) + first + 1).tolist()
        for one, other in pairwise([first, *edges, stop]):
            begin = base if one == first else base + int(self._tokens.begins[one])
            yield Stretch(one, other, begin, end if other == stop else base + int(self._tokens.begins[other]))

    def _told(self, stretch: Stretch, alike: Alike) -> str | None:
        text = self._data[stretch.begin : stretch.end].tobytes().decode(errors="replace")
        said = self._said(stretch)
        if alike == "composed":
            wanted, found = unicodedata.normalize("NFC", text), unicodedata.normalize("NFC", said)
        else:
            wanted, found = _folded(text), _folded(said)
        if wanted == found:
            return None
        same = next((n for n, (one, other) in enumerate(zip(wanted, found, strict=False)) if one != other), None)
        begin = max(0, (min(len(wanted), len(found)) if same is None else same) - _CONTEXT)
        return (
            f"ids spell {found[begin:]!r:.60} where the text says {wanted[begin:]!r:.60} (white space and case apart)"
        )

    def _said(self, stretch: Stretch) -> str:
        """What the ids are written with, and what the text says where they stand for what is unknown."""
        text = int(np.searchsorted(self._tokens.offsets, stretch.first, side="right")) - 1
        ids = self._tokens.ids[stretch.first : stretch.stop].tolist()
        unknown = self._vocabulary.unknown
        parts = (self._piece(text, n) if t == unknown else self._word(t) for n, t in enumerate(ids, stretch.first))
        return b"".join(parts).decode(errors="replace")


@compiled
def _are_odd(
    data: Bytes,
    bounds: Places,
    offsets: Places,
    ids: Ids,
    begins: Places,
    trained: Flags,
    written: Bytes,
    written_bounds: Places,
) -> Flags:
    """Texts whose stretches are not surely written as they say, white space and the case of ASCII letters apart."""
    odd = np.zeros(len(bounds) - 1, dtype=np.bool_)
    for text in range(len(odd)):
        at, end = int(bounds[text]), int(bounds[text + 1])
        for token in range(offsets[text], offsets[text + 1]):
            if token > offsets[text] and trained[token] != trained[token - 1]:
                edge = min(int(bounds[text] + begins[token]), end)
                at = _behind_space(data, at, edge)
                odd[text] |= at != edge
            at = -1 if odd[text] else _behind_word(data, at, end, ids[token], written, written_bounds)
            if at < 0:
                odd[text] = True
                break
        odd[text] = odd[text] or _behind_space(data, at, end) != end
    return odd


@compiled
def _behind_word(data: Bytes, at: int, end: int, token: int, written: Bytes, bounds: Places) -> int:
    """The place behind what an id is written with; -1 where something else stands."""
    if token < 0 or token >= len(bounds) - 1:
        return -1
    for place in range(bounds[token], bounds[token + 1]):
        wanted = _lower(written[place])
        if wanted == _SPACE:
            continue
        at = _behind_space(data, at, end)
        if at >= end or _lower(data[at]) != wanted:
            return -1
        at += 1
    return at


@compiled
def _behind_space(data: Bytes, at: int, end: int) -> int:
    while at < end and _lower(data[at]) == _SPACE:
        at += 1
    return at


@compiled
def _lower(byte: int) -> int:
    if 0x09 <= byte <= 0x0D:
        return _SPACE
    return byte + _TO_LOWER if _UPPER_A <= byte <= _UPPER_Z else byte


def _folded(text: str) -> str:
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return apart.translate(_KEPT)


class _Kept(dict[int, int | None]):
    """Code points as `str.translate` has them, without what tokenizers drop; grows as it is asked."""

    def __missing__(self, point: int) -> int | None:
        kind = unicodedata.category(chr(point))
        self[point] = None if kind[0] in "ZC" or kind == "Mn" or chr(point) == "▁" else point
        return self[point]


_KEPT = _Kept()
