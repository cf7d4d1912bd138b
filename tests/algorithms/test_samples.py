"""Samples on disk: cut as asked, laid out as rows, against the same in plain lists."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.algorithms.tokens.arrays import Ranges, Rendered, Tokens
from tasks.algorithms.tokens.masking import NOT_TRAINED
from tasks.algorithms.tokens.samples import SEQUENCES, Samples, TooLong


class Turn(NamedTuple):
    """A turn of one-byte tokens, trained or not."""

    tokens: int
    trained: bool


Sample = list[Turn]
SAMPLES = st.lists(st.lists(st.builds(Turn, st.integers(1, 9), st.booleans()), min_size=1, max_size=5), max_size=12)


def batch(samples: list[Sample], first_id: int) -> tuple[Rendered, Tokens, np.ndarray]:
    """Texts whose tokens are their letters, numbered on from an id."""
    lengths = [sum(turn.tokens for turn in sample) for sample in samples]
    begins, ends, turns, counts, flags = [], [], [], [], []
    for sample in samples:
        at = 0
        for number, turn in enumerate(sample):
            if turn.trained:
                begins.append(at)
                ends.append(at + turn.tokens)
                turns.append(number)
            flags += [turn.trained] * turn.tokens
            at += turn.tokens
        counts.append(sum(turn.trained for turn in sample))
    offsets = np.cumsum([0, *counts])
    places = np.concatenate([np.arange(length) for length in lengths]) if lengths else np.empty(0, np.int64)
    none = Ranges(np.zeros(len(samples) + 1, np.int64), np.empty(0, np.int64), np.empty(0, np.int64))
    rendered = Rendered(
        texts=pa.array(["x" * length for length in lengths], pa.large_string()),
        rows=np.arange(len(samples)),
        trained=Ranges(offsets, np.array(begins, np.int64), np.array(ends, np.int64)),
        turns=np.array(turns, np.int64),
        plain=none,
    )
    ids = np.arange(first_id, first_id + len(places), dtype=np.int32)
    tokens = Tokens(np.cumsum([0, *lengths]), ids, places, places + 1)
    return rendered, tokens, np.array(flags, np.bool_)


def expected(sample: Sample, most: int, too_long: TooLong) -> list[tuple[int, int]]:
    """The pieces of a sample, as the words say it."""
    flags = [turn.trained for turn in sample for _ in range(turn.tokens)]
    pieces = [(0, len(flags))]
    if len(flags) > most:
        ends = [sum(turn.tokens for turn in sample[: n + 1]) for n, turn in enumerate(sample) if turn.trained]
        pieces = {
            "cut": [(0, most)],
            "drop": [],
            "turn": [(0, max([end for end in ends if end <= most], default=0))],
            "split": [(begin, min(begin + most, len(flags))) for begin in range(0, len(flags), most)],
        }[too_long]
    return [(begin, end) for begin, end in pieces if any(flags[begin + 1 : end])]


@given(
    first=SAMPLES, second=SAMPLES, most=st.integers(2, 30), too_long=st.sampled_from(["turn", "cut", "split", "drop"])
)
def test_every_way_of_cutting_keeps_what_it_says(
    first: list[Sample], second: list[Sample], most: int, too_long: TooLong
) -> None:
    samples = Samples()
    samples.append(*batch(first, 0))
    samples.append(*batch(second, int(samples.lengths.sum())))
    pieces = samples.cut(most, too_long)
    found: dict[int, list[tuple[int, int]]] = {}
    for sample, begin, end in zip(pieces.sample, pieces.begin, pieces.end, strict=True):
        found.setdefault(int(sample), []).append((int(begin), int(end)))
    wanted = {n: expected(sample, most, too_long) for n, sample in enumerate([*first, *second])}
    assert found == {n: each for n, each in wanted.items() if each}
    assert (pieces.lengths <= most).all()


def test_rows_hold_their_pieces_as_training_takes_them() -> None:
    samples = Samples()
    samples.append(*batch([[Turn(2, False), Turn(3, True)], [Turn(4, True)], [Turn(1, False), Turn(1, True)]], 10))
    pieces = samples.cut(5, "cut")
    names = pa.array(["a", "b", "c"])
    table = samples.rows(pieces, names, order=np.array([1, 2, 0, 2]), offsets=np.array([0, 2, 3, 4]))
    assert table.schema == SEQUENCES
    no = NOT_TRAINED
    assert table.to_pylist() == [
        {
            "input_ids": [15, 16, 17, 18, 19, 20],
            "labels": [no, 16, 17, 18, no, 20],
            "position_ids": [0, 1, 2, 3, 0, 1],
            "seq_lengths": [4, 2],
            "row_ids": ["b", "c"],
        },
        {
            "input_ids": [10, 11, 12, 13, 14],
            "labels": [no, no, 12, 13, 14],
            "position_ids": [0, 1, 2, 3, 4],
            "seq_lengths": [5],
            "row_ids": ["a"],
        },
        {
            "input_ids": [19, 20],
            "labels": [no, 20],
            "position_ids": [0, 1],
            "seq_lengths": [2],
            "row_ids": ["c"],
        },
    ]


@pytest.mark.parametrize("too_long", ["turn", "cut", "split", "drop"])
def test_no_samples_give_no_rows(too_long: TooLong) -> None:
    samples = Samples()
    pieces = samples.cut(8, too_long)
    nothing = np.empty(0, dtype=np.int64)
    assert samples.rows(pieces, pa.array([], pa.string()), nothing, np.zeros(1, np.int64)).num_rows == 0
