"""Parquet: one row group in memory at a time."""

import io
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.formats.row import Row, RowError
from tasks.sources.json_lines import RAW_CHARACTERS, require_distinct


def read(data: bytes) -> Iterator[tuple[int, Row | RowError, str]]:
    """Rows by number in the file; raises `ValueError` for a file that is no whole Parquet."""
    try:
        file = pq.ParquetFile(io.BytesIO(data))
        require_distinct(file.schema_arrow.names)
        number = 0
        for group in range(file.num_row_groups):
            for row in file.read_row_group(group).to_pylist():
                number += 1
                yield number, row, str(row)[:RAW_CHARACTERS]
    except (pa.ArrowException, OSError, OverflowError) as error:
        raise ValueError(str(error)) from error
