"""How long texts are: quantiles, and a histogram whose bands grow with the length."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

BANDS_PER_DECADE = 6

Lengths = npt.NDArray[np.integer[Any]]

EDGES = np.array([0, 1, 2, 3, 5, 7, *(round(10 ** (step / BANDS_PER_DECADE)) for step in range(6, 49))])
"""Where bands begin: 0, 1, 2, 3, 5, 7, 10, 15, 22, 32, 46, 68, 100 … 100 million."""


class Quantiles(NamedTuple):
    """Lengths below which so many percent of the texts stay."""

    p5: int
    median: int
    p95: int
    longest: int


class Band(NamedTuple):
    """Texts of one band of lengths, both ends included."""

    shortest: int
    longest: int
    rows: int


def quantiles(lengths: Lengths) -> Quantiles:
    """Lengths that texts have (no means between two of them); all zero where there are no texts."""
    if not len(lengths):
        return Quantiles(0, 0, 0, 0)
    found = np.quantile(lengths, [0.05, 0.5, 0.95, 1.0], method="inverted_cdf")
    return Quantiles(*(int(each) for each in found))


def bands(lengths: Lengths) -> list[Band]:
    """Texts by length, from the first band that holds any to the last."""
    places = np.searchsorted(EDGES, lengths, side="right") - 1
    counts = np.bincount(places, minlength=len(EDGES))
    filled = np.flatnonzero(counts)
    if not len(filled):
        return []
    ends = np.append(EDGES[1:] - 1, max(int(np.max(lengths)), int(EDGES[-1])))
    chosen = range(filled[0], filled[-1] + 1)
    return [Band(int(EDGES[place]), int(ends[place]), int(counts[place])) for place in chosen]
