"""Which rows of a benchmark's files are asked, and which are its few-shot examples."""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from tasks.artifacts.resource import Resource
from tasks.benchmarks.item import BenchmarkError, rows_of

Row = tuple[str, Mapping[str, Any]]
"""Where a row lies, and the row."""

_SPLIT = re.compile(r"(?:^|[-_.])(auxiliary_train|train|validation|valid|val|dev|test)(?=$|[-_.])", re.I)
_SAME = {"val": "validation", "valid": "validation"}


def parted(benchmark: Resource, asked: str, examples: str) -> tuple[list[Row], list[Row]]:
    """The rows of the split that is asked, and those of the split that examples are taken from.

    A row's split is told by its column `split`, or else, of several files, by the file's name or folder
    (`test-00000-of-00001.parquet`). Where nothing is of the split to be asked, everything is asked that is not of the
    split of the examples.
    """
    several = len(benchmark.files) > 1
    named = [(_split(place, row, several), (place, row)) for place, row in rows_of(benchmark)]
    known = any(split == asked for split, _ in named)
    chosen = [row for split, row in named if (split == asked if known else split != examples)]
    if named and not chosen:
        raise BenchmarkError(
            f"benchmark {benchmark.facts['name']}: all {len(named)} rows of {benchmark.uri} are of the split "
            f"{examples}, which examples are taken from; add rows of the split {asked}"
        )
    return chosen, [row for split, row in named if split == examples]


def first_examples(benchmark: Resource, rows: Sequence[Row], split: str, what: str = "") -> list[Row]:
    """As many of the first examples as the benchmark is to show; an error where there are fewer."""
    wanted: int = benchmark.facts["few_shot"]
    if len(rows) < wanted:
        raise BenchmarkError(
            f"benchmark {benchmark.facts['name']}: {wanted} examples{what} are to stand in front of a question, and "
            f"{benchmark.uri} holds {len(rows)} rows of the split {split}; add its file, or set few_shot: 0"
        )
    return list(rows[:wanted])


def _split(place: str, row: Mapping[str, Any], several: bool) -> str:
    given = row.get("split")
    if not isinstance(given, str):
        file = PurePosixPath(place.rsplit(":", 1)[0])
        found = (_SPLIT.search(file.name) or _SPLIT.search(file.parent.name)) if several else None
        given = found[1] if found else ""
    return _SAME.get(given.lower(), given.lower())
