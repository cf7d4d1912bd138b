"""Whole columns of messages written as a layout says, without Python per row."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks.algorithms.chat.layouts import LaidText, Layout, Place, trimmed
from tasks.algorithms.chat.rendered_rows import RenderedRows
from tasks.algorithms.chat.symbolic_text import Field, Piece
from tasks.algorithms.tokens.arrays import Flags, Places, Ranges

Columns = Mapping[Field, pa.LargeStringArray]
"""A field of the same number of conversations each, never null nor empty."""

_SPACE, _FIRST_BEYOND_ASCII = 0x20, 0x80


def text_edges(texts: pa.LargeStringArray) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """The first and the last byte of each text; the texts are not empty."""
    offsets, data = text_bytes(texts)
    return data[offsets[:-1]], data[offsets[1:] - 1]


def text_bytes(texts: pa.LargeStringArray) -> tuple[Places, npt.NDArray[np.uint8]]:
    """The offsets (n + 1) of the texts, and the bytes that they point to."""
    if not len(texts):
        return np.zeros(1, np.int64), np.empty(0, np.uint8)
    _, offsets, data = texts.buffers()
    places = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return places, np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)


def may_be_space(edges: npt.NDArray[np.uint8]) -> Flags:
    """True for all bytes of white space; also for other control characters, and bytes of other letters than ASCII's."""
    return np.asarray((edges <= _SPACE) | (edges >= _FIRST_BEYOND_ASCII))


def written(piece: Piece, columns: Columns) -> pa.LargeStringArray:
    """A field's column, trimmed as Python does it."""
    texts = columns[piece.field]
    if not piece.trims or not len(texts):
        return texts
    first, last = text_edges(texts)
    # Python and Arrow do not agree on what is white space. Between other ASCII characters there is nothing to trim.
    trimmable = may_be_space(first) | may_be_space(last)
    if not trimmable.any():
        return texts
    made = pa.array([trimmed(text, piece) for text in texts.filter(pa.array(trimmable)).to_pylist()], pa.large_string())
    return pc.replace_with_mask(texts, pa.array(trimmable), made)


def rows_fitting(layout: Layout, columns: Columns, rows: int) -> Flags:
    """The conversations that are as the layout takes them to be."""
    fitting = np.ones(rows, np.bool_)
    for field, absent in layout.absent:
        fitting &= ~np.asarray(pc.match_substring(columns[field], absent))
    for piece, begin in layout.other_begins:
        fitting &= ~np.asarray(pc.starts_with(written(piece, columns), begin))
    return fitting


def laid_rows(laid: LaidText, columns: Columns, rows: Places) -> RenderedRows:
    """One text of each conversation; `rows` are the conversations' places in the batch."""
    columns = {piece.field: columns[piece.field] for piece in laid.pieces}
    pieces = {piece: written(piece, columns) for piece in set(laid.pieces)}
    lengths = np.zeros((len(laid.pieces) + 1, len(rows)), np.int64)
    for number, piece in enumerate(laid.pieces):
        np.add(lengths[number], np.diff(text_bytes(pieces[piece])[0]), out=lengths[number + 1])

    def bytes_before(place: Place) -> Places:
        return np.asarray(lengths[place.pieces] + place.literal_bytes)

    count, empty = len(laid.spans), np.empty((0, len(rows)), np.int64)
    begins = np.stack([bytes_before(span.begin) for span in laid.spans]) if count else empty
    ends = np.stack([bytes_before(span.end) for span in laid.spans]) if count else empty
    offsets = np.arange(len(rows) + 1, dtype=np.int64) * count
    return RenderedRows(
        _texts(laid, pieces, len(rows)),
        rows,
        Ranges(offsets, begins.T.ravel(), ends.T.ravel()),
        np.tile(np.array([span.turn for span in laid.spans], np.int64), len(rows)),
        Ranges(np.zeros(len(rows) + 1, np.int64), np.empty(0, np.int64), np.empty(0, np.int64)),
    )


def _texts(laid: LaidText, pieces: Mapping[Piece, pa.LargeStringArray], rows: int) -> pa.LargeStringArray:
    if not laid.pieces:
        return pa.array([laid.literals[0]] * rows, pa.large_string())
    literals = [pa.scalar(literal, pa.large_string()) for literal in laid.literals]
    between = [each for pair in zip(literals, map(pieces.__getitem__, laid.pieces), strict=False) for each in pair]
    return pc.binary_join_element_wise(*between, literals[-1], pa.scalar("", pa.large_string()))
