"""Deduplicate: one row of every group of copies, and nothing in training that stands on a given other side.

Given test rows come first, then given validation rows, then all others in the order of the sources; a row goes only for
a kept row before it whose similarity was computed exactly. So no two rows that are left are near copies of each other,
on whichever side they fall when sides are drawn. Rows of a given side are measured by as they are: they stay, but for
validation rows that are copies of test rows.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from pydantic import Field

from tasks.algorithms.shingles import ShingleSets
from tasks.algorithms.similarity_join import Copies, Ranking, near_copies
from tasks.algorithms.text_digests import groups, text_digests
from tasks.artifacts.manifest import Artifact, Counts
from tasks.artifacts.store import Attempt
from tasks.caching import stage
from tasks.classification.texts import read_texts, whole_texts, written
from tasks.config import Config
from tasks.conversation import words
from tasks.labelled_text import GONE, gone

EXACT, NEAR = "exact duplicate", "near duplicate"
OTHER_LABEL = "near duplicate with another label"
COPY_OF = {"test": "copy of a test row", "validation": "copy of a validation row"}
_RANKS = {"test": 0, "validation": 1}


class LabelledDeduplicationConfig(Config):
    """What counts as a copy."""

    similarity: float = Field(0.8, gt=0, le=1)
    """Jaccard similarity of word n-grams from which two rows are near duplicates."""
    ngram: int = Field(5, ge=1, le=20)
    """Words of an n-gram. Texts of fewer words are compared to the last mark."""


@stage("labelled-deduplication", version=1)
def deduplicate(
    out: Attempt, config: LabelledDeduplicationConfig, curated: Artifact, sources: Sequence[str] = ()
) -> None:
    """Keep one row of every group of copies; `sources` are those of the recipe, in its order."""
    rows = _in_order(read_texts(out.store, curated), sources)
    copies, same = _copies(out, config, rows)
    _release_pairs(rows, copies, same, config)
    reasons = _reasons(rows, copies, same)
    kept = [place for place, reason in enumerate(reasons) if reason is None]
    written(out, "texts", rows, kept)
    told = [
        gone(rows.row(place, named=True), reason, _evidence(rows, int(copies.of[place]), copies.similarity[place]))
        for place, reason in enumerate(reasons)
        if reason is not None
    ]
    out.write("dropped", pa.Table.from_pylist(told, GONE))
    counted = Counter(reason for reason in reasons if reason is not None)
    out.counts = Counts(read=len(rows), kept=len(kept), dropped=dict(sorted(counted.items())))
    _tell(out, rows, reasons, counted)


def _in_order(rows: pl.DataFrame, sources: Sequence[str]) -> pl.DataFrame:
    """Rows in the order in which they are settled, however they came."""
    ranks = {name: rank for rank, name in enumerate(sources)}
    return (
        rows.with_columns(
            _side=pl.col("split").replace_strict(_RANKS, default=2, return_dtype=pl.Int64),
            _source=pl.col("source").replace_strict(ranks, default=len(ranks), return_dtype=pl.Int64)
            if ranks
            else pl.lit(0),
        )
        .sort("_side", "_source", "source", "id", "file", "line")
        .drop("_side", "_source")
    )


def _copies(
    out: Attempt, config: LabelledDeduplicationConfig, rows: pl.DataFrame
) -> tuple[Copies, npt.NDArray[np.int64]]:
    texts = pa.array(whole_texts(rows), pa.string())
    same = groups(text_digests(texts), np.zeros(len(rows), dtype=np.bool_))
    sets = ShingleSets(config.ngram)
    sets.add(texts)
    ranking = Ranking(
        order=np.arange(len(rows), dtype=np.int64),
        groups=same,
        protected=rows["split"].is_in(list(_RANKS)).to_numpy(),
        guarded=int((rows["split"] == "test").sum()),
    )
    return near_copies(sets, config.similarity, ranking, lambda done, total: out.progress(done, total)), same


def _release_pairs(
    rows: pl.DataFrame, copies: Copies, same: npt.NDArray[np.int64], config: LabelledDeduplicationConfig
) -> None:
    """Let go of rows of two texts of which one alone is a near copy: many questions may share a passage.

    What is left may hold rows whose both texts are near to those of a row that is not the first near one.
    """
    pairs = rows.select("text", "text_pair").rows()
    kept_of: dict[int, int] = {}
    for place, kept in enumerate(copies.of.tolist()):
        if kept >= 0 and same[place] >= 0 and same[place] in kept_of:
            copies.of[place], copies.similarity[place] = kept_of[int(same[place])], 1.0
        elif kept >= 0 and pairs[place][1] and not _alike(pairs[place], pairs[kept], config):
            copies.of[place] = kept = -1
        if kept < 0 and same[place] >= 0:
            kept_of.setdefault(int(same[place]), place)


def _alike(pair: tuple[str, str], other: tuple[str, str], config: LabelledDeduplicationConfig) -> bool:
    return all(_jaccard(*texts, config.ngram) >= config.similarity for texts in zip(pair, other, strict=True))


def _jaccard(text: str, other: str, size: int) -> float:
    """Of the n-grams of words; of shorter texts 1 where they are equal."""
    if " ".join(text.casefold().split()) == " ".join(other.casefold().split()):
        return 1.0
    grams = [
        {tuple(each[at : at + size]) for at in range(len(each) - size + 1)} for each in (words(text), words(other))
    ]
    return len(grams[0] & grams[1]) / len(grams[0] | grams[1]) if all(grams) else 0.0


def _reasons(rows: pl.DataFrame, copies: Copies, same: npt.NDArray[np.int64]) -> list[str | None]:
    splits, labels = rows["split"].to_list(), rows["labels"].list.sort().to_list()
    reasons: list[str | None] = []
    for place, kept in enumerate(copies.of.tolist()):
        if kept < 0:
            reasons.append(None)
        elif splits[kept] in COPY_OF:
            reasons.append(COPY_OF[splits[kept]])
        elif same[place] >= 0 and same[place] == same[kept]:
            reasons.append(EXACT)
        else:
            reasons.append(NEAR if labels[place] == labels[kept] else OTHER_LABEL)
    return reasons


def _evidence(rows: pl.DataFrame, kept: int, similarity: float) -> str:
    row = rows.row(kept, named=True)
    labels = ", ".join(row["labels"])
    return f"kept {row['id']} ({row['source']} {row['file']}:{row['line']}, {labels}), similarity {similarity:.3f}"


def _tell(out: Attempt, rows: pl.DataFrame, reasons: list[str | None], counted: Counter[str]) -> None:
    by_source = Counter(zip(rows["source"].to_list(), reasons, strict=True))
    out.facts["copies"] = [
        {"source": source, "reason": reason, "rows": number}
        for (source, reason), number in sorted(by_source.items(), key=lambda each: (each[0][0], str(each[0][1])))
        if reason is not None
    ]
    leaked = sum(counted[reason] for reason in COPY_OF.values())
    if leaked:
        out.warn(
            f"{leaked:,} rows are copies of rows on a given test or validation side, and were left out of training: "
            "with them, scores would tell what was learnt by heart."
        )
    if counted[OTHER_LABEL]:
        out.warn(
            f"{counted[OTHER_LABEL]:,} rows are near copies of a row with another label, and were left out; where the "
            "few words in which they differ decide, raise deduplication.similarity."
        )
