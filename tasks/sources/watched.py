"""A file that tells how many of its bytes have been read."""

import io
from collections.abc import Callable
from typing import Any

Seen = Callable[[int], None]
"""Takes the bytes of each piece that is read."""


class WatchedFile(io.RawIOBase):
    """Passes everything on to the file below it, which its owner closes."""

    def __init__(self, file: Any, seen: Seen) -> None:
        self._file, self._seen = file, seen

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._file.seekable())

    def read(self, size: int = -1) -> bytes:
        piece: bytes = self._file.read(size)
        self._seen(len(piece))
        return piece

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        place: int = self._file.seek(offset, whence)
        return place

    def tell(self) -> int:
        place: int = self._file.tell()
        return place
