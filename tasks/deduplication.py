"""Deduplicate: one conversation of each group of copies; none that the held-out side or a benchmark holds.

Rows are taken in a declared order, the held-out side first, then sources as the recipe lists them. A row goes only
for a kept row before it whose similarity was computed exactly, or for a benchmark question that it holds.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from tasks.algorithms.containment import QuestionIndex
from tasks.algorithms.shingles import WordHasher, shingles
from tasks.algorithms.similarity_join import near_copies
from tasks.artifacts.manifest import Artifact, Counts
from tasks.artifacts.resource import Resource
from tasks.artifacts.store import Attempt
from tasks.benchmarks import load_items
from tasks.caching import stage
from tasks.config import Config
from tasks.conversation import CURATED, DROPPED, answer_text, conversation_text, dropped_row, prompt_text, words
from tasks.filters.row import Verdict

Over = Literal["conversation", "prompt", "answer"]

_TEXT_OF = {"conversation": conversation_text, "prompt": prompt_text, "answer": answer_text}


class DeduplicationConfig(Config):
    """What counts as a copy."""

    similarity: float = Field(0.8, gt=0, le=1)
    """Jaccard similarity of word n-grams from which two rows are near duplicates."""
    ngram: int = Field(5, ge=1, le=20)
    """Words of an n-gram."""
    over: Over = "conversation"
    """The text that is compared."""


@stage("deduplication", version=2)
def deduplicate(out: Attempt, config: DeduplicationConfig, curated: Artifact, benchmarks: Sequence[Resource]) -> None:
    """Keep one conversation of every group of copies, and none that gives an evaluation away."""
    rows = _in_declared_order(out, curated)
    verdicts = _benchmark_overlaps(rows, benchmarks)
    texts = [_TEXT_OF[config.over](row["messages"]) for row in rows]
    verdicts |= _exact_copies(rows, texts, verdicts)
    verdicts |= _near_copies(out, config, rows, texts, verdicts)
    kept = [row for index, row in enumerate(rows) if index not in verdicts]
    gone = [dropped_row(rows[index], *verdicts[index]) for index in sorted(verdicts)]
    out.write("conversations", pa.Table.from_pylist(kept, CURATED))
    out.write("dropped", pa.Table.from_pylist(gone, DROPPED))
    reasons = Counter(verdict.reason for verdict in verdicts.values())
    out.counts = Counts(read=len(rows), kept=len(kept), dropped=dict(sorted(reasons.items())))


def _in_declared_order(out: Attempt, curated: Artifact) -> list[dict[str, Any]]:
    rows = list(out.store.rows(curated, "conversations"))
    return sorted(rows, key=lambda row: row["split"] != "heldout")


def _benchmark_overlaps(rows: Sequence[dict[str, Any]], benchmarks: Sequence[Resource]) -> dict[int, Verdict]:
    index = QuestionIndex()
    for benchmark in benchmarks:
        for item in load_items(benchmark):
            index.add(f"{benchmark.facts['name']} {item.item_id}", item.question)
    found: dict[int, Verdict] = {}
    for position, row in enumerate(rows if benchmarks else ()):
        for message in row["messages"]:
            match = index.find(message["content"]) if message["role"] == "user" else None
            if match is not None:
                evidence = f"{match.question}: {match.containment:.0%} of its n-grams, first “{match.span}”"
                found[position] = Verdict("benchmark overlap", evidence)
                break
    return found


def _exact_copies(rows: Sequence[dict[str, Any]], texts: Sequence[str], gone: dict[int, Verdict]) -> dict[int, Verdict]:
    first: dict[str, int] = {}
    found = {}
    for position, text in enumerate(texts):
        if position in gone:
            continue
        kept = first.setdefault(" ".join(text.casefold().split()), position)
        if kept != position:
            found[position] = _verdict("exact duplicate", rows[position], rows[kept], 1.0)
    return found


def _near_copies(
    out: Attempt,
    config: DeduplicationConfig,
    rows: Sequence[dict[str, Any]],
    texts: Sequence[str],
    gone: dict[int, Verdict],
) -> dict[int, Verdict]:
    hasher = WordHasher()
    positions = [position for position in range(len(rows)) if position not in gone]
    hashes = (hasher(words(texts[position])) for position in positions)
    # A text of fewer words than an n-gram is what it is to the last mark ("4 < 5", "Yes!"): only exact copies go.
    sets = [shingles(each, config.ngram) if len(each) >= config.ngram else each[:0] for each in hashes]
    found = {}
    for copy in near_copies(sets, config.similarity, lambda done, total: out.progress(done, total)):
        position, kept = positions[copy.row], positions[copy.kept]
        found[position] = _verdict("near duplicate", rows[position], rows[kept], copy.similarity)
    return found


def _verdict(reason: str, row: dict[str, Any], kept: dict[str, Any], similarity: float) -> Verdict:
    if row["split"] == "train" and kept["split"] == "heldout":
        reason = "held-out overlap"
    place = f"{kept['source']} {kept['file']}:{kept['line']}"
    return Verdict(reason, f"kept {kept['id']} ({place}), similarity {similarity:.3f}")
