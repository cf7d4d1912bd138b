"""Where a classifier is weaker than elsewhere: by source, and by length."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tasks.algorithms.classification.matrices import Indicator
from tasks.algorithms.gate.distributions import wilson

_FEWEST_ROWS = 10


class Slice(NamedTuple):
    """Rows that have something in common; rates from 0 to 1."""

    name: str
    """Such as "source web" or "12 to 20 words"."""
    rows: int
    accuracy: float
    low: float
    high: float
    """Ends of Wilson's 95 % interval."""
    difference: float
    """The accuracy minus that of all other rows."""


def slices(lengths: Sequence[int], sources: Sequence[str], correct: Sequence[bool]) -> list[Slice]:
    """Slices by source and by quartile of words, the worst first; those under 10 rows, or of all rows, say nothing."""
    if not len(lengths) == len(sources) == len(correct):
        raise ValueError(
            f"{len(lengths)} lengths, {len(sources)} sources and {len(correct)} answers; give one of each for every row"
        )
    answers = np.asarray(correct, np.bool_)
    members = [*_by_source(sources), *_by_length(lengths)] if len(answers) else []
    found = [
        _slice(name, answers[inside], answers[~inside])
        for name, inside in members
        if _FEWEST_ROWS <= inside.sum() < len(answers)
    ]
    return sorted(found, key=lambda each: (each.accuracy, -each.rows, each.name))


def _by_source(sources: Sequence[str]) -> Iterator[tuple[str, Indicator]]:
    names = np.asarray(sources, np.str_)
    for name in sorted(set(sources)):
        yield f"source {name}", names == name


def _by_length(lengths: Sequence[int]) -> Iterator[tuple[str, Indicator]]:
    words = np.asarray(lengths, np.int64)
    # Actual lengths as bounds: texts of one length are never torn apart.
    bounds = np.unique(np.quantile(words, [0.25, 0.5, 0.75], method="inverted_cdf"))
    quarter = np.searchsorted(bounds, words)
    for each in np.unique(quarter):
        inside = quarter == each
        yield _words(int(words[inside].min()), int(words[inside].max())), inside


def _words(shortest: int, longest: int) -> str:
    if shortest < longest:
        return f"{shortest:,} to {longest:,} words"
    return f"{shortest:,} word" if shortest == 1 else f"{shortest:,} words"


def _slice(name: str, inside: Indicator, outside: Indicator) -> Slice:
    rows, accuracy = len(inside), float(inside.mean())
    low, high = wilson(int(inside.sum()), rows, 0.025)
    return Slice(name, rows, accuracy, low, high, accuracy - float(outside.mean()))
