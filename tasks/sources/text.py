"""Bytes as text: blocks of a stream, lines of bounded length, and files that are something else."""

import codecs
from collections.abc import Iterator
from typing import Any, Protocol

from tasks.formats.row import RowError

BYTES_PER_BLOCK = 1 << 20
MAX_LINE_BYTES = 8 << 20
"""A longer line, or element of a JSON array, is no row: about two million tokens, beyond any context."""
RAW_CHARACTERS = 500
"""How much of a row is shown where it is rejected."""

_ENCODINGS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_FOREIGN = (
    (b"\x1f\x8b", "it holds gzip data; let its name end with .gz"),
    (b"\x28\xb5\x2f\xfd", "it holds zstd data; let its name end with .zst"),
    (b"PAR1\x15", "it holds Parquet; let its name end with .parquet"),
    (b"ARROW1\0", "it is an Arrow file; save it as Parquet"),
    (b"PK\x03\x04", "it is a zip archive or an Excel workbook; unpack it, or save it as CSV"),
    (b"BZh91AY&SY", "it holds bzip2 data; unpack it, or pack it with gzip or zstd"),
    (b"\xfd7zXZ\0", "it holds xz data; unpack it, or pack it with gzip or zstd"),
    (b"SQLite format 3\0", "it is an SQLite database; export the table as CSV"),
    (b"%PDF-", "it is a PDF"),
    (b"version https://git-lfs", "it is a Git LFS pointer, not the data; run `git lfs pull`"),
    (b"<!doctype html", "it is a web page, as a failed download leaves; download it again"),
    (b"<html", "it is a web page, as a failed download leaves; download it again"),
    (b"<?xml", "it is XML, as a refused download leaves; download it again, or convert it"),
)


class Readable(Protocol):
    """What gives bytes in order."""

    def read(self, size: int, /) -> bytes: ...


class Overlong(bytes):
    """The beginning of a line beyond the limit; the rest of it was passed over."""

    size: int


def text_blocks(stream: Readable) -> Iterator[bytes]:
    """A text file in blocks, without a byte-order mark. Raises `ValueError` for what is no UTF-8 text by its start."""
    block = stream.read(BYTES_PER_BLOCK)
    require_own(block)
    _require_utf8(block)
    block = block.removeprefix(codecs.BOM_UTF8)
    while block:
        yield block
        block = stream.read(BYTES_PER_BLOCK)


def require_own(head: bytes) -> None:
    """Refuse a file that begins as another kind of file does, saying which."""
    start = head[:64].lstrip(b" \t\r\n").lower()
    for signature, words in _FOREIGN:
        if head.startswith(signature) or (signature.startswith(b"<") and start.startswith(signature)):
            raise ValueError(words)


def _require_utf8(head: bytes) -> None:
    for mark, name in _ENCODINGS:
        if head.startswith(mark):
            raise ValueError(f"it is {name} text; save it as UTF-8")
    # Without a mark: every second byte of plain text is zero in UTF-16.
    for zeros, others in ((head[1:8:2], head[0:8:2]), (head[0:8:2], head[1:8:2])):
        if len(zeros) > 1 and not any(zeros) and all(others):
            raise ValueError("it is UTF-16 text without a byte-order mark; save it as UTF-8")


def lines(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Lines without their newline; never more of one in memory than `MAX_LINE_BYTES` and a block."""
    line = _Line()
    for block in blocks:
        first, *others = block.split(b"\n")
        line.add(first)
        if others:
            yield line.whole()
            *between, last = others
            yield from between
            line = _Line()
            line.add(last)
    yield line.whole()


class _Line:
    """A line that comes in pieces."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size <= MAX_LINE_BYTES:
            self._pieces.append(piece)
        elif len(self._pieces) != 1 or len(self._pieces[0]) > 4 * RAW_CHARACTERS:
            self._pieces = [b"".join(self._pieces)[: 4 * RAW_CHARACTERS]]

    def whole(self) -> bytes:
        if self._size <= MAX_LINE_BYTES:
            return b"".join(self._pieces)
        overlong = Overlong(self._pieces[0])
        overlong.size = self._size
        return overlong


def too_long(line: Overlong) -> RowError:
    """The fault of a line beyond the limit."""
    return RowError("line too long", f"{line.size:,} bytes where at most {MAX_LINE_BYTES:,} are read")


def not_utf8(error: UnicodeDecodeError) -> RowError:
    """The fault of bytes that are no UTF-8."""
    return RowError("not UTF-8", f"byte {error.start + 1} of the line is 0x{error.object[error.start]:02x}")


def raw(line: bytes) -> str:
    """How a line begins, for people."""
    return line[: 4 * RAW_CHARACTERS].decode(errors="replace").strip()[:RAW_CHARACTERS]


def shown(value: Any) -> str:
    """How a value begins that was no text of its own, for people."""
    if isinstance(value, dict):
        # Long texts are cut before they are spelt, which spares most of the work.
        value = {k: v[:RAW_CHARACTERS] if isinstance(v, str | bytes) else v for k, v in value.items()}
    return repr(value)[:RAW_CHARACTERS].encode(errors="backslashreplace").decode()
