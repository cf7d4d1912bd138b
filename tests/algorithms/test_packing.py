"""Packed rows hold every sample once and never too much."""

import time
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.algorithms.packing import pack


@given(lengths=st.lists(st.integers(1, 50), max_size=200), capacity=st.integers(50, 120))
def test_every_sample_once_and_no_row_too_long(lengths: list[int], capacity: int) -> None:
    rows = pack(lengths, capacity)
    assert sorted(chain.from_iterable(rows)) == list(range(len(lengths)))
    assert all(0 < sum(lengths[index] for index in row) <= capacity for row in rows)
    # Best fit decreasing never leaves two rows that would fit into one.
    assert sum(2 * sum(lengths[index] for index in row) <= capacity for row in rows) <= 1


def test_the_order_decides_among_equal_lengths() -> None:
    assert pack([5, 5, 5], 5, [2, 0, 1]) == [[2], [0], [1]]


@pytest.mark.parametrize("length", [0, 11, -1])
def test_a_sample_that_fits_no_row_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="rows hold 1 to 10"):
        pack([3, length], 10)


def test_a_million_samples_fill_their_rows_in_seconds() -> None:
    lengths = np.random.default_rng(0).geometric(1 / 300, 1_000_000).clip(1, 2048).tolist()
    began = time.monotonic()
    rows = pack(lengths, 2048)
    assert time.monotonic() - began < 10
    assert sum(lengths) / (len(rows) * 2048) > 0.99
