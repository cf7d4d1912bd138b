"""Tokenised rows from Parquet, in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

Numbers = npt.NDArray[np.int64]
Truth = npt.NDArray[np.bool_]

COLUMNS = ("id", "input_ids", "token_type_ids", "labels")


@dataclass(frozen=True)
class Rows:
    """Rows whose tokens lie one behind the other."""

    input_ids: npt.NDArray[np.int32]
    token_type_ids: npt.NDArray[np.int8]
    bounds: Numbers
    """Where each row begins, and where the last one ends."""
    truth: Truth
    """Of each row and label, whether the row has it."""

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @property
    def lengths(self) -> Numbers:
        """Tokens of each row."""
        return np.diff(self.bounds)

    def tokens(self, row: int) -> slice:
        """Where a row's tokens lie."""
        return slice(int(self.bounds[row]), int(self.bounds[row + 1]))


def read_rows(paths: Sequence[Path], labels: Sequence[str], *, multi_label: bool) -> Rows:
    """All rows of some files, in their order. ValueError where one cannot be trained on."""
    table = pa.concat_tables(_table(path) for path in paths)
    named = ", ".join(str(path) for path in paths)
    if not table.num_rows:
        raise ValueError(f"{named} hold no rows; give at least one file with rows")
    ids, types = _flat(table, "input_ids"), _flat(table, "token_type_ids")
    if not np.array_equal(ids[1], types[1]):
        raise ValueError(f"{named}: input_ids and token_type_ids differ in length; tokenize the rows again")
    if (empty := np.flatnonzero(np.diff(ids[1]) == 0)).size:
        raise ValueError(f"row {table['id'][int(empty[0])]} of {named} has no tokens; leave it out")
    truth = _truth(table, labels, multi_label=multi_label)
    return Rows(ids[0].astype(np.int32), types[0].astype(np.int8), ids[1], truth)


def _table(path: Path) -> pa.Table:
    if missing := sorted(set(COLUMNS) - set(pq.read_schema(path).names)):
        raise ValueError(f"{path} has no column {', '.join(missing)}; files of rows hold {', '.join(COLUMNS)}")
    return pq.read_table(path, columns=list(COLUMNS))


def _flat(table: pa.Table, column: str) -> tuple[npt.NDArray[Any], Numbers]:
    """The values of a column of lists one behind the other, and where each list begins and the last one ends."""
    lists = table[column].combine_chunks()
    values = lists.chunks if isinstance(lists, pa.ChunkedArray) else [lists]
    lengths = [np.diff(each.offsets.to_numpy()) for each in values]
    bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(lengths), dtype=np.int64)])
    return np.concatenate([each.flatten().to_numpy(zero_copy_only=False) for each in values]), bounds


def _truth(table: pa.Table, labels: Sequence[str], *, multi_label: bool) -> Truth:
    places, bounds = _flat(table, "labels")
    counts = np.diff(bounds)
    if not multi_label and (wrong := np.flatnonzero(counts != 1)).size:
        raise ValueError(
            f"row {table['id'][int(wrong[0])]} has {counts[wrong[0]]} labels, but multi_label is not set; "
            "give each row one label, or set multi_label"
        )
    rows = np.repeat(np.arange(len(counts)), counts)
    if (beyond := np.flatnonzero((places < 0) | (places >= len(labels)))).size:
        first = int(beyond[0])
        raise ValueError(
            f"row {table['id'][int(rows[first])]} has label {places[first]}, but there are {len(labels)} labels, "
            "counted from 0; tokenize the rows again"
        )
    truth = np.zeros((len(counts), len(labels)), dtype=np.bool_)
    truth[rows, places] = True
    return truth
