"""Parquet: some rows of one row group in memory at a time."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.formats.row import Row, RowError
from tasks.sources.text import require_own, shown

ROWS_PER_BATCH = 1024

_FAULTS = (pa.ArrowException, OSError, ValueError, OverflowError, KeyError)


def read(file: BinaryIO) -> Iterator[tuple[int, Row | RowError, str]]:
    """Rows by number in the file; raises `ValueError` or Arrow's errors for a file that is no whole Parquet.

    Where a row group breaks off, each of its remaining rows is an error, since the footer tells how many there were.
    """
    head = file.read(64)
    if not head.startswith(b"PAR1"):
        require_own(head)
    file.seek(0)
    parquet = pq.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False, page_checksum_verification=True)
    require_distinct(parquet.schema_arrow.names)
    _require_consistent(parquet.metadata)
    number = 0
    for group in range(parquet.num_row_groups):
        for row, raw in _group(parquet, group):
            number += 1
            yield number, row, raw


def require_distinct(names: Sequence[str]) -> None:
    """Refuse a table in which two columns share a name: which one holds the text would be left to chance."""
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise ValueError(f"two columns are called {', '.join(map(repr, twice))}; rename one")


def _require_consistent(metadata: pq.FileMetaData) -> None:
    """Counts of a damaged footer are not to be believed: they are the number of rejects to be given."""
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    counts = [group.num_rows for group in groups]
    values = [group.column(column).num_values for group in groups for column in range(metadata.num_columns)]
    of_rows = [group.num_rows for group in groups for _ in range(metadata.num_columns)]
    if sum(counts) != metadata.num_rows or any(held < rows for held, rows in zip(values, of_rows, strict=True)):
        raise ValueError("the footer's row counts contradict one another; the file is damaged")


def _group(parquet: pq.ParquetFile, group: int) -> Iterator[tuple[Row | RowError, str]]:
    rows = parquet.metadata.row_group(group).num_rows
    given, cause = 0, "it breaks off"
    try:
        for batch in parquet.iter_batches(ROWS_PER_BATCH, row_groups=[group]):
            for row in _rows(batch):
                given += 1
                yield row, row.detail if isinstance(row, RowError) else shown(row)
    except (pa.ArrowException, OSError) as error:
        cause = str(error)
    for _ in range(rows - given):
        yield RowError("unreadable row group", f"row group {group} of {rows:,} rows: {cause}"), ""


def _rows(batch: pa.RecordBatch) -> list[Row | RowError]:
    binary = [field.name for field in batch.schema if _is_binary(field.type)]
    try:
        rows = _without_nan(batch).to_pylist(maps_as_pydicts="strict")
    except _FAULTS as error:
        if batch.num_rows == 1:
            return [_fault(error)]
        return [row for index in range(batch.num_rows) for row in _rows(batch.slice(index, 1))]
    for name in binary:
        for row in rows:
            row[name] = _text(row[name])
    return list(rows)


def _without_nan(batch: pa.RecordBatch) -> pa.RecordBatch:
    """NaN in a column of numbers is how pandas writes a missing value."""
    for index, field in enumerate(batch.schema):
        if pa.types.is_floating(field.type) and not pa.types.is_float16(field.type):
            column = batch.column(index)
            batch = batch.set_column(index, field, pc.if_else(pc.is_nan(column), None, column))
    return batch


def _is_binary(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _text(value: Any) -> Any:
    """Bytes as text where they are any: some writers do not mark their text as such. Pictures stay bytes."""
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        return value


def _fault(error: Exception) -> RowError:
    if isinstance(error, UnicodeDecodeError):
        return RowError("not UTF-8", str(error))
    return RowError("unreadable value", f"{type(error).__name__}: {error}")
