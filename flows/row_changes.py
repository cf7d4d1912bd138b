"""The rows that entered or left training between two runs, and why."""

from typing import Literal

import polars as pl

from flows.certificate import DATA_STAGES, Trail
from tasks.artifacts import runs
from tasks.artifacts.store import Store
from tasks.config import Config

_ORIGIN = ["source", "file", "line"]
_PLACE = pl.format("{} {}:{}", "source", "file", "line")
_NOWHERE = "not in the sources"


class RowChange(Config):
    """A row that one of two runs trained on and the other did not."""

    id: str
    direction: Literal["entered", "left"]
    source: str
    file: str
    line: int
    copies: int
    """How often it is shown in an epoch of the run that has it."""
    stage: str
    """The stage of the other run that kept it out."""
    reason: str
    evidence: str


class Group(Config):
    """Rows that entered or left for one reason, by source."""

    direction: Literal["entered", "left"]
    source: str
    stage: str
    reason: str
    rows: int
    example: str
    """The id of the first of them."""


class RowChanges(Config):
    """What became of the rows between two runs."""

    entered: int = 0
    left: int = 0
    shown_more: int = 0
    """Rows that both runs trained on, shown more often in the second."""
    shown_less: int = 0
    groups: tuple[Group, ...] = ()
    """By source and reason, the largest first."""
    rows: tuple[RowChange, ...] = ()
    """As many of either direction as were asked for, by source and place."""


def row_changes(store: Store, before: runs.Run, after: runs.Run, most_rows: int) -> RowChanges:
    """Rows by id, however often each content stands in the sources; nothing where a run ended before tokenization."""
    trails = Trail(store, before), Trail(store, after)
    addresses = [trail.addresses.get("tokenization") for trail in trails]
    if None in addresses or addresses[0] == addresses[1]:
        return RowChanges()
    was, now = (_trained(trail) for trail in trails)
    both = was.join(now, on="id", suffix="_now")
    left = _explained(trails[0], trails[1], was.join(now, on="id", how="anti"), "left")
    entered = _explained(trails[1], trails[0], now.join(was, on="id", how="anti"), "entered")
    changes = pl.concat([left, entered])
    listed = pl.concat([left.head(most_rows), entered.head(most_rows)])
    return RowChanges(
        entered=len(entered),
        left=len(left),
        shown_more=both.filter(pl.col("copies_now") > pl.col("copies")).height,
        shown_less=both.filter(pl.col("copies_now") < pl.col("copies")).height,
        groups=tuple(Group(**row) for row in _groups(changes).iter_rows(named=True)),
        rows=tuple(RowChange(**row) for row in listed.iter_rows(named=True)),
    )


def _groups(changes: pl.DataFrame) -> pl.DataFrame:
    by = ["direction", "source", "stage", "reason"]
    groups = changes.group_by(by).agg(rows=pl.len(), example=pl.col("id").first())
    return groups.sort(["direction", "rows", "source", "stage", "reason"], descending=[True, True, False, False, False])


def _trained(trail: Trail) -> pl.DataFrame:
    """The ids that a run trained on, with how often each is shown."""
    counted = [
        frame.select(pl.col("row_ids").explode().alias("id")).group_by("id").agg(copies=pl.len().cast(pl.Int64))
        for frame in trail.frames("tokenization", "sequences", ["row_ids"])
    ]
    return pl.concat(counted).group_by("id").agg(pl.col("copies").sum())


def _explained(has: Trail, lacks: Trail, ids: pl.DataFrame, direction: str) -> pl.DataFrame:
    """Rows with their place in the run that has them and the reason of the run that lacks them, by place."""
    origins = _among(has, "mixing", "mixture", ids, ["id", *_ORIGIN]).sort(_ORIGIN).unique("id", keep="first")
    placed = ids.join(origins, on="id", how="left", maintain_order="left")
    told = placed.join(_fates(lacks, placed), on="id", how="left")
    reason = pl.col("reason").fill_null(_NOWHERE)
    return told.select(
        "id",
        pl.lit(direction).alias("direction"),
        *_ORIGIN,
        "copies",
        pl.col("stage").fill_null("ingestion"),
        reason,
        pl.col("evidence").fill_null(""),
    ).sort(*_ORIGIN)


def _fates(lacks: Trail, rows: pl.DataFrame) -> pl.DataFrame:
    """Why a run did not train on rows that it may have had: the fate of each one's copy that came furthest."""
    found = [_fate(lacks, stage, rows) for stage in reversed(DATA_STAGES[1:])]
    found.insert(0, _heldout(lacks, rows))
    found.append(_rejected(lacks, rows))
    # First come the copies that came furthest, then those at the earliest place.
    return pl.concat(found).unique("id", keep="first", maintain_order=True)


def _fate(lacks: Trail, stage: str, rows: pl.DataFrame) -> pl.DataFrame:
    dropped = _among(lacks, stage, "dropped", rows, ["id", *_ORIGIN, "reason", "evidence"])
    return dropped.sort(_ORIGIN).select("id", pl.lit(stage).alias("stage"), "reason", "evidence")


def _heldout(lacks: Trail, rows: pl.DataFrame) -> pl.DataFrame:
    held = _among(lacks, "mixing", "heldout", rows, ["id", *_ORIGIN]).sort(_ORIGIN)
    told = {"stage": pl.lit("ingestion"), "reason": pl.lit("held out"), "evidence": _PLACE}
    return held.select("id", **told)


def _rejected(lacks: Trail, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows that are nowhere, but whose place holds a row that cannot be read."""
    frames = lacks.frames("ingestion", "rejected", [*_ORIGIN, "cause"])
    found = pl.concat([frame.join(rows, on=_ORIGIN).select("id", *_ORIGIN, "cause") for frame in frames])
    evidence = pl.format("{} cannot be read there: {}", _PLACE, "cause")
    return found.select("id", stage=pl.lit("ingestion"), reason=pl.lit(_NOWHERE), evidence=evidence)


def _among(trail: Trail, stage: str, table: str, rows: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    """A table's rows with one of the given ids, gathered part by part."""
    frames = trail.frames(stage, table, columns)
    return pl.concat([frame.join(rows, on="id", how="semi") for frame in frames])
