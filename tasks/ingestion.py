"""Ingest: sources in, conversations out, the held-out side chosen first, unreadable rows kept apart.

A row is held out when the hash of what its first prompt asks falls below the held-out fraction. Copies of a prompt
that differ in case, accents, punctuation, spacing or a "please", all answers to it and all turns after it fall on one
side; each source gives its share, as the hash knows no source; and the same prompts stay held out when data is added
later. Where the recipe names a source as the held-out side, that source is all of it.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Self

import polars as pl
import pyarrow as pa
from pydantic import Field, model_validator

from tasks.algorithms.audit import SourceAudit
from tasks.algorithms.splitting import is_held_out
from tasks.artifacts.manifest import Counts
from tasks.artifacts.resource import Resource
from tasks.artifacts.store import Attempt
from tasks.caching import stage
from tasks.config import Config
from tasks.conversation import (
    CONVERSATIONS,
    REJECTED,
    Message,
    Role,
    Split,
    answer_text,
    conversation_id,
    prompt_text,
)
from tasks.filters.refusal import refusals
from tasks.formats import FormatName, reader
from tasks.formats.mapping import FieldMap
from tasks.formats.row import RowError
from tasks.reporting.audit import audit_tables
from tasks.reporting.audit_warnings import audit_warnings
from tasks.source_reading import Progress, Rejects, TooManyRejectsError, require_few, require_rows
from tasks.sources import UnreadableFileError, read_rows

__all__ = ["IngestionConfig", "Source", "SplitError", "TooManyRejectsError", "ingest", "split_of"]

ROWS_PER_BATCH = 4096
CHARACTERS_PER_BATCH = 16 << 20


class Source(Config):
    """One set of rows and the part it plays."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """What the source is called in tables and reports."""
    uri: str = Field(min_length=1)
    """A file, a folder, a glob, or an `s3://` address; relative paths begin at the recipe file, forms want whole."""
    role: Role = "domain"
    """The part the source plays in the mixture."""
    format: FormatName | None = None
    """How its rows hold conversations; recognised row by row when not set."""
    map: FieldMap | None = None
    """Field names, for rows of no known format."""
    heldout: bool = False
    """Whether these rows are the held-out side, as your own evaluation file is; then no other rows are held out."""
    licence: str = ""
    """Terms under which the rows came, such as cc-by-4.0; shown in the model card."""

    @model_validator(mode="after")
    def _read_in_one_way(self) -> Self:
        if self.format is not None and self.map is not None:
            raise ValueError(
                f"source {self.name} has format {self.format} and a map, which take each other's place; keep one"
            )
        return self

    def reading(self) -> dict[str, Any]:
        """What decides how the source's bytes are read; the address does not."""
        mapping = self.map.model_dump() if self.map else None
        return {"name": self.name, "role": self.role, "format": self.format, "map": mapping, "heldout": self.heldout}


class IngestionConfig(Config):
    """How sources become conversations."""

    heldout_fraction: float = Field(0.05, ge=0, lt=1)
    """Share of prompts kept out of training to measure it by; of no effect where a source is the held-out side."""
    max_reject_ratio: float = Field(0.01, ge=0, le=1)
    """Share of unreadable rows above which the stage fails; it also fails where a source has no readable row."""


class SplitError(Exception):
    """There would be nothing to train on."""


@stage("ingestion", version=2)
def ingest(out: Attempt, config: IngestionConfig, sources: Sequence[Resource]) -> None:
    """Read every source into conversations; keep what cannot be read with its place and cause."""
    if not sources:
        raise ValueError("the recipe has no sources; name at least one")
    given = any(source.facts["heldout"] for source in sources)
    if all(source.facts["heldout"] for source in sources):
        raise SplitError("every source is held out, so nothing is left to train on; add a source that is not")
    fraction = 0.0 if given else config.heldout_fraction
    progress, audits, rejects = Progress(out, sources), [], Rejects()
    for source in sources:
        try:
            audit, rejected = _ingest_source(out, source, fraction, progress)
        except UnreadableFileError as error:
            raise UnreadableFileError(f"source {source.facts['name']}: {error}") from error
        require_rows(source, audit.read, audit.rows, rejected, config.max_reject_ratio)
        audits.append(audit)
        rejects.merge(rejected)
    read = sum(audit.read for audit in audits)
    out.counts = Counts(read=read, kept=read - rejects.total, dropped=dict(rejects.causes))
    require_few(rejects, read, config.max_reject_ratio)
    out.facts.update(audit_tables(audits))
    for sentence in audit_warnings(audits, fraction, config.max_reject_ratio):
        out.warn(sentence)


def split_of(messages: Sequence[Message], heldout_fraction: float) -> Split:
    """The side of the split on which a conversation falls, by what its first prompt asks; a plain text by itself."""
    asked = prompt_text(messages) or answer_text(messages)
    return "heldout" if is_held_out(asked, heldout_fraction) else "train"


def _ingest_source(out: Attempt, source: Resource, fraction: float, progress: Progress) -> tuple[SourceAudit, Rejects]:
    audit = SourceAudit(source.facts["name"], source.facts["role"], len(source.files))
    rejects = Rejects()
    for batch in _batches(_read_source(source, fraction, audit, rejects, progress)):
        conversations = [row for row in batch if "messages" in row]
        rejected = [row for row in batch if "cause" in row]
        table = pa.Table.from_pylist(conversations, CONVERSATIONS)
        answers = pl.Series([answer_text(row["messages"]) for row in conversations], dtype=pl.String)
        audit.add(table, int(refusals(answers).sum()))
        audit.rejected += len(rejected)
        out.write("conversations", table)
        out.write("rejected", pa.Table.from_pylist(rejected, REJECTED))
    return audit, rejects


def _read_source(
    source: Resource, fraction: float, audit: SourceAudit, rejects: Rejects, progress: Progress
) -> Iterator[dict[str, Any]]:
    """Conversations and rejected rows, as their tables hold them."""
    reading = source.facts
    read = reader(reading["format"], reading["map"])
    for file in source.files:
        for number, row, raw in read_rows(source, file, progress.seen):
            origin = {"source": reading["name"], "file": file, "line": number}
            try:
                if isinstance(row, RowError):
                    raise row
                audit.fields.add(row)
                messages, tools, quality = read(row)
            except RowError as error:
                rejects.add(f"{reading['name']}: {file}:{number}", error)
                yield {**origin, "cause": error.cause, "detail": error.detail, "raw": raw}
                continue
            yield {
                "id": conversation_id(messages, tools),
                "role": reading["role"],
                "split": "heldout" if reading["heldout"] else split_of(messages, fraction),
                **origin,
                "messages": messages,
                "tools": tools,
                "quality": quality,
            }
        progress.finish(source.paths[file])


def _batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Rows in lists that are bounded in number and, long rows being long, in text."""
    batch: list[dict[str, Any]] = []
    characters = 0
    for row in rows:
        batch.append(row)
        characters += sum(len(message["content"]) for message in row.get("messages", ()))
        if len(batch) == ROWS_PER_BATCH or characters > CHARACTERS_PER_BATCH:
            yield batch
            batch, characters = [], 0
    yield batch
