"""Mix: who learns from what. Sides that no source gives are drawn, label by label; labels that look wrong are listed.

A row's side is drawn by a hash of its text within its label, so rows keep theirs when rows of other labels come, and
nearly all keep it when rows of their own do. No two rows are near copies of each other by now, so none leaks.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field

from tasks.algorithms.classification.split import Fractions, draw
from tasks.artifacts.manifest import Artifact, Counts
from tasks.artifacts.store import Attempt
from tasks.caching import stage
from tasks.classification.texts import indicator, read_texts, whole_texts, written
from tasks.config import Config
from tasks.conversation import ORIGIN_FIELDS
from tasks.labelled_text import GONE, SIDES, gone, text_id

UNSEEN, SPARE, SUSPICIOUS = "label not in training", "over most_per_label", "suspicious label"
IMBALANCE = 5.0
"""How many times the rows of its rarest label the commonest must have for a word about it."""
_NAMED = 5
_NUMBER = re.compile(r"-?\d{1,18}")

LABELS = pa.schema([("name", pa.string())])
"""The labels in their order: a row's place is the label's number."""
SUSPECTS = pa.schema(
    [
        ("id", pa.string()),
        *ORIGIN_FIELDS,
        ("text", pa.string()),
        ("text_pair", pa.string()),
        ("given", pa.list_(pa.string())),
        ("suggested", pa.list_(pa.string())),
        ("confidence", pa.float64()),
    ]
)
"""A training row whose label looks wrong: how sure a simple model that never saw it is of the label it has."""


class LabelledMixingConfig(Config):
    """What is learnt from, what is chosen by, and what is measured by."""

    validation: float = Field(0.1, gt=0, lt=0.5)
    """Share of the rows beside the test side to choose by (the best step, the temperature); of no effect where a source
    gives that side."""
    test: float = Field(0.15, gt=0, lt=0.5)
    """Share of the rows to measure by; of no effect where a source gives that side."""
    most_per_label: int | None = Field(None, ge=1)
    """Rows of a label that are learnt from at most, the same ones each time; all when not set."""
    suspicious: Literal["list", "drop", "ignore"] = "list"
    """Training rows whose label looks wrong: listed, left out as well, or not looked for."""
    folds: int = Field(5, ge=2, le=20)
    """Parts of the training rows, of which each is judged by a simple model that learnt from the others."""
    most_judged: int = Field(50_000, ge=1)
    """Training rows above which labels are not judged: it takes minutes then."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Draws the parts."""


@stage("labelled-mixing", version=1)
def mix(
    out: Attempt, config: LabelledMixingConfig, deduplicated: Artifact, labels: Sequence[str], multi_label: bool
) -> None:
    """Put every row on its side; `labels` are all that there are, in their order, where the recipe names them."""
    rows = read_texts(out.store, deduplicated)
    rows = rows.with_columns(split=_sides(rows, config))
    dropped = _unseen(rows) | _spare(rows, config)
    known = _labels(out, rows, dropped, labels)
    _require_measurable(rows, dropped)
    found = _suspects(out, rows, dropped, known, config, multi_label)
    if config.suspicious == "drop":
        dropped |= {
            place: (SUSPICIOUS, f"{each['confidence']:.3f} sure of it, rather {', '.join(each['suggested']) or 'none'}")
            for place, each in _droppable(rows, dropped, found).items()
        }
    for side in SIDES:
        chosen = (rows["split"] == side).to_list()
        written(out, side, rows, [place for place, taken in enumerate(chosen) if taken and place not in dropped])
    out.write("labels", pa.Table.from_pylist([{"name": name} for name in known], LABELS))
    out.write("suspects", pa.Table.from_pylist(list(found.values()), SUSPECTS))
    told = [gone(rows.row(place, named=True), *verdict) for place, verdict in sorted(dropped.items())]
    out.write("dropped", pa.Table.from_pylist(told, GONE))
    reasons = Counter(reason for reason, _ in dropped.values())
    out.counts = Counts(read=len(rows), kept=len(rows) - len(dropped), dropped=dict(sorted(reasons.items())))
    _tell(out, rows, dropped, known, len(found))


def _sides(rows: pl.DataFrame, config: LabelledMixingConfig) -> pl.Series:
    """Of each row its side: the given one, else one that is drawn."""
    given = set(rows["split"].unique().to_list())
    sides = rows["split"].to_list()
    # Rows that say "train" may be chosen by, but never measured by.
    for side, share, free in (("test", config.test, {""}), ("validation", config.validation, {"", "train"})):
        if side in given:
            continue
        places = [place for place, each in enumerate(sides) if each in free]
        drawn = _drawn(rows[places], share)
        if not any(drawn):
            raise ValueError(
                f"no row is left for the {side} side: {len(places):,} of {len(rows):,} rows may be drawn from, and no "
                f"label has enough of them. Add rows, or give the side by a source with `split: {side}`"
            )
        for place, taken in zip(places, drawn, strict=True):
            sides[place] = side if taken else sides[place]
    return pl.Series("split", [side or "train" for side in sides], dtype=pl.String)


def _drawn(rows: pl.DataFrame, share: float) -> list[bool]:
    keys = [text_id(text, pair, ()) for text, pair in rows.select("text", "text_pair").iter_rows()]
    sides = draw(keys, rows["labels"].to_list(), Fractions(validation=0.0, test=share))
    return [side == "test" for side in sides]


def _unseen(rows: pl.DataFrame) -> dict[int, tuple[str, str]]:
    learnt = {name for side, names in rows.select("split", "labels").iter_rows() if side == "train" for name in names}
    told = ((place, *each) for place, each in enumerate(rows.select("split", "labels").iter_rows()))
    unseen = ((place, [name for name in names if name not in learnt]) for place, _, names in told)
    return {place: (UNSEEN, f"no training row is {names[0]!r}") for place, names in unseen if names}


def _require_measurable(rows: pl.DataFrame, dropped: dict[int, Any]) -> None:
    for side in ("validation", "test"):
        places = [place for place, each in enumerate(rows["split"]) if each == side]
        if all(place in dropped for place in places):
            raise ValueError(
                f"none of the {len(places):,} rows of the given {side} side has a label that a training row has, such "
                f"as {next(iter(rows['labels'][places[0]]))!r}; name the labels alike on all sides, or add rows"
            )


def _spare(rows: pl.DataFrame, config: LabelledMixingConfig) -> dict[int, tuple[str, str]]:
    if config.most_per_label is None:
        return {}
    train = rows.with_row_index("place").filter(pl.col("split") == "train").sort("id")
    counted: Counter[str] = Counter()
    spare = {}
    for place, names in train.select("place", "labels").iter_rows():
        counted.update(names)
        if names and all(counted[name] > config.most_per_label for name in names):
            spare[place] = (SPARE, f"{config.most_per_label} rows of {', '.join(names)} come before it")
    return spare


def _labels(out: Attempt, rows: pl.DataFrame, dropped: dict[int, Any], declared: Sequence[str]) -> list[str]:
    """The labels to tell apart, in their order."""
    train = [
        names
        for place, (side, names) in enumerate(rows.select("split", "labels").iter_rows())
        if side == "train" and place not in dropped
    ]
    there = {name for names in train for name in names}
    if len(there) < 2 and not (there and any(not names for names in train)):
        what = f"every row is {next(iter(there))!r}" if there else "no row has a label"
        raise ValueError(f"of {len(train):,} training rows {what}, so there is nothing to tell apart; add rows")
    if unlearnt := [name for name in declared if name not in there]:
        out.warn(f"of {_listed(unlearnt)} no training row tells; the model never says so. Add rows, or take it out.")
    return [name for name in declared if name in there] or sorted(there, key=_naturally)


def _naturally(name: str) -> tuple[int, int, str]:
    """Numbers by value, before names."""
    return (0, int(name), name) if _NUMBER.fullmatch(name) else (1, 0, name)


def _suspects(
    out: Attempt,
    rows: pl.DataFrame,
    dropped: dict[int, Any],
    labels: Sequence[str],
    config: LabelledMixingConfig,
    several: bool,
) -> dict[int, dict[str, Any]]:
    """Training rows whose label looks wrong, by place, the most suspicious first."""
    places = np.array([p for p, side in enumerate(rows["split"]) if side == "train" and p not in dropped])
    if config.suspicious == "ignore":
        return {}
    if len(places) > config.most_judged:
        out.warn(
            f"labels were not judged: {len(places):,} training rows are more than mixing.most_judged, "
            f"{config.most_judged:,}; raise it to have suspicious ones listed, which takes some minutes"
        )
        return {}
    from tasks.algorithms.classification.suspects import suspects  # scikit-learn takes a second

    out.progress(0, None, "rows judged by what the others say")
    train = rows[places]
    truth = indicator(train["labels"], labels)
    found = suspects(whole_texts(train), truth, labels, config.seed, config.folds, multi_label=several)
    told = {}
    for each in found:
        row = train.row(each.place, named=True)
        origin = {name: row[name] for name in ("id", "source", "file", "line", "text", "text_pair")}
        judged = {"given": list(each.given), "suggested": list(each.suggested), "confidence": each.confidence}
        told[int(places[each.place])] = {**origin, **judged}
    return told


def _droppable(
    rows: pl.DataFrame, dropped: dict[int, Any], found: dict[int, dict[str, Any]]
) -> dict[int, dict[str, Any]]:
    """Suspects without which each of their labels still has a training row."""
    left = Counter(
        name
        for place, (side, names) in enumerate(rows.select("split", "labels").iter_rows())
        if side == "train" and place not in dropped
        for name in names
    )
    droppable = {}
    for place, each in found.items():
        if all(left[name] > 1 for name in each["given"]):
            left.subtract(each["given"])
            droppable[place] = each
    return droppable


def _tell(out: Attempt, rows: pl.DataFrame, dropped: dict[int, Any], labels: Sequence[str], suspicious: int) -> None:
    counted: Counter[tuple[str, str]] = Counter()
    for place, (side, names) in enumerate(rows.select("split", "labels").iter_rows()):
        if place not in dropped:
            counted.update((side, name) for name in names)
    shares = [{"label": label, **{side: counted[side, label] for side in SIDES}} for label in labels]
    out.facts["labels"] = shares
    out.facts["suspicious"] = suspicious
    by_rows = sorted(shares, key=lambda each: int(each["train"]))
    fewest, most = by_rows[0], by_rows[-1]
    times = int(most["train"]) / int(fewest["train"])
    if times > IMBALANCE:
        out.warn(
            f"{most['label']!r} has {times:.0f} times the training rows of {fewest['label']!r} ({most['train']:,} and "
            f"{fewest['train']:,}); what is rare is seldom found: training.class_weights: balanced makes up for it."
        )
    single = [str(each["label"]) for each in shares if each["train"] == 1]
    if single:
        out.warn(f"{_listed(single)} can hardly be learnt from a single training row; add rows, or leave it out.")
    unmeasured = [str(each["label"]) for each in shares if not each["test"]]
    if unmeasured:
        out.warn(f"of {_listed(unmeasured)} nothing is measured: no test row has such a label.")
    unseen = sum(reason == UNSEEN for reason, _ in dropped.values())
    if unseen:
        out.warn(
            f"{unseen:,} test or validation rows have a label that no training row has, and were left out: no model "
            "trained here can find it, so the scores flatter it. Add training rows with these labels."
        )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{len(names)} label{'s' if len(names) > 1 else ''} ({', '.join(map(repr, names[:_NAMED]))}{more})"
