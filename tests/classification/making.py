"""Small inputs for the labelled stages: sources, tables of labelled texts, and what stands in an artifact."""

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from tasks.artifacts.fingerprint import digest
from tasks.artifacts.manifest import Artifact, Counts, Identity, Parent
from tasks.artifacts.resource import Resource, read_resource
from tasks.artifacts.store import Store
from tasks.classification.ingestion import LabelledSource
from tasks.classification.mixing import LABELS, SUSPECTS
from tasks.labelled_text import SIDES, TEXTS, text_id

TOPICS = {
    "card": ("card", "lost", "stolen", "replace", "plastic", "chip"),
    "loan": ("loan", "rate", "interest", "borrow", "instalment", "mortgage"),
    "open": ("open", "account", "apply", "customer", "passport", "form"),
    "fees": ("fee", "charged", "monthly", "refund", "statement", "cost"),
}
"""Labels, and the words that tell them apart."""


class Text(NamedTuple):
    """A labelled text as a stage finds it."""

    text: str
    labels: str | tuple[str, ...]
    split: str = ""
    source: str = "s"
    pair: str = ""


def source(path: Path, rows: Sequence[Mapping[str, Any]] | bytes, **settings: Any) -> Resource:
    """A source of one file, written as JSON lines unless it is bytes already."""
    data = rows if isinstance(rows, bytes) else "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    declared = LabelledSource(name=path.stem, uri=str(path), **settings)
    return read_resource(declared.uri, facts=declared.reading())


def about(label: str, number: int) -> str:
    """A text about a label of `TOPICS`; no two numbers give near copies."""
    chance = random.Random(f"{label} {number}")
    named = chance.sample(TOPICS[label], 3)
    others = [f"{chance.choice(('the', 'a', 'my', 'this'))} w{chance.randrange(400)}" for _ in range(4)]
    return " ".join([*named, *others, f"{label}{number}"])


def some(label: str, count: int, split: str = "", start: int = 0) -> list[Text]:
    """Texts about a label."""
    return [Text(about(label, number), label, split) for number in range(start, start + count)]


def table(rows: Iterable[Text]) -> pa.Table:
    """Labelled texts as the stages' tables hold them; the line is the place among all of them."""
    made = []
    for line, row in enumerate(rows, start=1):
        labels = [row.labels] if isinstance(row.labels, str) else list(row.labels)
        made.append(
            {
                "id": text_id(row.text, row.pair, labels),
                "source": row.source,
                "file": f"{row.source}.jsonl",
                "line": line,
                "text": row.text,
                "text_pair": row.pair,
                "labels": labels,
                "split": row.split,
            }
        )
    return pa.Table.from_pylist(made, TEXTS)


def artifact(
    store: Store,
    stage: str,
    tables: Mapping[str, pa.Table],
    parents: tuple[Parent, ...] = (),
    files: Mapping[str, bytes] | None = None,
    facts: Mapping[str, Any] | None = None,
    **config: Any,
) -> Artifact:
    """A committed artifact of these tables and files."""
    held = {name: each.to_pylist() for name, each in tables.items()}
    stored = {name: data.hex() for name, data in (files or {}).items()}
    told = {"held": digest(json.dumps([held, stored])), **config}
    with store.attempt(Identity(stage=stage, version=1, config=told, parents=parents)) as attempt:
        for name, each in tables.items():
            attempt.write(name, each)
        for name, data in (files or {}).items():
            attempt.write_file(name, data)
        attempt.facts |= facts or {}
        attempt.counts = Counts(read=1, kept=1)
        return attempt.commit({})


def texts(store: Store, rows: Iterable[Text], stage: str = "labelled-ingestion") -> Artifact:
    """Labelled texts, as a stage before would give them."""
    return artifact(store, stage, {"texts": table(rows)})


def mixed(store: Store, rows: Sequence[Text], labels: Sequence[str]) -> Artifact:
    """Labelled texts whose sides are settled."""
    sides: dict[str, pa.Table] = {side: table(row for row in rows if row.split == side) for side in SIDES}
    named = pa.Table.from_pylist([{"name": name} for name in labels], LABELS)
    return artifact(store, "labelled-mixing", {**sides, "labels": named, "suspects": SUSPECTS.empty_table()})


def rows(store: Store, made: Artifact, name: str = "texts") -> list[dict[str, Any]]:
    """What a table of an artifact holds."""
    return list(store.rows(made, name))


def reasons(store: Store, made: Artifact) -> dict[str, str]:
    """Why each row went, by its source and line."""
    return {f"{row['source']}:{row['line']}": row["reason"] for row in store.rows(made, "dropped")}


def lines(store: Store, made: Artifact, name: str = "texts") -> list[str]:
    """The source and line of each row of a table."""
    return [f"{row['source']}:{row['line']}" for row in store.rows(made, name)]


def facts(store: Store, made: Artifact) -> dict[str, Any]:
    """The figures that a stage tells."""
    return store.manifest(made).facts
