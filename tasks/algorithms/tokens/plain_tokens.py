"""The tokenizer's own answer for whole texts, as flat arrays: the way that is right for every tokenizer."""

from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
import pyarrow as pa
from tokenizers import Encoding, Tokenizer

from tasks.algorithms.compiled import compiled
from tasks.algorithms.tokens.arrays import Flags, Ids, Places, Tokens
from tasks.algorithms.word_hashes import Bytes, Offsets, buffers

TEXTS_AT_A_TIME = 512
"""The library holds some hundred bytes a token; ours are 20."""


def plain_tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> Tokens:
    """Ids and byte ranges of all tokens, special ones only where a text spells them."""
    parts = [texts[start : start + TEXTS_AT_A_TIME] for start in range(0, len(texts), TEXTS_AT_A_TIME)]
    return joined_tokens([_tokens(tokenizer, part) for part in parts])


def character_starts(texts: pa.Array) -> tuple[Places, Places]:
    """The byte, from the beginning of its text, at which each character begins; each text's end counts as one more.

    The second array says where each text's begin in the first.
    """
    data, offsets = buffers(texts)
    return _starts(data, offsets)


def joined_tokens(parts: Sequence[Tokens]) -> Tokens:
    """The texts of several batches as one."""
    lengths = [np.diff(part.offsets) for part in parts]
    return Tokens(
        offsets=np.concatenate([np.zeros(1, dtype=np.int64), *lengths]).cumsum(),
        ids=np.concatenate([np.empty(0, dtype=np.int32), *(part.ids for part in parts)]),
        begins=np.concatenate([np.empty(0, dtype=np.int64), *(part.begins for part in parts)]),
        ends=np.concatenate([np.empty(0, dtype=np.int64), *(part.ends for part in parts)]),
    )


def interleaved(first: Tokens, is_second: Flags, second: Tokens) -> Tokens:
    """The texts of the first, but of the second, one after the other, where the flags say so."""
    lengths = np.diff(first.offsets)
    lengths[is_second] = np.diff(second.offsets)
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), lengths]).cumsum()
    count = int(offsets[-1])
    made = Tokens(offsets, np.empty(count, np.int32), np.empty(count, np.int64), np.empty(count, np.int64))
    sources = np.where(is_second, is_second.cumsum() - 1, np.arange(len(lengths)))
    for chosen, of in ((~is_second, first), (is_second, second)):
        _copy(np.flatnonzero(chosen), sources, of.offsets, of.ids, of.begins, of.ends, *_arrays(made))
    return made


def texts_of(tokens: Tokens, places: Places) -> Tokens:
    """The tokens of some of the texts."""
    lengths = np.diff(tokens.offsets)[places]
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), lengths]).cumsum()
    at = np.repeat(tokens.offsets[:-1][places] - offsets[:-1], lengths) + np.arange(offsets[-1])
    return Tokens(offsets, tokens.ids[at], tokens.begins[at], tokens.ends[at])


def are_equal(one: Tokens, other: Tokens) -> bool:
    """Whether texts have the same tokens at the same bytes."""
    return (
        np.array_equal(one.offsets, other.offsets)
        and np.array_equal(one.ids, other.ids)
        and np.array_equal(one.begins, other.begins)
        and np.array_equal(one.ends, other.ends)
    )


def _arrays(tokens: Tokens) -> tuple[Places, Ids, Places, Places]:
    return tokens.offsets, tokens.ids, tokens.begins, tokens.ends


def _tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> Tokens:
    encodings: list[Encoding] = tokenizer.encode_batch(texts, add_special_tokens=False)
    ids = [each.ids for each in encodings]
    lengths = np.array([len(each) for each in ids], dtype=np.int64)
    count = int(lengths.sum())
    spans = _integers(chain.from_iterable(chain.from_iterable(each.offsets for each in encodings)), 2 * count)
    starts, first = character_starts(pa.array(texts, pa.large_string()))
    places = spans.reshape(-1, 2) + np.repeat(first[:-1], lengths)[:, None]
    return Tokens(
        offsets=np.concatenate([np.zeros(1, dtype=np.int64), lengths]).cumsum(),
        ids=_integers(chain.from_iterable(ids), count).astype(np.int32),
        begins=starts[places[:, 0]],
        ends=starts[places[:, 1]],
    )


def _integers(values: Iterable[int], count: int) -> Places:
    return np.fromiter(values, dtype=np.int64, count=count)


@compiled
def _starts(data: Bytes, offsets: Offsets) -> tuple[Places, Places]:
    starts = np.empty(len(data) + len(offsets), dtype=np.int64)
    first = np.empty(len(offsets), dtype=np.int64)
    count = 0
    for text in range(len(offsets) - 1):
        first[text] = count
        for place in range(offsets[text], offsets[text + 1]):
            if data[place] & 0xC0 != 0x80:
                starts[count] = place - offsets[text]
                count += 1
        starts[count] = offsets[text + 1] - offsets[text]
        count += 1
    first[len(offsets) - 1] = count
    return starts[:count], first


@compiled
def _copy(
    texts: Places,
    sources: Places,
    from_offsets: Places,
    from_ids: Ids,
    from_begins: Places,
    from_ends: Places,
    offsets: Places,
    ids: Ids,
    begins: Places,
    ends: Places,
) -> None:
    for text in texts:
        read = from_offsets[sources[text]]
        for write in range(offsets[text], offsets[text + 1]):
            ids[write], begins[write], ends[write] = from_ids[read], from_begins[read], from_ends[read]
            read += 1
