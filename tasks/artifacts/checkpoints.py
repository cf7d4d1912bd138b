"""Checkpoints of a training that is under way, in the store below the address of the artifact that it will become.

`{address}/checkpoints/step-40-1f2e3d4c/` holds the files of a local folder `step-40` and a record of them, written
last. A checkpoint may name a folder `best-20-…` beside it, stored alike. The last eight characters are drawn, so that
two runs that train the same never write to one place.
"""

import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError, field_validator

from tasks.artifacts.errors import StoreError
from tasks.artifacts.fingerprint import digest_file
from tasks.artifacts.store import Store
from tasks.config import Config

FOLDER = "checkpoints"
RECORD = "checkpoint.json"

KEPT = 2
"""How many checkpoints stay: should the newest turn out to be damaged, the one before is taken."""

_STORED = re.compile(r"(?:step|best)-(?P<step>\d+)-[0-9a-f]{8}")
_LOCAL = re.compile(r"(?P<kind>step|best)-(?P<step>\d+)")


class StoredFile(Config):
    """A file of a stored folder."""

    bytes: int = Field(ge=0)
    sha256: str


class Record(Config):
    """What makes a stored folder whole."""

    folder: str = Field(pattern=rf"^{_LOCAL.pattern}$")
    """Its name on the machine that trains."""
    best: str | None = Field(default=None, pattern=rf"^{_STORED.pattern}$")
    """The stored folder of the best weights so far, without which a checkpoint is of no use."""
    files: dict[str, StoredFile] = Field(min_length=1)

    @field_validator("files")
    @classmethod
    def _inside(cls, files: dict[str, StoredFile]) -> dict[str, StoredFile]:
        if any(step in ("", ".", "..") for name in files for step in name.split("/")):
            raise ValueError("a file lies outside of its folder")
        return files


@dataclass(frozen=True)
class _Whole:
    """A checkpoint with all its files there."""

    name: str
    record: Record

    @property
    def order(self) -> tuple[int, str]:
        return _step(self.name), self.name


class Checkpoints:
    """The stored checkpoints of one training."""

    def __init__(self, store: Store, address: str) -> None:
        self.store = store
        self.where = f"{address}/{FOLDER}"
        self._bests: dict[tuple[object, ...], str] = {}

    def save(self, folder: Path, best: Path | None) -> None:
        """Store a local `step-N` and the `best-M` that it needs, if that is not there already; then drop older ones."""
        stored_best = None if best is None else self._save_best(best)
        self._upload(folder, stored_best)
        with suppress(StoreError):  # the next one prunes again
            self.prune()

    def restore(self, target: Path, warn: Callable[[str], None]) -> Path | None:
        """Fetch the newest checkpoint that is whole, with its best weights, into a local folder; gives its folder.

        None where there is none. Half-written ones are passed over, damaged ones with a warning.
        """
        for found in self._whole(warn):
            try:
                self._fetch(found.name, found.record, target)
                if found.record.best is not None:
                    best = self._record(found.record.best)
                    self._fetch(found.record.best, best, target)
                    self._bests[_known_by(target / best.folder)] = found.record.best
            except ValueError as error:
                warn(f"the checkpoint {self.where}/{found.name} is damaged and passed over: {error}")
                continue
            return target / found.record.folder
        return None

    def newest(self) -> str | None:
        """The name of the newest checkpoint that is whole; none where there is none."""
        return next((found.name for found in self._whole(lambda _: None)), None)

    def read(self, name: str, file: str) -> bytes | None:
        """A file of a checkpoint; none where it is gone, as older ones are."""
        return self.store.files.read(f"{self.where}/{name}/{file}")

    def prune(self) -> None:
        """Remove all but the newest whole checkpoints, the best weights that they name, and what is still newer."""
        whole = list(self._whole(lambda _: None))[:KEPT]
        if not whole:
            return
        newest = _step(whole[0].name)
        needed = {each.name for each in whole} | {each.record.best for each in whole}
        for name in self._listed():
            if _STORED.fullmatch(name) and name not in needed and _step(name) <= newest:
                self.store.files.delete(f"{self.where}/{name}/{RECORD}")  # first, so that nobody takes the rest
                self.store.files.delete(f"{self.where}/{name}")

    def remove(self) -> None:
        """Remove all of them: the artifact is there."""
        self.store.files.delete(self.where)

    def _save_best(self, best: Path) -> str:
        known = _known_by(best)
        name = self._bests.get(known)
        # Another run that trains the same may have removed it.
        if name is None or self.store.files.read(f"{self.where}/{name}/{RECORD}") is None:
            name = self._bests[known] = self._upload(best, None)
        return name

    def _upload(self, folder: Path, best: str | None) -> str:
        name = f"{folder.name}-{secrets.token_hex(4)}"
        files = {}
        for path in sorted(each for each in folder.rglob("*") if each.is_file()):
            relative = path.relative_to(folder).as_posix()
            self.store.files.upload(f"{self.where}/{name}/{relative}", path)
            files[relative] = StoredFile(bytes=path.stat().st_size, sha256=digest_file(path))
        if not files:
            raise FileNotFoundError(f"{folder} is gone before it could be stored")
        record = Record(folder=folder.name, best=best, files=files)
        self.store.files.create(f"{self.where}/{name}/{RECORD}", record.model_dump_json(indent=1).encode())
        return name

    def _listed(self) -> dict[str, dict[str, int]]:
        """Each stored folder with the sizes of its files."""
        listed: dict[str, dict[str, int]] = {}
        for path, size in self.store.files.sizes(self.where).items():
            name, _, file = path[len(self.where) + 1 :].partition("/")
            listed.setdefault(name, {})[file] = size
        return listed

    def _whole(self, warn: Callable[[str], None]) -> Iterator[_Whole]:
        """Whole checkpoints, the newest first."""
        listed = self._listed()
        records: dict[str, Record] = {}
        for name, sizes in listed.items():
            if _STORED.fullmatch(name) and RECORD in sizes:
                try:
                    record = self._record(name)
                except ValueError as error:
                    warn(f"the checkpoint {self.where}/{name} is passed over: {error}")
                    continue
                if all(sizes.get(file) == stored.bytes for file, stored in record.files.items()):
                    records[name] = record
        found = [_Whole(name, record) for name, record in records.items() if name.startswith("step-")]
        for each in sorted(found, key=lambda whole: whole.order, reverse=True):
            if each.record.best is None or each.record.best in records:
                yield each

    def _record(self, name: str) -> Record:
        raw = self.store.files.read(f"{self.where}/{name}/{RECORD}")
        try:
            return Record.model_validate_json(raw or b"")
        except ValidationError as error:
            raise ValueError(f"its record is not readable ({error.errors()[0]['msg']})") from None

    def _fetch(self, name: str, record: Record, target: Path) -> None:
        """Raises ValueError where a file is not what the record says; then nothing of the folder stays."""
        folder = target / record.folder
        try:
            for file, stored in record.files.items():
                if not self.store.files.download(f"{self.where}/{name}/{file}", folder / file):
                    raise ValueError(f"{file} is missing")
                if digest_file(folder / file) != stored.sha256:
                    raise ValueError(f"the bytes of {file} are not those that were written")
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


class Mirror:
    """Stores checkpoints while training goes on: one at a time, and of those that wait only the newest.

    What cannot be stored is told at once and stays on this machine; the next one is tried again.
    """

    def __init__(self, checkpoints: Checkpoints, warn: Callable[[str], None]) -> None:
        self.checkpoints = checkpoints
        self.warn = warn
        self.latest: Path | None = None
        """The newest checkpoint on this machine."""
        self.stored: Path | None = None
        """The newest that was stored since the start."""
        self.failures = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mirror")
        self._waiting: Future[None] | None = None

    def offer(self, folder: Path, best: Path | None) -> None:
        """Have a local `step-N` and its `best-M` stored; returns at once."""
        if self._waiting is not None and self._waiting.cancel() and self.latest is not None:
            shutil.rmtree(self.latest, ignore_errors=True)  # nobody will ask for it, and disks are small
        self.latest = folder
        self._waiting = self._thread.submit(self._store, folder, best)

    def close(self, *, needed: bool) -> None:
        """Wait for what is being stored, and where it is still needed for what waits."""
        self._thread.shutdown(wait=True, cancel_futures=not needed)

    def _store(self, folder: Path, best: Path | None) -> None:
        try:
            self.checkpoints.save(folder, best)
            self.stored = folder
        except Exception as error:  # noqa: BLE001  # nobody asks the thread what became of it
            self.failures += 1
            last = "none was stored before" if self.stored is None else f"the last stored is {self.stored.name}"
            self.warn(f"the checkpoint {folder.name} could not be stored, and {last}: {error}")
        _drop_older(folder)
        if best is not None:
            _drop_older(best)


def _drop_older(folder: Path) -> None:
    """Local folders of the same kind that a newer one has replaced."""
    mine = _LOCAL.fullmatch(folder.name)
    for each in folder.parent.iterdir():
        other = _LOCAL.fullmatch(each.name)
        if mine and other and mine["kind"] == other["kind"] and int(other["step"]) < int(mine["step"]):
            shutil.rmtree(each, ignore_errors=True)


def _step(name: str) -> int:
    return int(name.split("-")[1])


def _known_by(folder: Path) -> tuple[object, ...]:
    """What tells a local folder from another of its name that was written later."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return (folder.name, *((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files))
