"""Ingest: sources in, labelled texts out; what cannot be read is kept apart with file, line and cause."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from tasks.algorithms.audit import FieldCounts
from tasks.artifacts.manifest import Counts
from tasks.artifacts.resource import Resource
from tasks.artifacts.store import Attempt
from tasks.caching import stage
from tasks.classification.reading import LabelMap, Reading, reader
from tasks.config import Config
from tasks.conversation import REJECTED
from tasks.formats.row import RowError
from tasks.labelled_text import TEXTS, Side, text_id
from tasks.source_reading import Progress, Rejects, require_few, require_rows
from tasks.sources import UnreadableFileError, read_rows

ROWS_PER_BATCH = 4096
CHARACTERS_PER_BATCH = 16 << 20
_MISSING_WORTH_A_WORD = 0.001


class LabelledSource(Config):
    """One set of labelled rows."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """What the source is called in tables and reports."""
    uri: str = Field(min_length=1)
    """A file, a folder, a glob, or an `s3://` address; relative paths begin at the recipe file, forms want whole."""
    map: LabelMap | None = None
    """Which fields hold text and label; found by their usual names when not set."""
    split: Side | None = None
    """The side on which all its rows stand; else a row's own `split` says so, or it is drawn."""
    label_names: tuple[str, ...] = ()
    """Names of labels that the rows give as numbers, from 0 on; a number is its own name when not set."""
    separator: str | None = Field(None, min_length=1)
    """What stands between labels that are written as one text, where texts may have several."""
    licence: str = ""
    """Terms under which the rows came, such as cc-by-4.0; shown in the model card."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        twice = [name for name, count in Counter(self.label_names).items() if count > 1]
        if twice:
            raise ValueError(f"label_names of source {self.name} has {twice[0]!r} twice; each number has its own name")
        return self

    def reading(self) -> dict[str, Any]:
        """What decides how the source's bytes are read; the address does not."""
        told = self.model_dump(mode="json", include={"name", "map", "split", "label_names", "separator"})
        return told | {"label_names": list(self.label_names)}


class LabelledIngestionConfig(Config):
    """How sources become labelled texts."""

    multi_label: bool = False
    """Whether a text may have several labels, or none."""
    labels: tuple[str, ...] = ()
    """All labels that there are, in their order; rows with another one are rejected. What the rows have, if not set."""
    max_reject_ratio: float = Field(0.05, ge=0, le=1)
    """Share of rows without text or label, or that cannot be read, above which the stage fails."""

    @model_validator(mode="after")
    def _labels_differ(self) -> Self:
        odd = [name for name, count in Counter(self.labels).items() if count > 1 or name != name.strip() or not name]
        if odd:
            raise ValueError(f"labels has {odd[0]!r} twice, empty, or with white space around it; no row would match")
        return self


@stage("labelled-ingestion", version=1)
def ingest(out: Attempt, config: LabelledIngestionConfig, sources: Sequence[Resource]) -> None:
    """Read every source into labelled texts; keep what cannot be read with its place and cause."""
    progress, rejects, audits = Progress(out, sources), Rejects(), list[dict[str, Any]]()
    labels: Counter[str] = Counter()
    for source in sources:
        try:
            audit, rejected, seen = _ingest_source(out, config, source, progress)
        except UnreadableFileError as error:
            raise UnreadableFileError(f"source {source.facts['name']}: {error}") from error
        require_rows(source, audit["read"], audit["rows"], rejected, config.max_reject_ratio)
        audits.append(audit)
        labels += seen
        rejects.merge(rejected)
    read = sum(audit["read"] for audit in audits)
    require_few(rejects, read, config.max_reject_ratio)
    out.counts = Counts(read=read, kept=read - rejects.total, dropped=dict(rejects.causes))
    out.facts["audit"] = audits
    out.facts["labels"] = [{"label": name, "rows": rows} for name, rows in labels.most_common()]
    if rejects.total > _MISSING_WORTH_A_WORD * read:
        out.warn(f"{rejects.total:,} of {read:,} rows have no text or label, or cannot be read: {rejects.in_words()}")


def _ingest_source(
    out: Attempt, config: LabelledIngestionConfig, source: Resource, progress: Progress
) -> tuple[dict[str, Any], Rejects, Counter[str]]:
    rejects, fields, labels, sides = Rejects(), FieldCounts(), Counter[str](), Counter[str]()
    words: list[int] = []
    for batch in _batches(_read_source(source, config, fields, rejects, progress)):
        texts = [row for row in batch if "text" in row]
        out.write("texts", pa.Table.from_pylist(texts, TEXTS))
        out.write("rejected", pa.Table.from_pylist([row for row in batch if "cause" in row], REJECTED))
        labels.update(name for row in texts for name in row["labels"])
        sides.update(row["split"] or "drawn" for row in texts)
        words += [len(row["text"].split()) + len(row["text_pair"].split()) for row in texts]
    told = {
        "source": source.facts["name"],
        "files": len(source.files),
        "read": len(words) + rejects.total,
        "rejected": rejects.total,
        "rows": len(words),
        **{f"given_{side}": sides[side] for side in ("train", "validation", "test")},
        "labels": len(labels),
        "words_median": int(np.median(words)) if words else 0,
        "words_longest": max(words, default=0),
    }
    return told | {"missing": dict(fields.missing()[:5])}, rejects, labels


def _read_source(
    source: Resource, config: LabelledIngestionConfig, fields: FieldCounts, rejects: Rejects, progress: Progress
) -> Iterator[dict[str, Any]]:
    """Labelled texts and rejected rows, as their tables hold them."""
    facts = source.facts
    read = reader(Reading(**facts, multi_label=config.multi_label, known=config.labels))
    for file in source.files:
        for number, row, raw in read_rows(source, file, progress.seen):
            origin = {"source": facts["name"], "file": file, "line": number}
            try:
                if isinstance(row, RowError):
                    raise row
                fields.add(row)
                found = read(row)
            except RowError as error:
                rejects.add(f"{facts['name']}: {file}:{number}", error)
                yield {**origin, "cause": error.cause, "detail": error.detail, "raw": raw}
                continue
            yield {
                "id": text_id(found.text, found.text_pair, found.labels),
                **origin,
                "text": found.text,
                "text_pair": found.text_pair,
                "labels": found.labels,
                "split": found.split or "",
            }
        progress.finish(source.paths[file])


def _batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Rows in lists that are bounded in number and, long rows being long, in text."""
    batch: list[dict[str, Any]] = []
    characters = 0
    for row in rows:
        batch.append(row)
        characters += len(row.get("text", "")) + len(row.get("text_pair", ""))
        if len(batch) == ROWS_PER_BATCH or characters > CHARACTERS_PER_BATCH:
            yield batch
            batch, characters = [], 0
    yield batch
