"""Ingest: sources in, conversations out, the held-out side chosen first, unreadable rows kept apart.

A row is held out when the hash of its normalised first prompt falls below the held-out fraction. Copies of a prompt
that differ in case, punctuation or spacing, all answers to it and all turns after it fall on one side, and the same
prompts stay held out when data is added later.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
from pydantic import Field

from tasks.artifacts.manifest import Counts
from tasks.artifacts.resource import Resource, read_bytes
from tasks.artifacts.store import Attempt
from tasks.caching import stage
from tasks.config import Config
from tasks.conversation import (
    CONVERSATIONS,
    REJECTED,
    Message,
    Split,
    answer_text,
    conversation_id,
    prompt_text,
    words,
)
from tasks.formats import FormatName, reader
from tasks.formats.row import RowError
from tasks.sources import UnreadableFileError, read_rows

ROWS_PER_BATCH = 4096

Role = Literal["general", "domain", "code", "safety"]


class FieldMap(Config):
    """Which fields of a row hold its prompt and its answer."""

    prompt: str
    """Field with the user's text."""
    answer: str
    """Field with the assistant's text."""
    system: str | None = None
    """Field with the system prompt, if any."""


class Source(Config):
    """One set of rows and the part it plays."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """What the source is called in tables and reports."""
    uri: str = Field(min_length=1)
    """A file, a folder, a glob, or an `s3://` address; relative paths begin at the recipe file."""
    role: Role = "domain"
    """The part the source plays in the mixture."""
    format: FormatName | None = None
    """How its rows hold conversations; recognised row by row when not set."""
    map: FieldMap | None = None
    """Field names, for rows of no known format."""

    def reading(self) -> dict[str, Any]:
        """What decides how the source's bytes are read; the address does not."""
        mapping = self.map.model_dump() if self.map else None
        return {"name": self.name, "role": self.role, "format": self.format, "map": mapping}


class IngestionConfig(Config):
    """How sources become conversations."""

    heldout_fraction: float = Field(0.05, ge=0, lt=1)
    """Share of prompts kept out of training to measure it by."""
    max_reject_ratio: float = Field(0.01, ge=0, le=1)
    """Share of unreadable rows above which the stage fails."""


class TooManyRejectsError(Exception):
    """More rows are unreadable than the recipe allows."""


@stage("ingestion", version=2)
def ingest(out: Attempt, config: IngestionConfig, sources: Sequence[Resource]) -> None:
    """Read every source into conversations; keep what cannot be read with its place and cause."""
    tally = _Tally()
    for number, source in enumerate(sources):
        out.progress(number, len(sources), "sources")
        for batch in _batches(_read_source(source, config, tally)):
            conversations = [row for row in batch if "messages" in row]
            rejects = [row for row in batch if "cause" in row]
            out.write("conversations", pa.Table.from_pylist(conversations, CONVERSATIONS))
            out.write("rejected", pa.Table.from_pylist(rejects, REJECTED))
        _require_rows(source, tally)
    if not sources:
        raise ValueError("the recipe has no sources; name at least one")
    out.counts = Counts(read=tally.read, kept=tally.read - tally.rejected.total(), dropped=dict(tally.rejected))
    _require_few_rejects(out.counts, config.max_reject_ratio, tally.examples)
    out.facts["audit"] = tally.audit()


def _read_source(source: Resource, config: IngestionConfig, tally: "_Tally") -> Iterator[dict[str, Any]]:
    reading = source.facts
    read_messages = reader(reading["format"], {k: v for k, v in (reading["map"] or {}).items() if v})
    for file in source.files:
        for number, row, raw in read_rows(file, read_bytes(source, file)):
            origin = {"source": reading["name"], "file": file, "line": number}
            try:
                if isinstance(row, RowError):
                    raise row
                messages = read_messages(row)
            except RowError as error:
                tally.reject(origin, error)
                yield {**origin, "cause": error.cause, "detail": error.detail, "raw": raw}
                continue
            split = split_of(messages, config.heldout_fraction)
            tally.accept(reading["name"], reading["role"], split, messages)
            yield {
                "id": conversation_id(messages),
                "role": reading["role"],
                "split": split,
                **origin,
                "messages": messages,
            }


def split_of(messages: Sequence[Message], heldout_fraction: float) -> Split:
    """The side of the split on which a conversation falls, by its normalised first prompt."""
    prompt = " ".join(words(prompt_text(messages)))
    hashed = int.from_bytes(hashlib.sha256(f"heldout:{prompt}".encode()).digest()[:8])
    return "heldout" if hashed < heldout_fraction * 2**64 else "train"


def _batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == ROWS_PER_BATCH:
            yield batch
            batch = []
    yield batch


def _require_rows(source: Resource, tally: "_Tally") -> None:
    name = source.facts["name"]
    if not tally.read_of[name]:
        raise UnreadableFileError(f"source {name}: {source.uri} holds no rows; check the address, or take it out")


def _require_few_rejects(counts: Counts, max_reject_ratio: float, examples: dict[str, str]) -> None:
    rejected = sum(counts.dropped.values())
    if rejected <= max_reject_ratio * counts.read:
        return
    commonest = Counter(counts.dropped).most_common(3)
    causes = "; ".join(f"{number:,} × {cause} (first: {examples[cause]})" for cause, number in commonest)
    raise TooManyRejectsError(
        f"{rejected:,} of {counts.read:,} rows cannot be read, {rejected / counts.read:.1%} where at most "
        f"{max_reject_ratio:.1%} may: {causes}. Mend the source, map its fields, or raise ingestion.max_reject_ratio."
    )


class _Tally:
    """Counts over all sources while rows go by."""

    def __init__(self) -> None:
        self.read_of: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self._rejected_of: Counter[str] = Counter()
        self._rows: list[tuple[str, str, str, int, int, int]] = []

    @property
    def read(self) -> int:
        return self.read_of.total()

    def reject(self, origin: dict[str, Any], error: RowError) -> None:
        self.read_of[origin["source"]] += 1
        self.rejected[error.cause] += 1
        self._rejected_of[origin["source"]] += 1
        place = f"{origin['source']}: {origin['file']}:{origin['line']}"
        self.examples.setdefault(error.cause, f"{place} {error.detail}".strip())

    def accept(self, source: str, role: str, split: str, messages: Sequence[Message]) -> None:
        self.read_of[source] += 1
        turns = sum(message["role"] == "assistant" for message in messages)
        self._rows.append((source, role, split, len(prompt_text(messages)), len(answer_text(messages)), turns))

    def audit(self) -> list[dict[str, Any]]:
        """One row a source: rows by fate, and what its conversations look like (characters, turns)."""
        columns = ["source", "role", "split", "prompt_characters", "answer_characters", "turns"]
        table = pd.DataFrame(self._rows, columns=columns)
        audit = []
        for source, rows in table.groupby("source", sort=False):
            lengths = rows["answer_characters"].quantile([0.5, 0.95])
            audit.append(
                {
                    "source": str(source),
                    "role": str(rows["role"].iloc[0]),
                    "read": len(rows) + self._rejected_of[str(source)],
                    "rejected": self._rejected_of[str(source)],
                    "heldout": int((rows["split"] == "heldout").sum()),
                    "prompt_characters_median": float(rows["prompt_characters"].median()),
                    "answer_characters_median": float(lengths.iloc[0]),
                    "answer_characters_p95": float(lengths.iloc[1]),
                    "turns_mean": round(float(rows["turns"].mean()), 2),
                }
            )
        return audit
