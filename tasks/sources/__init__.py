"""The shelf of file kinds: each reads one file and gives its rows with their 1-based numbers."""

from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from tasks.formats.row import Row, RowError
from tasks.sources import csv_rows, json_array, json_lines, parquet_rows

Rows = Iterator[tuple[int, Row | RowError, str]]
"""Number, the row or what is wrong with it, and how it looked (at most 500 characters, for a reject)."""

READERS: dict[str, Callable[[bytes], Rows]] = {
    ".jsonl": json_lines.read,
    ".ndjson": json_lines.read,
    ".json": json_array.read,
    ".parquet": parquet_rows.read,
    ".csv": csv_rows.read,
}


class UnreadableFileError(Exception):
    """A whole file that cannot be read."""


def read_rows(name: str, data: bytes) -> Rows:
    """The rows of a file, whose kind its name's ending tells."""
    kind = PurePosixPath(name).suffix.lower()
    if kind not in READERS:
        raise UnreadableFileError(
            f"{name}: no reader for {kind or 'a name without ending'}; known: {', '.join(READERS)}"
        )
    try:
        yield from READERS[kind](data)
    except (ValueError, RecursionError) as error:
        raise UnreadableFileError(f"{name}: not a readable {kind} file: {error}") from error
