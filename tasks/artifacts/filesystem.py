"""Files on a local folder or an object store, with one set of errors for both."""

import errno
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tasks.artifacts.errors import StoreDeniedError, StoreError, StoreFullError, StoreUnreachableError
from tasks.artifacts.local_files import LocalFiles
from tasks.artifacts.object_files import ObjectFiles, error_code

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_MISPLACED = (errno.EROFS, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EXDEV, errno.ENOTSUP)


class Entry(NamedTuple):
    """A stored file in a listing."""

    bytes: int
    age_seconds: float
    """Since it was last written."""


class Files:
    """Whole-file operations below one root. Paths are relative to it, with forward slashes, and never lead out."""

    def __init__(self, uri: str) -> None:
        scheme = uri.split("://", 1)[0] if "://" in uri else "file"
        self._backend: LocalFiles | ObjectFiles
        if scheme == "file":
            self.root = self.uri = str(Path(uri.removeprefix("file://")).expanduser().resolve())
            self._backend = LocalFiles(self.root)
        elif scheme in ("s3", "s3a"):
            try:
                self._backend = ObjectFiles(uri)
            except (ValueError, ImportError) as error:
                raise StoreDeniedError(f"store {uri}: {error}; give s3://bucket or s3://bucket/prefix") from None
            self.root, self.uri = self._backend.root, uri.rstrip("/")
        else:
            raise StoreDeniedError(f"store {uri}: no such kind of storage; give a folder or s3://…")
        self.is_local = scheme == "file"

    def absolute(self, path: str) -> str:
        """The path as the file system knows it. Raises `StoreError` for one that would lead out of the root."""
        if path and ("\0" in path or any(step in ("", ".", "..") for step in path.split("/"))):
            raise StoreError(f"store {self.uri}: {path!r} is no place inside the store; nothing was read or changed")
        return f"{self.root}/{path}" if path else self.root

    def read(self, path: str) -> bytes | None:
        """A file's bytes, or none where no file is."""
        with self._operation("read", path):
            return self._backend.read(path)

    def write(self, path: str, data: bytes) -> None:
        """Store bytes under a path that nobody else writes."""
        with self._operation("write", path):
            self._backend.write(path, data)

    def upload(self, path: str, source: Path) -> None:
        """Store a local file under a path that nobody else writes."""
        with self._operation("write", path):
            self._backend.upload(path, source)

    def download(self, path: str, target: Path) -> bool:
        """Bring a file to this machine; false where no file is."""
        with self._operation("read", path):
            target.parent.mkdir(parents=True, exist_ok=True)
            return self._backend.download(path, target)

    def create(self, path: str, data: bytes) -> bool:
        """Store bytes only if nothing is there; false where somebody was first. Atomic on disk and on S3.

        A transient error leaves open whether it was done, as does false where an answer was lost and the client
        asked again: only what is then read tells whose bytes they are.
        """
        with self._operation("create", path):
            return self._backend.create(path, data)

    def replace(self, path: str, data: bytes) -> None:
        """Store bytes in place of what was there, in one step."""
        with self._operation("write", path):
            self._backend.replace(path, data)

    def entries(self, prefix: str) -> dict[str, Entry]:
        """Every file below a folder; empty where there is no folder."""
        now = time.time()
        with self._operation("list", prefix):
            # An object store tells whole seconds of a clock of its own: what was just written may lie ahead.
            listed = self._backend.entries(prefix)
            return {path: Entry(size, max(0.0, now - written)) for path, size, written in listed}

    def sizes(self, prefix: str) -> dict[str, int]:
        """Every file below a folder, with its size in bytes; empty where there is no folder."""
        return {path: entry.bytes for path, entry in self.entries(prefix).items()}

    def delete(self, path: str) -> None:
        """Remove a file or a folder with all it holds; nothing happens where nothing is."""
        if not path:
            raise StoreError(f"store {self.uri}: its root is not to be deleted; name something inside")
        with self._operation("delete", path):
            self._backend.delete(path)

    @contextmanager
    def _operation(self, verb: str, path: str) -> Iterator[None]:
        self.absolute(path)
        try:
            yield
        except Exception as error:
            raise translate(error, f"store {self.uri}: cannot {verb} {path or 'its root'}") from error


def translate(error: BaseException, what: str) -> StoreError:
    """The error of a file system or an S3 client as one of ours, with the cause in words."""
    cause = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if _is_full(error):
        return StoreFullError(f"{what}: no space is left ({cause}). Free some, then run again: finished stages stay.")
    if _is_denied(error):
        return StoreDeniedError(f"{what}: {cause}. Check the address, the credentials and their permissions.")
    return StoreUnreachableError(f"{what}: {cause}. Nothing was lost; run again when the store answers.")


def _is_full(error: BaseException) -> bool:
    code = error_code(error)
    return (isinstance(error, OSError) and error.errno in _FULL) or "StorageFull" in code or "QuotaExceeded" in code


def _is_denied(error: BaseException) -> bool:
    if isinstance(error, PermissionError | FileNotFoundError | FileExistsError | NotADirectoryError | ValueError):
        return True
    if isinstance(error, OSError) and error.errno in _MISPLACED:
        return True
    # By name, since botocore is only there where S3 is used: no credentials, or a name that cannot be.
    denials = {"NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError", "ParamValidationError"}
    return type(error).__name__ in denials or error_code(error) in ("InvalidBucketName", "ExpiredToken")
