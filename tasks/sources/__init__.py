"""The shelf of file kinds: each reads one file in bounded memory and gives its rows with their 1-based numbers."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pyarrow as pa

from tasks.artifacts.resource import Resource, open_seekable, open_stream
from tasks.formats.row import Row, RowError
from tasks.sources import csv_rows, json_array, json_lines, parquet_rows
from tasks.sources.text import BYTES_PER_BLOCK, text_blocks
from tasks.sources.watched import Seen, WatchedFile

Rows = Iterator[tuple[int, Row | RowError, str]]
"""Number, the row or what is wrong with it, and how it looked (at most 500 characters, for a reject)."""

TEXT_READERS: dict[str, Callable[[Iterator[bytes]], Rows]] = {
    ".jsonl": json_lines.read,
    ".ndjson": json_lines.read,
    ".json": json_array.read,
    ".csv": csv_rows.read,
    ".tsv": csv_rows.read_tabs,
}
PARQUET = ".parquet"
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
ENDINGS = tuple(kind + packing for kind in (*TEXT_READERS, PARQUET) for packing in ("", *COMPRESSIONS))
"""How the names of readable files end."""


class UnreadableFileError(Exception):
    """A whole file that cannot be read."""


class _Kind(NamedTuple):
    reader: str
    compression: str | None


def read_rows(resource: Resource, file: str, seen: Seen | None = None) -> Rows:
    """The rows of a file of a resource, whose kind its name's ending tells.

    Raises `UnreadableFileError` for a file that is not what it is called or breaks off, and `ResourceError` where it
    is no longer the one that was fingerprinted. Both may come after rows: what was made of them is not to be kept.
    Tells of the bytes of each piece that is read, where somebody wants to know.
    """
    kind = _kind(file)
    try:
        if kind.reader == PARQUET:
            with _seekable(resource, file, kind.compression, seen) as seekable:
                yield from parquet_rows.read(seekable)
        else:
            with _stream(resource, file, kind.compression, seen) as stream:
                yield from TEXT_READERS[kind.reader](text_blocks(stream))
    except (ValueError, RecursionError, OSError, pa.ArrowException) as error:
        raise UnreadableFileError(f"{file}: not a readable {kind.reader} file: {error}") from error


def _kind(file: str) -> _Kind:
    name = file.rsplit("/", 1)[-1].lower()
    packing = next((ending for ending in COMPRESSIONS if name.endswith(ending)), "")
    name = name.removesuffix(packing)
    for kind in (*TEXT_READERS, PARQUET):
        if name.endswith(kind):
            return _Kind(kind, COMPRESSIONS.get(packing))
    _, dot, ending = name.rpartition(".")
    raise UnreadableFileError(
        f"{file}: no reader for {dot + ending + packing if dot else 'a name without ending'}; known: "
        f"{', '.join((*TEXT_READERS, PARQUET))}, each also {' or '.join(COMPRESSIONS)}. "
        "Name the source's files with a glob, such as folder/*.jsonl, or take this one away"
    )


@contextmanager
def _stream(resource: Resource, file: str, compression: str | None, seen: Seen | None) -> Iterator[Any]:
    with open_stream(resource, file) as stream:
        watched = WatchedFile(stream, seen) if seen else stream
        yield _unpacked(watched, compression) if compression else watched


@contextmanager
def _seekable(resource: Resource, file: str, compression: str | None, seen: Seen | None) -> Iterator[Any]:
    if compression is None:
        with open_seekable(resource, file) as seekable:
            yield WatchedFile(seekable, seen) if seen else seekable
        return
    with tempfile.TemporaryFile() as copy:
        with _stream(resource, file, compression, seen) as stream:
            shutil.copyfileobj(stream, copy, BYTES_PER_BLOCK)
        copy.seek(0)
        yield copy


def _unpacked(stream: Any, compression: str) -> pa.NativeFile:
    return pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), compression)
