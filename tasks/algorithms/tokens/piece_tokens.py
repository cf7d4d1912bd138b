"""The tokens of texts, several times faster than the tokenizer: texts are cut at added tokens and at edges, and equal
pieces are tokenised once.

Exact for tokenizers that part their tokens at edges: see `edges`.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from tokenizers import Tokenizer

from tasks.algorithms.tokens.added_tokens import AddedTokens
from tasks.algorithms.tokens.arrays import Flags, Ids, Places, Tokens
from tasks.algorithms.tokens.piece_loops import ROLES, count_tokens, cut, lay_out
from tasks.algorithms.tokens.piece_store import PieceStore
from tasks.algorithms.tokens.plain_tokens import interleaved, joined_tokens, plain_tokens
from tasks.algorithms.word_hashes import buffers

Counts = npt.NDArray[np.int64]

_TEXTS_AT_A_TIME = 4096


class _Part(NamedTuple):
    """Some texts that follow one another, cut into known pieces."""

    texts: pa.Array
    first: int
    """The first one's place among those of the items."""
    items: tuple[Ids, Places, Places]
    lengths: Places
    counts: Counts
    is_whole: Flags
    """Texts that must be tokenised by the tokenizer itself; none of their tokens are counted."""


class PieceTokens:
    """Tokenises whole columns, and remembers the tokens of the pieces that it has seen."""

    def __init__(self, tokenizer: Tokenizer, added: AddedTokens) -> None:
        self._tokenizer, self._added = tokenizer, added
        self._store = PieceStore(tokenizer, added.plainest)

    def tokens(self, texts: pa.Array) -> Tokens:
        """The tokens of each text of a string array without nulls."""
        return joined_tokens([self._laid_out(part) for part in self._parts(texts)])

    def counts(self, texts: pa.Array) -> Counts:
        """The number of tokens of each text."""
        return np.concatenate([np.empty(0, dtype=np.int64), *map(self._counted, self._parts(texts))])

    def _parts(self, texts: pa.Array) -> Iterator[_Part]:
        for start in range(0, len(texts), _TEXTS_AT_A_TIME):
            yield from self._cut(texts.slice(start, _TEXTS_AT_A_TIME))

    def _cut(self, texts: pa.Array) -> Iterator[_Part]:
        """Each part must be used before the next one is asked for, which may make the store forget."""
        data, offsets = buffers(texts)
        most = len(data) + len(texts)
        items = np.empty(most, np.int32), np.empty(most, np.int64), np.zeros(len(texts) + 1, np.int64)
        is_whole = np.zeros(len(texts), dtype=np.bool_)
        added, store, first = (self._added.steps, self._added.token_at, self._added.is_odd), self._store, 0
        while first < len(texts):
            last, known = cut(
                data, offsets, first, ROLES, added, store.slots, store.pieces, store.known, items, is_whole
            )
            store.learn(known)
            if last > first:
                counts = count_tokens(items[0], items[2], first, last, store.firsts, store.is_odd, is_whole)
                part = texts.slice(first, last - first)
                yield _Part(part, first, items, np.diff(offsets), counts, is_whole[first:last])
            if last < len(texts):
                store.make_room(int(offsets[last + 1] - offsets[last]))
            first = last

    def _laid_out(self, part: _Part) -> Tokens:
        offsets = np.concatenate([np.zeros(1, dtype=np.int64), part.counts]).cumsum()
        count = int(offsets[-1])
        ids, begins, ends = np.empty(count, np.int32), np.empty(count, np.int64), np.empty(count, np.int64)
        store = self._store
        lay_out(
            *(part.items, part.first, part.is_whole, store.firsts, store.stored, self._added.ids, part.lengths),
            *(offsets, ids, begins, ends),
        )
        made = Tokens(offsets, ids, begins, ends)
        if not part.is_whole.any():
            return made
        whole = part.texts.filter(pa.array(part.is_whole)).to_pylist()
        return interleaved(made, part.is_whole, plain_tokens(self._tokenizer, whole))

    def _counted(self, part: _Part) -> Counts:
        if part.is_whole.any():
            whole = part.texts.filter(pa.array(part.is_whole)).to_pylist()
            encodings = self._tokenizer.encode_batch_fast(whole, add_special_tokens=False)
            part.counts[part.is_whole] = [len(each) for each in encodings]
        return part.counts
