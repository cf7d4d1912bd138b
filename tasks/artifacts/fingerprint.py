"""Identity: a canonical encoding of values, and digests of bytes, files and tables."""

import hashlib
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa

from tasks.artifacts.columns import spell

ROWS_PER_DIGEST_BATCH = 4096
"""A table's digest is taken over batches of this many rows, however its parts are cut."""

_BYTES_PER_READ = 1 << 20


class UnstableValueError(TypeError):
    """A value that cannot be written the same way twice was meant to enter a fingerprint."""


def canonical(value: Any) -> bytes:
    """Encode plain JSON values as bytes, the same in every process and on every machine.

    Raises `UnstableValueError`, naming the place, for everything that has no single spelling: sets, paths, dates,
    bytes, non-finite floats, keys that are not text, objects.
    """
    _require_plain(value, "value")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _require_plain(value: Any, place: str) -> None:
    kind = type(value)
    if value is None or kind in (bool, int):
        return
    if kind is str:
        _require_encodable(value, place)
    elif kind is float:
        if not math.isfinite(value):
            raise UnstableValueError(f"{place} is {value}; only finite numbers can be part of an identity")
    elif kind in (list, tuple):
        for index, item in enumerate(value):
            _require_plain(item, f"{place}[{index}]")
    elif kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise UnstableValueError(f"{place} has the key {key!r} of type {type(key).__name__}; keys must be text")
            _require_encodable(key, place)
            _require_plain(item, f"{place}.{key}")
    else:
        raise UnstableValueError(
            f"{place} is {value!r} of type {kind.__name__}, which has no single spelling; "
            "give text, a number, true, false, null, a list or a mapping"
        )


def _require_encodable(text: str, place: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UnstableValueError(f"{place} holds text that is no valid Unicode ({error.reason})") from None


def digest(value: Any) -> str:
    """The sha256 of a value's canonical encoding, in hex."""
    return hashlib.sha256(canonical(value)).hexdigest()


def digest_file(path: Path) -> str:
    """The sha256 of a file's bytes, in hex, read in pieces of 1 MiB."""
    with path.open("rb") as file:
        return digest_pieces(iter(lambda: file.read(_BYTES_PER_READ), b""))


def digest_pieces(pieces: Iterable[bytes]) -> str:
    """The sha256 of bytes that arrive in pieces, in hex."""
    running = hashlib.sha256()
    for piece in pieces:
        running.update(piece)
    return running.hexdigest()


class TableDigest:
    """The running digest of a table's rows: equal for equal rows in equal order, whatever files hold them.

    Each update but the last must bring a multiple of `ROWS_PER_DIGEST_BATCH` rows.
    """

    def __init__(self) -> None:
        self._columns: list[tuple[str, str]] | None = None
        self._running = hashlib.sha256()
        self._open = True

    def update(self, table: pa.Table) -> None:
        """Take in the next rows."""
        if not self._open:
            raise ValueError("rows came after a batch that was not full; write parts of whole batches")
        columns = [(field.name, str(field.type)) for field in table.schema]
        if self._columns is None:
            self._columns = columns
            self._running.update(canonical(columns))
        elif columns != self._columns:
            raise ValueError(f"a table began with the columns {self._columns} and goes on with {columns}")
        self._open = table.num_rows % ROWS_PER_DIGEST_BATCH == 0
        for start in range(0, table.num_rows, ROWS_PER_DIGEST_BATCH):
            for column in table.slice(start, ROWS_PER_DIGEST_BATCH).columns:
                for piece in spell(column.combine_chunks()):
                    self._running.update(len(piece).to_bytes(8, "little"))
                    self._running.update(piece)

    def hexdigest(self) -> str:
        """The digest so far."""
        return self._running.hexdigest()
