"""What a pipeline is given from outside: data files, models, benchmark files, known by their bytes."""

import glob
import hashlib
import io
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import Field

from tasks.artifacts.errors import StoreError
from tasks.artifacts.filesystem import translate
from tasks.artifacts.fingerprint import digest, digest_pieces
from tasks.artifacts.manifest import Parent
from tasks.artifacts.object_files import ObjectFiles
from tasks.config import Config

TOKENIZER_FILES = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template*",
    "vocab*",
    "merges.txt",
    "*.model",
)
MODEL_FILES = (*TOKENIZER_FILES, "*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json")

_BYTES_PER_READ = 1 << 20
_BYTES_PER_REQUEST = 8 << 20
"""What is asked of an object store at once, and about what is held of an object while it is read."""


class ResourceError(Exception):
    """An input is not where the recipe says, or cannot be read."""


class Resource(Config):
    """A set of files outside the store. Its identity is the bytes; where they lie is not."""

    uri: str
    files: dict[str, str]
    """sha256 of each file, by its path relative to the resource."""
    paths: dict[str, str]
    """Where each file lies now."""
    facts: dict[str, Any] = Field(default_factory=dict)
    """What else decides how the files are read; part of the identity."""

    @property
    def content(self) -> str:
        """Digest of the files, their relative names and the facts."""
        return digest({"files": self.files, "facts": self.facts})

    def only(self, *patterns: str) -> "Resource":
        """The same resource seen through the files whose names match a pattern."""
        names = [name for name in self.files if any(fnmatch(name, pattern) for pattern in patterns)]
        return self.model_copy(
            update={"files": {n: self.files[n] for n in names}, "paths": {n: self.paths[n] for n in names}}
        )

    def known_by(self, *facts: str) -> "Resource":
        """The same resource with some of its facts only, for a stage that the others do not concern."""
        return self.model_copy(update={"facts": {name: self.facts[name] for name in facts}})

    def as_parent(self, name: str) -> Parent:
        """This resource as an input of a stage."""
        return Parent(name=name, content=self.content, uri=self.uri, files=self.files)

    @property
    def folder(self) -> Path:
        """The local folder of a resource that is a folder."""
        if _is_remote(self.uri):
            raise ResourceError(f"{self.uri} is not on this machine; copy it here and give the folder")
        return Path(self.uri.removeprefix("file://"))


def read_resource(uri: str, *, patterns: Iterable[str] = (), facts: dict[str, Any] | None = None) -> Resource:
    """Find and digest the files of a path, a folder, a glob or an `s3://` address.

    Of a folder the files below it are taken whose names match a pattern (all, where none is given).
    """
    try:
        if _is_remote(uri):
            s3 = _s3(uri)
            paths = _remote_paths(s3, uri, tuple(patterns))
        else:
            s3 = None
            paths = _local_paths(uri.removeprefix("file://"), tuple(patterns))
        files = {name: _digest(path, s3) for name, path in sorted(paths.items())}
    except StoreError as error:
        raise ResourceError(f"cannot read {uri}: {error}") from error
    except OSError as error:
        raise ResourceError(f"cannot read {uri}: {error.strerror or error}") from error
    return Resource(uri=uri, files=files, paths=dict(sorted(paths.items())), facts=facts or {})


def _is_remote(uri: str) -> bool:
    return "://" in uri and not uri.startswith("file://")


def _local_paths(uri: str, patterns: tuple[str, ...]) -> dict[str, str]:
    path = Path(uri)
    if path.is_file():
        return {path.name: str(path)}
    if path.is_dir():
        found = {file.relative_to(path).as_posix(): str(file) for file in path.rglob("*") if file.is_file()}
        return _chosen(uri, found, patterns)
    files = [match for match in map(Path, glob.glob(uri, recursive=True)) if match.is_file()]
    if not files:
        raise ResourceError(f"nothing is at {uri}; give a file, a folder, a glob that matches, or s3://…")
    base = _fixed_folder(uri)
    return {file.relative_to(base).as_posix(): str(file) for file in files}


def _chosen(uri: str, found: dict[str, str], patterns: tuple[str, ...]) -> dict[str, str]:
    """Of the files in a folder those that match a pattern; what editors and tools hide there is none of the data."""
    seen = {name: path for name, path in found.items() if not any(step.startswith(".") for step in name.split("/"))}
    chosen = {name: path for name, path in seen.items() if _matches(name.rsplit("/", 1)[-1], patterns)}
    if not chosen:
        raise ResourceError(f"the folder {uri} holds no file{' like ' + ', '.join(patterns) if patterns else ''}")
    return chosen


def _fixed_folder(pattern: str) -> Path:
    fixed = []
    for part in Path(pattern).parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return Path(*fixed) if fixed else Path()


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return not patterns or any(fnmatch(name, pattern) for pattern in patterns)


def _s3(uri: str) -> ObjectFiles:
    scheme, _, rest = uri.partition("://")
    if scheme not in ("s3", "s3a") or not rest.strip("/"):
        raise ResourceError(f"{uri} cannot be read; give a file, a folder, a glob, or s3://bucket/…")
    with _translated(uri):
        return ObjectFiles(f"s3://{rest.split('/', 1)[0]}")


def _remote_paths(s3: ObjectFiles, uri: str, patterns: tuple[str, ...]) -> dict[str, str]:
    bucket, _, key = uri.split("://", 1)[1].rstrip("/").partition("/")
    base = "" if not key else str(_fixed_folder(key)) if glob.has_magic(key) else key
    base = "" if base == "." else base
    with _translated(uri):
        listed = {path: f"s3://{bucket}/{path}" for path, _, _ in s3.entries(base)}
        if glob.has_magic(key):
            matching = {match.split("/", 1)[1] for match in s3.s3.glob(f"{bucket}/{key}") if "/" in match}
            found = {path[len(base) :].lstrip("/"): place for path, place in listed.items() if path in matching}
        else:
            found = {path[len(base) :].lstrip("/"): place for path, place in listed.items()}
        if not found and key and not glob.has_magic(key) and s3.s3.isfile(f"{bucket}/{key}"):
            return {key.rsplit("/", 1)[-1]: f"s3://{bucket}/{key}"}
    if not found:
        raise ResourceError(f"nothing is at {uri}; check the bucket and the prefix")
    return found if glob.has_magic(key) else _chosen(uri, found, patterns)


def _digest(path: str, s3: ObjectFiles | None = None) -> str:
    with closing(_File(path, s3)) as file:
        return file.digest()


class _File(io.RawIOBase):
    """A file from its beginning to its end, its digest taken on the way, its faults in our words."""

    def __init__(self, path: str, s3: ObjectFiles | None = None) -> None:
        self._path = path
        self._running = hashlib.sha256()
        with _translated(path):
            self._file: BinaryIO
            if _is_remote(path):
                s3 = s3 or _s3(path)
                self._file = s3.s3.open(path.split("://", 1)[1], "rb", block_size=_BYTES_PER_REQUEST)
            else:
                self._file = Path(path).open("rb")  # noqa: SIM115 # closed with this one

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        with _translated(self._path):
            piece = self._file.read(size)
        self._running.update(piece)
        return piece

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()

    def digest(self) -> str:
        """The sha256 of the whole file: what has not been read is read now."""
        while self.read(_BYTES_PER_READ):
            pass
        return self._running.hexdigest()


@contextmanager
def _translated(path: str) -> Iterator[None]:
    try:
        yield
    except (ResourceError, StoreError):
        raise
    except Exception as error:
        if _is_remote(path):
            raise translate(error, f"cannot read {path}") from error
        if isinstance(error, OSError):
            raise ResourceError(f"cannot read {path}: {error.strerror or error}") from error
        raise


@contextmanager
def open_stream(resource: Resource, name: str) -> Iterator[io.RawIOBase]:
    """A file of a resource to be read in order, checked against the digest that its fingerprint was made of.

    The check is complete on leaving, where `ResourceError` tells of a file that is no longer the same: what was made
    of its bytes may be committed only after that. A fault found in the bytes gives way to it.
    """
    with closing(_File(resource.paths[name])) as file:
        try:
            yield file
        except (ResourceError, StoreError):
            raise
        except Exception:
            _require_same(resource, name, file.digest())
            raise
        _require_same(resource, name, file.digest())


@contextmanager
def open_seekable(resource: Resource, name: str) -> Iterator[BinaryIO]:
    """A file of a resource to be read here and there, checked as `open_stream` does.

    One that is not on this machine is copied to a temporary file first.
    """
    path = resource.paths[name]
    if _is_remote(path):
        with tempfile.TemporaryFile() as copy:
            with open_stream(resource, name) as stream:
                shutil.copyfileobj(stream, copy, _BYTES_PER_READ)
            copy.seek(0)
            yield copy
        return
    with _translated(path):
        opened = Path(path).open("rb")  # noqa: SIM115 # entered below, where the caller's faults are not the file's
    with opened as file:
        try:
            yield file
        except Exception:
            _require_same(resource, name, _digest_again(file))
            raise
        _require_same(resource, name, _digest_again(file))


def _digest_again(file: BinaryIO) -> str:
    file.seek(0)
    return digest_pieces(iter(lambda: file.read(_BYTES_PER_READ), b""))


def read_bytes(resource: Resource, name: str) -> bytes:
    """A file of a resource at once, checked against the digest that its fingerprint was made of."""
    with open_stream(resource, name) as file:
        return file.read() or b""


def _require_same(resource: Resource, name: str, found: str) -> None:
    if found != resource.files[name]:
        raise ResourceError(f"{resource.paths[name]} changed while the run was under way; run again")


def require_unchanged(resource: Resource) -> None:
    """Raise `ResourceError` where a file is no longer the one that the fingerprint was made of.

    For files that other code reads by their path, such as weights: ask once they were read.
    """
    for name, path in resource.paths.items():
        _require_same(resource, name, _digest(path))
