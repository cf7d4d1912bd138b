"""Rendered texts of some rows of a batch: put together, in the batch's order."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from tasks.algorithms.tokens.arrays import Places, Ranges

CharacterRange = tuple[int, int]


class RenderedRows(NamedTuple):
    """Texts, as `Rendered` has them, in any order of rows."""

    texts: pa.LargeStringArray
    rows: Places
    trained: Ranges
    turns: Places
    plain: Ranges


class TextRanges(NamedTuple):
    """One text, and what is said of its characters."""

    text: str
    trained: Sequence[tuple[int, int, int]]
    """Begin, end and message."""
    plain: Sequence[CharacterRange]


def rows_of(texts: Sequence[TextRanges], rows: Sequence[int]) -> RenderedRows:
    """Texts that were rendered one by one."""
    trained = [in_bytes(each.text, [(begin, end) for begin, end, _ in each.trained]) for each in texts]
    turns = [turn for each in texts for _, _, turn in each.trained]
    return RenderedRows(
        pa.array([each.text for each in texts], pa.large_string()),
        np.array(rows, np.int64),
        _ranges(trained),
        np.array(turns, np.int64),
        _ranges([in_bytes(each.text, each.plain) for each in texts]),
    )


def in_order(parts: Sequence[RenderedRows]) -> RenderedRows:
    """All rows of the parts, in the order of the batch; texts of one row stay in order."""
    rows = np.concatenate([part.rows for part in parts]) if parts else np.empty(0, np.int64)
    texts = pa.concat_arrays([part.texts for part in parts]) if parts else pa.array([], pa.large_string())
    trained, plain = _joined([part.trained for part in parts]), _joined([part.plain for part in parts])
    turns = np.concatenate([part.turns for part in parts]) if parts else np.empty(0, np.int64)
    whole = RenderedRows(texts, rows, trained, turns, plain)
    return whole if (rows[1:] >= rows[:-1]).all() else take(whole, np.argsort(rows, kind="stable"))


def take(whole: RenderedRows, order: Places) -> RenderedRows:
    """The texts at these places."""
    trained, plain = members(whole.trained.offsets, order), members(whole.plain.offsets, order)
    return RenderedRows(
        whole.texts.take(pa.array(order)),
        whole.rows[order],
        _taken(whole.trained, order, trained),
        whole.turns[trained],
        _taken(whole.plain, order, plain),
    )


def same(left: RenderedRows, right: RenderedRows) -> bool:
    """Whether both have the same rows, texts and trained ranges."""
    pairs = (
        (left.rows, right.rows),
        (left.turns, right.turns),
        (left.trained.offsets, right.trained.offsets),
        (left.trained.begins, right.trained.begins),
        (left.trained.ends, right.trained.ends),
    )
    return all(np.array_equal(mine, other) for mine, other in pairs) and left.texts.equals(right.texts)


def in_bytes(text: str, ranges: Sequence[CharacterRange]) -> list[CharacterRange]:
    """Ranges of characters as ranges of the text's UTF-8 bytes."""
    if text.isascii():
        return list(ranges)
    reached, reached_bytes, places = 0, 0, {0: 0}
    for character in sorted({place for each in ranges for place in each}):
        reached_bytes += len(text[reached:character].encode())
        reached = character
        places[character] = reached_bytes
    return [(places[begin], places[end]) for begin, end in ranges]


def _ranges(texts: Sequence[Sequence[CharacterRange]]) -> Ranges:
    flat = np.array([each for text in texts for each in text], np.int64).reshape(-1, 2)
    return Ranges(_offsets(np.array([len(text) for text in texts], np.int64)), flat[:, 0].copy(), flat[:, 1].copy())


def _joined(parts: Sequence[Ranges]) -> Ranges:
    counts = [np.diff(part.offsets) for part in parts]
    empty = [np.empty(0, np.int64)]
    return Ranges(
        _offsets(np.concatenate(counts or empty)),
        np.concatenate([part.begins for part in parts] or empty),
        np.concatenate([part.ends for part in parts] or empty),
    )


def _offsets(counts: Places) -> Places:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])


def members(offsets: Places, order: Places) -> Places:
    """The places of what belongs to these of the n things; that of thing i is from `offsets[i]` to `offsets[i + 1]`."""
    begins, counts = offsets[order], offsets[order + 1] - offsets[order]
    ends = np.cumsum(counts)
    return np.asarray(np.arange(int(counts.sum()), dtype=np.int64) + np.repeat(begins - (ends - counts), counts))


def _taken(ranges: Ranges, order: Places, members: Places) -> Ranges:
    counts = ranges.offsets[order + 1] - ranges.offsets[order]
    return Ranges(_offsets(counts), ranges.begins[members], ranges.ends[members])
