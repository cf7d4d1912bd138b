"""Files below a folder of this machine."""

import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Entry = tuple[str, int, float]
"""A file's path, its size in bytes, and when it was last written, in seconds since 1970."""


class LocalFiles:
    """Whole-file operations below a folder; raises the system's own errors."""

    def __init__(self, root: str) -> None:
        self.root = Path(root)

    def read(self, path: str) -> bytes | None:
        """A file's bytes, or none where no file is."""
        try:
            return (self.root / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def write(self, path: str, data: bytes) -> None:
        """Store bytes, on the disk itself before this returns."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def upload(self, path: str, source: Path) -> None:
        """Store a copy of a file, on the disk itself before this returns; it appears whole, also over an older one."""
        draft = _draft(path)
        (self.root / draft).parent.mkdir(parents=True, exist_ok=True)
        try:
            with source.open("rb") as reading, (self.root / draft).open("wb") as writing:
                shutil.copyfileobj(reading, writing, 1 << 20)
                writing.flush()
                os.fsync(writing.fileno())
            os.replace(self.root / draft, self.root / path)
        finally:
            self._drop(draft)

    def download(self, path: str, target: Path) -> bool:
        """Copy a file out; false where no file is."""
        try:
            shutil.copyfile(self.root / path, target)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return False
        return True

    def create(self, path: str, data: bytes) -> bool:
        """Store bytes only if nothing is there."""
        # A hard link appears whole or not at all, and fails when the name is taken.
        draft = _draft(path)
        try:
            self.write(draft, data)
            os.link(self.root / draft, self.root / path)
        except FileExistsError:
            if not os.path.lexists(self.root / path):
                raise
            return False
        finally:
            self._drop(draft)
        return True

    def replace(self, path: str, data: bytes) -> None:
        """Store bytes in place of what was there, in one step."""
        draft = _draft(path)
        try:
            self.write(draft, data)
            os.replace(self.root / draft, self.root / path)
        finally:
            self._drop(draft)

    def entries(self, prefix: str) -> Iterator[Entry]:
        """Every file below a folder. What vanishes meanwhile is left out; a folder that cannot be read raises."""
        waiting = [prefix]
        while waiting:
            folder = waiting.pop()
            try:
                with os.scandir(self.root / folder) as scan:
                    listed = list(scan)
            except FileNotFoundError:
                continue
            for entry in listed:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(path)
                    continue
                try:
                    found = entry.stat()
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(found.st_mode):
                    yield path, found.st_size, found.st_mtime

    def delete(self, path: str) -> None:
        """Remove a file, or a folder with all it holds; nothing happens where nothing is."""
        target = self.root / path
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target, onerror=_go_on_if_gone)
        else:
            self._drop(path)

    def _drop(self, path: str) -> None:
        try:
            (self.root / path).unlink()
        except (FileNotFoundError, NotADirectoryError):
            return


def _draft(path: str) -> str:
    folder, _, name = path.rpartition("/")
    draft = f".{name}.{secrets.token_hex(4)}"
    return f"{folder}/{draft}" if folder else draft


def _go_on_if_gone(_function: Any, _path: str, raised: Any) -> None:
    # Two may remove one folder at once.
    if not isinstance(raised[1], FileNotFoundError):
        raise raised[1]
