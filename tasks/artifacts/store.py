"""The store: committed artifacts below one root, and the attempts that become them."""

import hashlib
import io
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.artifacts.errors import CorruptArtifactError, StoreDeniedError, StoreError, StoreUnreachableError
from tasks.artifacts.filesystem import Files
from tasks.artifacts.fingerprint import ROWS_PER_DIGEST_BATCH, TableDigest, digest_file, digest_pieces
from tasks.artifacts.manifest import Artifact, Counts, Identity, Manifest, Part, Table, content_of

ROWS_PER_PART = 16 * ROWS_PER_DIGEST_BATCH
BYTES_PER_PART = 256 << 20
"""Uncompressed bytes after which a part is closed, whatever its rows."""
DEFAULT_STORE = "fettle-store"
"""Where artifacts lie when nobody names a store: a folder beside what is run."""
MARKER = "fettle-store.json"
"""Lies at the root of every store: tells an absent artifact from a store that vanished."""
MANIFEST = "manifest.json"

ReportProgress = Callable[[int, int | None, str], None]
"""Takes done, total (none if unknown) and the unit."""


class Store:
    """Artifacts on a local folder or below an `s3://bucket/prefix`."""

    def __init__(self, uri: str) -> None:
        self.files = Files(uri)
        self.uri = self.files.uri

    def __repr__(self) -> str:
        return f"Store({self.uri!r})"

    def probe(self) -> None:
        """Write, read and delete a small file; mark the root as a store. Raises `StoreError` when any of it fails."""
        name, data = f"probe-{secrets.token_hex(8)}", secrets.token_bytes(16)
        self.files.write(name, data)
        if self.files.read(name) != data:
            raise StoreUnreachableError(f"store {self.uri}: what was written a moment ago does not come back")
        if self.files.create(name, data):
            raise StoreDeniedError(
                f"store {self.uri}: it lets a file be created twice, so two runs could overwrite each other; "
                "use a store with conditional writes (If-None-Match)"
            )
        self.files.delete(name)
        if self.files.read(MARKER) is None:
            self.files.create(MARKER, b'{"format": 1}\n')

    def require_marker(self, purpose: str) -> None:
        """Raise `StoreError` where the root is no store: what is not found there is not known to be absent."""
        if self.files.read(MARKER) is None:
            raise StoreError(
                f"store {self.uri}: its marker {MARKER} is gone while {purpose}; the bucket or folder vanished or was "
                "emptied. Bring it back, or start a run to make a new store."
            )

    def find(self, address: str) -> Artifact | None:
        """The artifact committed at an address, verified to be whole; none where nothing is committed."""
        manifest = self.find_manifest(address)
        if manifest is None:
            return None
        fault = self.fault(manifest)
        if fault is not None:
            raise self.corrupt(address, fault)
        return manifest.artifact

    def find_manifest(self, address: str) -> Manifest | None:
        """The manifest at an address, or none. A store that is not there at all is an error, not an absence."""
        raw = self.files.read(f"{address}/{MANIFEST}")
        if raw is None:
            self.require_marker(f"looking for {address}")
            return None
        try:
            manifest = Manifest.load(raw)
        except ValueError as error:
            raise self.corrupt(address, str(error)) from None
        if manifest.identity.address != address:
            raise self.corrupt(address, f"its manifest is that of {manifest.identity.address}")
        return manifest

    def manifest(self, artifact: Artifact | str) -> Manifest:
        """The manifest of an artifact that must be there."""
        address = artifact if isinstance(artifact, str) else artifact.address
        manifest = self.find_manifest(address)
        if manifest is None:
            raise CorruptArtifactError(f"store {self.uri}: {address} is not there; was it deleted while in use?")
        return manifest

    def fault(self, manifest: Manifest) -> str | None:
        """What is missing or cut of the files that a manifest names, in words; none where they are whole."""
        address = manifest.identity.address
        sizes = self.files.sizes(f"{address}/{manifest.attempt}")
        for part in manifest.stored:
            found = sizes.get(f"{address}/{part.path}")
            if found is None:
                return f"{part.path} is missing"
            if found != part.bytes:
                return f"{part.path} has {found:,} bytes; its manifest says {part.bytes:,}"
        return None

    def corrupt(self, address: str, what: str) -> CorruptArtifactError:
        """The error for an artifact that is not what its manifest says."""
        return CorruptArtifactError(
            f"store {self.uri}: the artifact {address} is corrupt: {what}. "
            f"Restore it, or remove it with `fettle gc --remove {address}` and run again."
        )

    def addresses(self) -> list[str]:
        """The addresses of all committed artifacts, sorted."""
        steps = (path.split("/") for path in self.files.sizes(""))
        # Published models have files of any name in folders of their own.
        return sorted("/".join(step[:2]) for step in steps if len(step) == 3 and step[2] == MANIFEST)

    def tables(self, artifact: Artifact, name: str, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """A table part by part, each verified against its digest."""
        manifest = self.manifest(artifact)
        if name not in manifest.parts:
            raise KeyError(f"{artifact.address} has no table {name!r}; it has {sorted(manifest.parts)}")
        for part in manifest.parts[name]:
            yield pq.ParquetFile(pa.BufferReader(self.read_part(artifact.address, part))).read(columns)

    def table(self, artifact: Artifact, name: str, columns: list[str] | None = None) -> pa.Table:
        """A whole table in memory."""
        return pa.concat_tables(self.tables(artifact, name, columns))

    def rows(self, artifact: Artifact, name: str, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
        """A table row by row, as plain Python values."""
        for table in self.tables(artifact, name, columns):
            for batch in table.to_batches(max_chunksize=1024):
                yield from batch.to_pylist()

    def read_file(self, artifact: Artifact | str, name: str) -> bytes:
        """One file of an artifact, verified."""
        manifest = self.manifest(artifact)
        return self.read_part(manifest.identity.address, manifest.files[name])

    def read_part(self, address: str, part: Part) -> bytes:
        """A stored file's bytes, verified against its digest."""
        data = self.files.read(f"{address}/{part.path}")
        if data is None:
            raise self.corrupt(address, f"{part.path} is missing")
        if hashlib.sha256(data).hexdigest() != part.sha256:
            raise self.corrupt(address, f"the bytes of {part.path} are not those that were written")
        return data

    @contextmanager
    def local_folder(self, artifact: Artifact | str, prefix: str) -> Iterator[Path]:
        """An artifact's files or table parts below a name, as a verified folder on this machine while the block runs.

        An empty prefix gives all of it. A local store gives its own folder, without a copy.
        """
        manifest = self.manifest(artifact)
        address, root = manifest.identity.address, f"{manifest.attempt}/{prefix}".rstrip("/")
        parts = [part for part in manifest.stored if part.path.startswith(f"{root}/")]
        if not parts:
            names = sorted({*manifest.parts, *manifest.files})
            raise KeyError(f"{address} has nothing below {prefix!r}; it has {names}")
        with tempfile.TemporaryDirectory(prefix="fettle-") as temporary:
            folder = Path(self.files.absolute(f"{address}/{root}")) if self.files.is_local else Path(temporary)
            for part in parts:
                path = folder / part.path[len(root) + 1 :]
                there = path.is_file() if self.files.is_local else self.files.download(f"{address}/{part.path}", path)
                if not there:
                    raise self.corrupt(address, f"{part.path} is missing")
                if digest_file(path) != part.sha256:
                    raise self.corrupt(address, f"the bytes of {part.path} are not those that were written")
            yield folder

    def attempt(self, identity: Identity, *, progress: ReportProgress | None = None) -> "Attempt":
        """Begin to compute the artifact of an identity; nothing is visible before the commit."""
        return Attempt(self, identity, progress)


class Attempt:
    """One try at an artifact: parts go into a folder of its own, the commit is the manifest, written last.

    Of two attempts at one address the first to commit wins; the other removes what it wrote and takes the
    winner's artifact. As a context manager it removes what it wrote when the block fails.
    """

    def __init__(self, store: Store, identity: Identity, progress: ReportProgress | None = None) -> None:
        self.store = store
        self.identity = identity
        self.name = f"attempt-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
        self.facts: dict[str, Any] = {}
        self.warnings: list[str] = []
        self.counts: Counts | None = None
        self._progress = progress
        self._writers: dict[str, _TableWriter] = {}
        self._files: dict[str, Part] = {}
        self._may_stand = False
        self._afterwards: list[Callable[[], None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.discard()

    def progress(self, done: int, total: int | None = None, unit: str = "rows") -> None:
        """Tell whoever watches how far this is."""
        if self._progress is not None:
            self._progress(done, total, unit)

    def warn(self, sentence: str) -> None:
        """Have people told of something, in every run that uses the artifact: what is wrong, the value, what to do."""
        self.warnings.append(sentence)

    def write(self, name: str, table: pa.Table, *, incidental: bool = False) -> None:
        """Append rows to a table of the artifact. Every call for a table brings the same schema."""
        if name not in self._writers:
            self._writers[name] = _TableWriter(self, name, table.schema.remove_metadata(), incidental)
        self._writers[name].append(table)

    def write_file(self, name: str, data: bytes) -> None:
        """Store a file of the artifact."""
        path = f"{self.name}/{name}"
        self.store.files.write(f"{self.identity.address}/{path}", data)
        self._files[name] = Part(path=path, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())

    def write_folder(self, prefix: str, folder: Path, *, incidental: bool = False) -> None:
        """Store every file below a local folder. Incidental ones are no part of the artifact's content."""
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = f"{prefix}/{file.relative_to(folder).as_posix()}"
            path = f"{self.name}/{name}"
            self.store.files.upload(f"{self.identity.address}/{path}", file)
            self._files[name] = Part(
                path=path, bytes=file.stat().st_size, sha256=digest_file(file), incidental=incidental
            )

    def after_commit(self, tidy: Callable[[], None]) -> None:
        """Have something tidied up once the artifact is there; where the store fails, `fettle gc` does it later."""
        self._afterwards.append(tidy)

    def commit(self, provenance: Mapping[str, Any]) -> Artifact:
        """Close all tables and write the manifest; gives the artifact that is now at the address."""
        if self.counts is None:
            raise ValueError(f"{self.identity.stage} finished without counts; set out.counts before the end")
        for writer in self._writers.values():
            writer.close()
        manifest = self._manifest(self.counts, provenance)
        fault = self.store.fault(manifest)
        if fault is not None:
            raise StoreUnreachableError(
                f"store {self.store.uri}: of the attempt at {self.identity.address}, {fault} before its commit. "
                "Was it swept by `fettle gc` or deleted by hand? Run again."
            )
        standing = self._stand(manifest)
        if standing.attempt != self.name:
            self._may_stand = False
            self.discard()
            found = self.store.fault(standing)
            if found is not None:
                raise self.store.corrupt(self.identity.address, found)
        for tidy in self._afterwards:
            with suppress(StoreError):
                tidy()
        return standing.artifact

    def _stand(self, manifest: Manifest) -> Manifest:
        """Write the manifest if none is there; gives the one that stands afterwards."""
        address = self.identity.address
        # From here on a later error does not tell that the manifest was not written, so the parts must stay.
        self._may_stand = True
        try:
            if self.store.files.create(f"{address}/{MANIFEST}", manifest.dump()):
                return manifest
        except StoreError as error:
            if not error.transient:
                self._may_stand = False
                raise
            standing = self.store.find_manifest(address)
            if standing is None:
                raise
            return standing
        # A create whose first answer was lost is repeated by the client, and then meets its own manifest.
        standing = self.store.find_manifest(address)
        if standing is None:
            raise StoreUnreachableError(f"store {self.store.uri}: the manifest of {address} came and went; run again")
        return standing

    def _manifest(self, counts: Counts, provenance: Mapping[str, Any]) -> Manifest:
        tables = {name: writer.table for name, writer in sorted(self._writers.items())}
        return Manifest(
            identity=self.identity,
            fingerprint=self.identity.fingerprint,
            content=content_of(tables, self._files),
            attempt=self.name,
            tables=tables,
            parts={name: tuple(writer.parts) for name, writer in sorted(self._writers.items())},
            files=self._files,
            counts=counts,
            warnings=tuple(self.warnings),
            facts=self.facts,
            provenance=dict(provenance),
        )

    def discard(self) -> None:
        """Remove what this attempt wrote; what cannot be removed now is swept later by `fettle gc`.

        Nothing is removed where the manifest may have been written although its answer was lost.
        """
        if self._may_stand:
            return
        try:
            self.store.files.delete(f"{self.identity.address}/{self.name}")
        except StoreError:
            return


class _TableWriter:
    def __init__(self, attempt: Attempt, name: str, schema: pa.Schema, incidental: bool) -> None:
        self.attempt, self.name, self.schema, self.incidental = attempt, name, schema, incidental
        self.parts: list[Part] = []
        self._digest = TableDigest()
        self._rows = 0
        self._waiting: list[pa.Table] = []
        self._rows_waiting = self._bytes_waiting = 0

    @property
    def table(self) -> Table:
        return Table(rows=self._rows, content=self._digest.hexdigest(), incidental=self.incidental)

    def append(self, table: pa.Table) -> None:
        if table.schema.remove_metadata() != self.schema:
            raise ValueError(f"table {self.name!r} began with {self.schema} and now gets {table.schema}")
        self._wait(table)
        while (rows := self._rows_ready()) > 0:
            waiting = pa.concat_tables(self._waiting)
            self._write_part(waiting.slice(0, rows))
            self._waiting = []
            self._rows_waiting = self._bytes_waiting = 0
            self._wait(waiting.slice(rows))

    def _wait(self, table: pa.Table) -> None:
        self._waiting.append(table)
        self._rows_waiting += table.num_rows
        self._bytes_waiting += table.nbytes

    def _rows_ready(self) -> int:
        if self._rows_waiting >= ROWS_PER_PART:
            return ROWS_PER_PART
        if self._bytes_waiting < BYTES_PER_PART:
            return 0
        return self._rows_waiting // ROWS_PER_DIGEST_BATCH * ROWS_PER_DIGEST_BATCH

    def close(self) -> None:
        if self._rows_waiting or not self.parts:
            self._write_part(pa.concat_tables(self._waiting))

    def _write_part(self, table: pa.Table) -> None:
        sink = io.BytesIO()
        pq.write_table(table.replace_schema_metadata(None), sink, compression="zstd", store_schema=False)
        data = sink.getvalue()
        # Read back what will be stored: it proves the part readable, and gives columns the types that readers see.
        self._digest.update(pq.ParquetFile(pa.BufferReader(data)).read())
        path = f"{self.attempt.name}/{self.name}/part-{len(self.parts):05d}.parquet"
        self.attempt.store.files.write(f"{self.attempt.identity.address}/{path}", data)
        self.parts.append(
            Part(path=path, rows=table.num_rows, bytes=len(data), sha256=digest_pieces([data])),
        )
        self._rows += table.num_rows
