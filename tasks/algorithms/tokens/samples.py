"""Tokenised samples on disk, cut to length and laid out as rows: a set may be larger than memory."""

import tempfile
import weakref
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.algorithms.compiled import compiled
from tasks.algorithms.tokens.arrays import Flags, Ids, Places, Rendered, Tokens
from tasks.algorithms.tokens.masking import NOT_TRAINED

TooLong = Literal["turn", "cut", "split", "drop"]
_TRAINED = np.int32(-(2**31))
"""The highest bit of a stored id: set where the token is trained."""


@dataclass(frozen=True)
class Pieces:
    """Which part of which sample is kept; a sample that is split has several, one that is dropped none."""

    sample: Places
    begin: Places
    end: Places

    @cached_property
    def lengths(self) -> Places:
        """Tokens of each piece."""
        return self.end - self.begin

    def chosen(self, which: Flags | Places) -> "Pieces":
        """Some of the pieces."""
        return Pieces(self.sample[which], self.begin[which], self.end[which])


class Samples:
    """Ids and trained flags of samples in one file, appended batch by batch, then read as if they lay in memory.

    The file has no name, so that not even a killed process leaves it behind.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="fettle-samples-")  # noqa: SIM115 # lives as long as this
        weakref.finalize(self, self._file.close)
        self._written: list[Places] = []
        self._turn_ends: list[Places] = []
        self._turns: list[Places] = []

    def append(self, rendered: Rendered, tokens: Tokens, trained: Flags) -> None:
        """Take in the tokens of a batch of texts."""
        marked = np.where(trained, tokens.ids | _TRAINED, tokens.ids).astype(np.int32)
        try:
            self._file.write(marked.data)
            self._file.flush()
        except OSError as error:
            raise OSError(
                error.errno,
                f"{error.strerror}; token ids are kept in {tempfile.gettempdir()} for a while. Make room there, or set "
                "TMPDIR to another folder",
            ) from error
        for known in ("lengths", "_starts", "marked"):
            self.__dict__.pop(known, None)
        self._written.append(np.diff(tokens.offsets))
        ends, turns = _turn_ends(rendered, tokens)
        self._turn_ends.append(ends)
        self._turns.append(turns)

    @cached_property
    def lengths(self) -> Places:
        """Tokens of each sample."""
        return np.concatenate([np.empty(0, np.int64), *self._written])

    @cached_property
    def _starts(self) -> Places:
        """Where each sample begins among all."""
        return np.cumsum(self.lengths) - self.lengths

    @cached_property
    def marked(self) -> Ids:
        """All samples' ids one after another, negative where they are trained."""
        if not self.lengths.sum():
            return np.empty(0, dtype=np.int32)
        return np.memmap(self._file, dtype=np.int32, mode="r")

    def cut(self, most: int, too_long: TooLong) -> Pieces:
        """Pieces of at most so many tokens, each with a token to train on.

        What is longer ends behind its last whole answer (`turn`), anywhere (`cut`), goes on in a piece of its own
        (`split`), or is not kept (`drop`).
        """
        lengths, samples = self.lengths, np.arange(len(self.lengths))
        pieces = Pieces(samples, np.zeros_like(lengths), np.minimum(lengths, most))
        if too_long == "drop":
            pieces = pieces.chosen(lengths <= most)
        elif too_long == "turn":
            pieces = Pieces(samples, pieces.begin, np.where(lengths <= most, lengths, self._last_turn(most)))
        elif too_long == "split":
            parts = np.maximum(1, -(-lengths // most))
            which = np.repeat(samples, parts)
            begins = most * (np.arange(len(which)) - np.repeat(np.cumsum(parts) - parts, parts))
            pieces = Pieces(which, begins, np.minimum(begins + most, lengths[which]))
        return pieces.chosen(self._trained(pieces) > 0)

    def _last_turn(self, most: int) -> Places:
        """The end of each sample's last whole turn within so many tokens; 0 where there is none."""
        turns = np.concatenate([np.empty(0, np.int64), *self._turns])
        ends = np.concatenate([np.empty(0, np.int64), *self._turn_ends])
        last = np.zeros(len(turns), dtype=np.int64)
        np.maximum.at(last, np.repeat(np.arange(len(turns)), turns), np.where(ends <= most, ends, 0))
        return last

    def _trained(self, pieces: Pieces) -> Places:
        """How many tokens of each piece are trained; the first has nothing before it, so it never is."""
        counts = np.empty(len(pieces.sample), dtype=np.int64)
        _count_trained(self.marked, self._starts[pieces.sample], pieces.begin, pieces.end, counts)
        return counts

    def rows(self, pieces: Pieces, ids: pa.Array, order: Places, offsets: Places) -> pa.Table:
        """Rows of pieces, as training takes them: row r holds the pieces `order[offsets[r]:offsets[r + 1]]`.

        `ids` names the conversation of each sample.
        """
        told = pieces.chosen(order)
        bounds = np.concatenate([[0], np.cumsum(told.lengths)])
        flat = [np.empty(bounds[-1], dtype=np.int32) for _ in range(3)]
        _gather(self.marked, self._starts[told.sample], told.begin, told.end, *flat)
        tokens = pa.array(bounds[offsets], pa.int32())
        samples = pa.array(offsets, pa.int32())
        lists = [pa.ListArray.from_arrays(tokens, pa.array(values)) for values in flat]
        lists += [pa.ListArray.from_arrays(samples, pa.array(told.lengths, pa.int32()))]
        lists += [pa.ListArray.from_arrays(samples, ids.take(pa.array(told.sample)).cast(pa.string()))]
        return pa.Table.from_arrays(lists, schema=SEQUENCES)


_IDS = pa.list_(pa.int32())
SEQUENCES = pa.schema(
    [
        ("input_ids", _IDS),
        ("labels", _IDS),
        ("position_ids", _IDS),
        ("seq_lengths", _IDS),
        ("row_ids", pa.list_(pa.string())),
    ]
)
"""A row of one or more samples: `position_ids` begin again at 0 with each, `seq_lengths` are their token counts."""


def _turn_ends(rendered: Rendered, tokens: Tokens) -> tuple[Places, Places]:
    """Behind which token of its text each trained turn ends, and how many turns each text has."""
    ranges, counts = rendered.trained, np.diff(rendered.trained.offsets)
    text = np.repeat(np.arange(len(counts)), counts)
    last = np.ones(len(text), dtype=np.bool_)
    last[:-1] = (text[1:] != text[:-1]) | (rendered.turns[1:] != rendered.turns[:-1])
    # All texts behind one another, so that one search finds every place.
    bases = np.concatenate([[0], np.cumsum(pa.compute.binary_length(rendered.texts).to_numpy())])
    begins = tokens.begins + np.repeat(bases[:-1], np.diff(tokens.offsets))
    places = np.searchsorted(begins, ranges.ends[last] + bases[text[last]])
    return places - tokens.offsets[text[last]], np.bincount(text[last], minlength=len(counts))


@compiled
def _count_trained(marked: Ids, starts: Places, begins: Places, ends: Places, counts: Places) -> None:
    for piece in range(len(starts)):
        trained = 0
        for place in range(starts[piece] + begins[piece] + 1, starts[piece] + ends[piece]):
            trained += marked[place] < 0
        counts[piece] = trained


@compiled
def _gather(
    marked: Ids, starts: Places, begins: Places, ends: Places, ids: Ids, labels: Ids, positions: npt.NDArray[np.int32]
) -> None:
    at = 0
    for piece in range(len(starts)):
        first = starts[piece] + begins[piece]
        for place in range(first, starts[piece] + ends[piece]):
            token = marked[place] & 0x7FFFFFFF
            ids[at] = token
            labels[at] = token if marked[place] < 0 and place > first else NOT_TRAINED
            positions[at] = place - first
            at += 1
