"""What became of labelled texts: a row's certificate, and the rows that entered or left training between two runs."""

from typing import Any

import polars as pl

from flows.certificate import PLACE, Certificate, Place, RowNotFoundError, Step, is_place
from flows.row_changes import Group, RowChange, RowChanges
from tasks.artifacts import runs
from tasks.artifacts.store import Store
from tasks.labelled_text import SIDES, whole_text

INGESTION, CURATION, DEDUPLICATION = "labelled-ingestion", "labelled-curation", "labelled-deduplication"
MIXING, MEASUREMENT = "labelled-mixing", "classifier-measurement"
_ORIGIN = ["source", "file", "line"]
_NOWHERE = "not in the sources"
_BY = ["direction", "source", "stage", "reason"]


def is_labelled(run: runs.Run) -> bool:
    """Whether a run is one of a text classifier."""
    return any(record.stage == INGESTION for record in run.stages)


def fates(store: Store, run: runs.Run) -> pl.DataFrame:
    """Of every row that was read its end: the `stage` that had it last, with the `reason` and `evidence` of a drop.

    `side` is where it stands, and empty for a row that was dropped or did not come so far.
    """
    at = {record.stage: record.address for record in run.stages}
    read = _table(store, at.get(INGESTION), "texts", ["id", *_ORIGIN])
    ends = []
    for stage in (CURATION, DEDUPLICATION, MIXING):
        gone = _table(store, at.get(stage), "dropped", ["id", *_ORIGIN, "reason", "evidence"])
        ends.append(gone.with_columns(stage=pl.lit(stage), side=pl.lit("")))
    for side in SIDES:
        there = _table(store, at.get(MIXING), side, ["id", *_ORIGIN])
        told = {"stage": pl.lit(MIXING), "side": pl.lit(side), "reason": pl.lit(f"on the {side} side")}
        ends.append(there.with_columns(**told, evidence=pl.lit("")))
    columns = [*_ORIGIN, "stage", "side", "reason", "evidence"]
    every = pl.concat([each.select(columns) for each in ends])
    found = read.join(every, on=_ORIGIN, how="left", maintain_order="left")
    return found.with_columns(pl.col("stage").fill_null(INGESTION), pl.col("side", "reason", "evidence").fill_null(""))


def labelled_row_changes(store: Store, before: runs.Run, after: runs.Run, most_rows: int) -> RowChanges:
    """Rows by id that one of two runs learnt from and the other did not, and why."""
    was, now = fates(store, before), fates(store, after)
    changes = pl.concat([_changed(now, was, "entered"), _changed(was, now, "left")])
    entered, left = (changes.filter(pl.col("direction") == each) for each in ("entered", "left"))
    listed = pl.concat([left.head(most_rows), entered.head(most_rows)])
    groups = changes.group_by(_BY).agg(rows=pl.len(), example=pl.col("id").first())
    ordered = groups.sort(["direction", "rows", *_BY[1:]], descending=[True, True, False, False, False])
    return RowChanges(
        entered=len(entered),
        left=len(left),
        groups=tuple(Group(**row) for row in ordered.iter_rows(named=True)),
        rows=tuple(RowChange(**row, copies=1) for row in listed.iter_rows(named=True)),
    )


def _changed(has: pl.DataFrame, lacks: pl.DataFrame, direction: str) -> pl.DataFrame:
    """Rows that the first learnt from and the second did not, with their place in the first."""
    learnt = pl.col("side") == "train"
    mine = has.filter(learnt).unique("id", keep="first", maintain_order=True).select("id", *_ORIGIN)
    others = lacks.filter(learnt).select("id").unique()
    ends = lacks.unique("id", keep="last").select("id", "stage", "reason", "evidence")
    told = mine.join(others, on="id", how="anti").join(ends, on="id", how="left", maintain_order="left")
    filled = told.with_columns(
        pl.col("stage").fill_null(INGESTION),
        pl.col("reason").fill_null(_NOWHERE),
        pl.col("evidence").fill_null(""),
        direction=pl.lit(direction),
    )
    return filled.sort(_ORIGIN)


def newest_certificate(store: Store, text: str, run_id: str | None) -> Certificate | None:
    """The certificate of a row in the newest classifier's run that holds it, or in the one that is named."""
    looked_into: set[str] = set()
    for run in runs.recent(store):
        address = next((record.address for record in run.stages if record.stage == INGESTION), None)
        if address is None or address in looked_into or not run.id.startswith(run_id or ""):
            continue
        looked_into.add(address)
        # `fettle gc` keeps what came of it for the newest runs only.
        found = certify_labelled(store, run, text) if store.find_manifest(address) else None
        if found is not None:
            return found
    return None


def certify_labelled(store: Store, run: runs.Run, text: str) -> Certificate | None:
    """The certificate of a row in a classifier's run; none where it holds no such row."""
    place = PLACE.fullmatch(text)
    ended = fates(store, run)
    if place is None:
        found = ended.filter(pl.col("id").str.starts_with(text))
    else:
        found = ended.filter(is_place(place[1], int(place[2])))
    if not len(found):
        return _certify_rejected(store, run, place[1], int(place[2])) if place else None
    if found["id"].n_unique() > 1:
        named = ", ".join(found["id"].unique(maintain_order=True).to_list()[:5])
        raise RowNotFoundError(
            f"{text} names {found['id'].n_unique()} rows: {named}. Give the source, or more of the id"
        )
    row_id: str = found["id"][0]
    everywhere = ended.filter(pl.col("id") == row_id)
    first = found.row(0, named=True)
    ordered = sorted(everywhere.iter_rows(named=True), key=lambda row: row != first)
    (content, *_) = _rows(store, run, "texts", pl.col("id") == row_id)
    return Certificate(
        run=run.id,
        recipe_name=run.recipe_name,
        id=row_id,
        prompt=whole_text(content["text"], content["text_pair"]),
        answer=", ".join(content["labels"]) or "no label",
        places=tuple(_place(store, run, row) for row in ordered),
    )


def _certify_rejected(store: Store, run: runs.Run, name: str, line: int) -> Certificate | None:
    rejected = _rows(store, run, "rejected", is_place(name, line))
    if not rejected:
        return None
    row = rejected[0]
    step = Step(stage=INGESTION, verdict="rejected", reason=row["cause"], evidence=row["detail"])
    place = Place(**{each: row[each] for each in _ORIGIN}, steps=(step,))
    return Certificate(run=run.id, recipe_name=run.recipe_name, id=None, raw=row["raw"], places=(place,))


def _place(store: Store, run: runs.Run, row: dict[str, Any]) -> Place:
    steps = [Step(stage=INGESTION, verdict="read")]
    reached = [record.stage for record in run.stages]
    for stage in (CURATION, DEDUPLICATION, MIXING):
        if stage not in reached:
            steps.append(Step(stage=stage, verdict="not reached", reason=f"the run {run.outcome} before it"))
            break
        if row["stage"] == stage and not row["side"]:
            steps.append(Step(stage=stage, verdict="dropped", reason=row["reason"], evidence=row["evidence"]))
            break
        steps.append(Step(stage=stage, verdict="kept", reason=row["reason"] if stage == MIXING else ""))
    if row["side"] == "train" and "classifier-training" in reached:
        steps.append(Step(stage="classifier-training", verdict="trained"))
    elif row["side"]:
        steps += _said(store, run, row["id"])
    origin = {each: row[each] for each in _ORIGIN}
    return Place(**origin, split=row["side"], steps=tuple(steps))


def _said(store: Store, run: runs.Run, row_id: str) -> list[Step]:
    """What the tuned model, which is measured first, says of a row."""
    address = next((record.address for record in run.stages if record.stage == MEASUREMENT), None)
    found = _table(store, address, "predictions", ["id", "values"]).filter(pl.col("id") == row_id) if address else None
    if address is None or found is None or not len(found):
        return []
    labels = _table(store, address, "labels", ["name"])["name"].to_list()
    values = found["values"][0].to_list()
    training = next(record.address for record in run.stages if record.stage == "classifier-training")
    if store.manifest(training).identity.config["multi_label"]:
        said = [label for label, value in zip(labels, values, strict=True) if value >= 0] or ["no label"]
    else:
        said = [labels[values.index(max(values))]]
    return [Step(stage=MEASUREMENT, verdict="measured", reason=f"the model says {', '.join(said)}")]


def _rows(store: Store, run: runs.Run, table: str, condition: pl.Expr) -> list[dict[str, Any]]:
    address = next(record.address for record in run.stages if record.stage == INGESTION)
    found: list[dict[str, Any]] = (
        pl.DataFrame(store.table(store.manifest(address).artifact, table)).filter(condition).to_dicts()
    )
    return found


def _table(store: Store, address: str | None, table: str, columns: list[str]) -> pl.DataFrame:
    """Some columns of a table; no rows where the run did not come so far."""
    if address is None:
        return pl.DataFrame(schema={name: pl.Int64 if name == "line" else pl.String for name in columns})
    return pl.DataFrame(store.table(store.manifest(address).artifact, table, columns))
