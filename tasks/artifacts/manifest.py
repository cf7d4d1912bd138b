"""What is written about an artifact, and the small handle that travels in its place."""

import hashlib
import json
import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tasks.artifacts.fingerprint import digest
from tasks.config import Config

FINGERPRINT_CHARACTERS = 16
"""Hex characters of a fingerprint that stand in an address (64 bits)."""

_ATTEMPT = re.compile(r"attempt-[0-9A-Za-z-]+")


class Parent(Config):
    """Something a stage was given: an artifact or a resource, by content. Only `name` and `content` are identity."""

    name: str
    content: str
    address: str | None = None
    """Where the artifact lies in the store; none for a resource."""
    uri: str | None = None
    """Where a resource was read from."""
    files: dict[str, str] = Field(default_factory=dict)
    """sha256 of each file of a resource, so that a plan can say which one changed."""


class Identity(Config):
    """Everything that decides a stage's result."""

    stage: str = Field(pattern=r"^[a-z][a-z0-9_-]*$")
    version: int
    config: dict[str, Any]
    parents: tuple[Parent, ...]

    @property
    def fingerprint(self) -> str:
        """sha256 over stage, version, configuration and the contents of the parents."""
        parents = [{"name": parent.name, "content": parent.content} for parent in self.parents]
        return digest({"stage": self.stage, "version": self.version, "config": self.config, "parents": parents})

    @property
    def address(self) -> str:
        """The artifact's folder, relative to the store's root."""
        return f"{self.stage}/{self.fingerprint[:FINGERPRINT_CHARACTERS]}"


class Counts(Config):
    """What became of a stage's rows. `read = kept + Σ dropped`, always."""

    read: int = Field(ge=0)
    kept: int = Field(ge=0)
    dropped: dict[str, int] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _conserved(self) -> "Counts":
        if self.read != self.kept + sum(self.dropped.values()):
            raise ValueError(
                f"rows are not conserved: read {self.read}, kept {self.kept}, dropped {self.dropped}; "
                "each row read must be kept or dropped for one reason"
            )
        return self


class Part(Config):
    """One stored file: a Parquet part of a table, or a file of a model."""

    path: str
    rows: int = 0
    bytes: int
    sha256: str
    incidental: bool = False
    """A file such as a log, which differs between equal runs: no part of the artifact's content."""


class Table(Config):
    """A named table of an artifact: its size, and the digest of its rows."""

    rows: int
    content: str
    incidental: bool = False
    """Figures such as timings, which differ between equal runs: no part of the artifact's content."""


class Artifact(Config):
    """The handle of a committed artifact: everything a later stage needs to find and trust it, under 2 KB."""

    stage: str
    fingerprint: str
    address: str
    content: str
    """Digest of the tables and files; what heirs enter into their own fingerprints."""
    tables: dict[str, Table] = Field(default_factory=dict)
    counts: Counts
    warnings: tuple[str, ...] = ()
    """What people should know of it, a sentence each."""

    def only(self, *names: str) -> "Artifact":
        """The same artifact seen through some of its tables: heirs of the view ignore changes in the others."""
        missing = set(names) - set(self.tables)
        if missing:
            raise KeyError(f"{self.address} has no table {sorted(missing)}; it has {sorted(self.tables)}")
        tables = {name: self.tables[name] for name in sorted(names)}
        return self.model_copy(update={"tables": tables, "content": digest({k: t.content for k, t in tables.items()})})

    def as_parent(self, name: str) -> Parent:
        """This artifact as an input of a stage."""
        return Parent(name=name, content=self.content, address=self.address)


class Manifest(BaseModel):
    """The record whose existence commits an artifact: identity, payload, provenance."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    identity: Identity
    fingerprint: str
    content: str
    attempt: str
    """The folder, beside the manifest, that holds the parts of the attempt that won."""
    tables: dict[str, Table] = {}
    parts: dict[str, tuple[Part, ...]] = {}
    """The parts of each table, in row order."""
    files: dict[str, Part] = {}
    counts: Counts
    warnings: tuple[str, ...] = ()
    facts: dict[str, Any] = {}
    """Figures for people (audit, shares, seconds): never hashed, as the warnings are."""
    provenance: dict[str, Any] = {}

    @property
    def artifact(self) -> Artifact:
        """The handle."""
        return Artifact(
            stage=self.identity.stage,
            fingerprint=self.fingerprint,
            address=self.identity.address,
            content=self.content,
            tables=self.tables,
            counts=self.counts,
            warnings=self.warnings,
        )

    @property
    def stored(self) -> tuple[Part, ...]:
        """Every stored file."""
        return (*(part for parts in self.parts.values() for part in parts), *self.files.values())

    @model_validator(mode="after")
    def _consistent(self) -> "Manifest":
        if not _ATTEMPT.fullmatch(self.attempt):
            raise ValueError(f"{self.attempt!r} is no attempt's name")
        for part in self.stored:
            steps = part.path.split("/")
            # What is read and removed by these paths must never lie elsewhere.
            if steps[0] != self.attempt or len(steps) < 2 or any(step in ("", ".", "..") for step in steps):
                raise ValueError(f"the part {part.path!r} lies outside of its attempt {self.attempt}")
        rows = {name: sum(part.rows for part in parts) for name, parts in self.parts.items()}
        if rows != {name: table.rows for name, table in self.tables.items()}:
            raise ValueError("tables and parts disagree about their rows")
        if self.content != content_of(self.tables, self.files):
            raise ValueError("the content is not that of its tables and files")
        return self

    def dump(self) -> bytes:
        """The manifest as it is stored: indented JSON, for people too, with a seal that tells when it was altered."""
        document = json.loads(json.dumps(self.model_dump(mode="json")))
        document["seal"] = _seal(document)
        return json.dumps(document, indent=1, ensure_ascii=False).encode()

    @classmethod
    def load(cls, raw: bytes) -> "Manifest":
        """Read a stored manifest; `ValueError` says what is wrong with one that is broken or was altered."""
        try:
            document = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"the manifest is not readable: {error}") from None
        if not isinstance(document, dict) or document.pop("seal", None) != _seal(document):
            raise ValueError("the manifest's seal does not fit; it was edited")
        try:
            manifest = cls.model_validate(document)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(step) for step in first["loc"]) or "the document"
            raise ValueError(f"the manifest is not readable at {place}: {first['msg']}") from None
        if manifest.identity.fingerprint != manifest.fingerprint:
            raise ValueError("the manifest's identity does not give its fingerprint; it was edited")
        return manifest


def content_of(tables: dict[str, Table], files: dict[str, Part]) -> str:
    """The digest by which heirs know an artifact: of its tables' rows and its files' bytes."""
    rows = {name: table.content for name, table in tables.items() if not table.incidental}
    named = {name: part.sha256 for name, part in files.items() if not part.incidental}
    return digest({"tables": rows, "files": named})


def _seal(document: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
