"""Curate: what cannot teach a classifier goes. The same text with contradicting labels teaches noise."""

from collections import Counter
from collections.abc import Iterator
from typing import Literal

import polars as pl
import pyarrow as pa
from pydantic import Field

from tasks.algorithms.text_digests import groups, text_digests
from tasks.artifacts.manifest import Artifact, Counts
from tasks.artifacts.store import Attempt
from tasks.caching import stage
from tasks.classification.texts import read_texts, whole_texts, written
from tasks.config import Config
from tasks.labelled_text import GONE, gone

CONTRADICTION, RARE, SHORT = "contradicting labels", "rare label", "too few words"
_QUOTED = 5


class LabelledCurationConfig(Config):
    """Which texts cannot teach."""

    contradictions: Literal["drop", "majority", "keep"] = "drop"
    """Equal texts with different labels, but for capitals and white space: all go, those with the commonest label
    stay, or all stay. Rows of a given test side always stay, and are told of."""
    min_rows_per_label: int = Field(1, ge=1)
    """Rows below which a label is left out with all its rows."""
    min_words: int = Field(1, ge=1)
    """Words below which a text is left out."""


@stage("labelled-curation", version=1)
def curate(out: Attempt, config: LabelledCurationConfig, ingested: Artifact) -> None:
    """Keep the texts that can teach; of what goes, the reason and what proves it."""
    rows = read_texts(out.store, ingested)
    dropped: dict[int, tuple[str, str]] = {}
    dropped |= {
        place: (SHORT, f"{len(text.split())} words, at least {config.min_words}")
        for place, text in enumerate(rows["text"])
        if len(text.split()) < config.min_words
    }
    found = list(_contradictions(rows))
    for places in found:
        dropped |= {place: verdict for place, verdict in _settled(rows, places, config).items() if place not in dropped}
    dropped |= {place: verdict for place, verdict in _rare(rows, dropped, config).items() if place not in dropped}
    written(out, "texts", rows, [place for place in range(len(rows)) if place not in dropped])
    told = [gone(rows.row(place, named=True), *verdict) for place, verdict in sorted(dropped.items())]
    out.write("dropped", pa.Table.from_pylist(told, GONE))
    reasons = Counter(reason for reason, _ in dropped.values())
    out.counts = Counts(read=len(rows), kept=len(rows) - len(dropped), dropped=dict(sorted(reasons.items())))
    out.facts["contradictions"] = len(found)
    if found:
        out.warn(_warning(rows, found, config))


def _contradictions(rows: pl.DataFrame) -> Iterator[list[int]]:
    """Places of equal texts that have different labels."""
    texts = pa.array(whole_texts(rows), pa.string())
    same = groups(text_digests(texts), (rows["text"] == "").to_numpy())
    keyed = pl.DataFrame({"group": same, "place": range(len(rows)), "labels": rows["labels"].list.sort()})
    several = keyed.filter(pl.col("group") >= 0).group_by("group").agg("place", pl.col("labels").n_unique().alias("n"))
    yield from several.filter(pl.col("n") > 1).sort("group")["place"].to_list()


def _settled(rows: pl.DataFrame, places: list[int], config: LabelledCurationConfig) -> dict[int, tuple[str, str]]:
    if config.contradictions == "keep":
        return {}
    said = {place: tuple(sorted(rows["labels"][place].to_list())) for place in places}
    counted = Counter(said.values()).most_common()
    right = counted[0][0] if config.contradictions == "majority" and counted[0][1] > counted[1][1] else None
    evidence = "the same text is " + " and ".join(f"{_told(label)} {count}×" for label, count in counted[:_QUOTED])
    first = {label: place for place, label in reversed(said.items())}
    where = ", ".join(f"{_told(label)} in {_place(rows, first[label])}" for label, _ in counted[:_QUOTED])
    return {
        place: (CONTRADICTION, f"{evidence}: {where}")
        for place, label in said.items()
        if label != right and rows["split"][place] != "test"
    }


def _rare(
    rows: pl.DataFrame, dropped: dict[int, tuple[str, str]], config: LabelledCurationConfig
) -> dict[int, tuple[str, str]]:
    if config.min_rows_per_label == 1:
        return {}
    left = [(place, labels) for place, labels in enumerate(rows["labels"].to_list()) if place not in dropped]
    counted = Counter(label for _, labels in left for label in labels)
    rare = {label: count for label, count in counted.items() if count < config.min_rows_per_label}
    told = ((place, next((label for label in labels if label in rare), None)) for place, labels in left)
    return {
        place: (RARE, f"{label!r} has {rare[label]} rows, at least {config.min_rows_per_label}")
        for place, label in told
        if label is not None
    }


def _told(labels: tuple[str, ...]) -> str:
    return ", ".join(map(repr, labels)) or "without a label"


def _place(rows: pl.DataFrame, place: int) -> str:
    return "{source} {file}:{line}".format(**rows.row(place, named=True))


def _warning(rows: pl.DataFrame, found: list[list[int]], config: LabelledCurationConfig) -> str:
    held = sum(rows["split"][place] == "test" for places in found for place in places)
    number = sum(map(len, found))
    first = found[0]
    done = {"drop": "they were dropped", "majority": "the rarer labels were dropped", "keep": "they were kept"}
    but = f" but for {held} on the given test side, of which a model cannot get all right" if held else ""
    return (
        f"{len(found):,} texts have contradicting labels in {number:,} rows, such as "
        f"{' and '.join(_place(rows, place) for place in first[:2])}; {done[config.contradictions]}{but}. Look at "
        "them: where people disagree, labels that overlap should be one, or be told apart by clearer rules."
    )
