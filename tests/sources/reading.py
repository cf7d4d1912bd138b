"""Files made of bytes, read as a source's files are."""

import io
import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.artifacts.resource import read_resource
from tasks.formats.row import RowError
from tasks.sources import read_rows

Read = list[tuple[int, Any]]


def read(name: str, data: bytes) -> Read:
    """Rows by number; a faulty row as its cause."""
    return [(number, row.cause if isinstance(row, RowError) else row) for number, row, _ in read_whole(name, data)]


def read_whole(name: str, data: bytes) -> list[tuple[int, Any, str]]:
    """Rows by number, with how they looked."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).write_bytes(data)
        rows = list(read_rows(read_resource(folder), name))
    for number, row, raw in rows:
        assert number >= 1
        assert len(raw) <= 500
        raw.encode()
        assert isinstance(row, RowError | dict)
    return rows


def parquet(table: pa.Table | dict[str, Any], **settings: Any) -> bytes:
    """A table as a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table if isinstance(table, pa.Table) else pa.table(table), sink, **settings)
    return sink.getvalue()


def json_lines(*rows: Any) -> bytes:
    """Rows as JSON Lines."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)
