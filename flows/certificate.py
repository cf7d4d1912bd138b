"""A row's certificate: its whole way through a run, read from the artifacts that the run's own record names."""

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Literal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from flows.errors import RecipeError
from tasks.algorithms.tokens.masking import NOT_TRAINED
from tasks.artifacts import runs
from tasks.artifacts.store import Store
from tasks.config import Config
from tasks.conversation import answer_text, prompt_text
from tasks.filters import CurationConfig

Verdict = Literal[
    "read", "rejected", "kept", "dropped", "held out", "shown", "packed", "trained", "measured", "not reached"
]

DATA_STAGES = ("ingestion", "curation", "deduplication", "mixing", "tokenization")
ROW_ID = re.compile(r"[0-9a-f]{6,32}")
PLACE = re.compile(r"(.+):([1-9][0-9]*)")
_KEPT_INSTEAD = re.compile(r"kept ([0-9a-f]{32}) \((\S+) (.+):(\d+)\)(?:, similarity ([0-9.]+))?")
_ORIGIN = ["source", "file", "line"]
_IDENTITY = ["id", "split", *_ORIGIN]
_FIGURES = ["prompt_tokens", "answer_tokens", "refusal", "truncated", "personal"]
_ORDER_OF_FILTERS = {name: number for number, name in enumerate(CurationConfig.model_fields)}
_MOST_COPIES_NAMED = 1000


class Step(Config):
    """What one stage made of a row."""

    stage: str
    verdict: Verdict
    reason: str = ""
    """Why it was dropped or rejected."""
    evidence: str = ""
    """What proves it: the row kept in its place, the span, the count."""
    details: dict[str, Any] = Field(default_factory=dict)
    """Figures of the stage: tokens, flags, copies, sequences."""


class Place(Config):
    """One place where the content stands in the sources, and its way from there."""

    source: str
    file: str
    line: int
    split: str = ""
    """`train` or `heldout`; nothing for a row that could not be read."""
    steps: tuple[Step, ...] = ()

    @property
    def named(self) -> str:
        """As tables and evidence write it."""
        return f"{self.source} {self.file}:{self.line}"


class Certificate(Config):
    """A row's whole way through a run."""

    run: str
    recipe_name: str
    id: str | None
    """The content's id; none for a row that could not be read."""
    role: str = ""
    prompt: str = ""
    answer: str = ""
    raw: str = ""
    """How a row begins that could not be read."""
    places: tuple[Place, ...]
    """Where the content stands; first the place asked for, else the one that came furthest."""


class RowNotFoundError(RecipeError):
    """No row, or more than one, is what was asked for."""


class Trail:
    """The data stages of one run, and the rows in their tables."""

    def __init__(self, store: Store, run: runs.Run) -> None:
        self.store, self.run = store, run
        self.addresses = {record.stage: record.address for record in run.stages if record.stage in DATA_STAGES}
        self.training = next((record.address for record in run.stages if record.stage == "training"), None)
        self.measurements = [record.address for record in run.stages if record.stage == "measurement"]

    def frames(self, stage: str, table: str, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Some columns of a table, part by part; nothing where the run did not come so far."""
        if stage in self.addresses:
            yield from self.frames_at(self.addresses[stage], table, columns)

    def frames_at(self, address: str, table: str, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Some columns of a table of an artifact, part by part."""
        for part in self.store.manifest(address).parts.get(table, ()):
            yield pl.DataFrame(_read(self.store.read_part(address, part), columns).select(list(columns)))

    def where(self, stage: str, table: str, condition: pl.Expr, columns: Sequence[str]) -> pl.DataFrame:
        """The rows of a table that meet a condition on some of its columns."""
        frames = [frame.filter(condition) for frame in self.frames(stage, table, columns)]
        return pl.concat(frames) if frames else pl.DataFrame(schema=dict.fromkeys(columns, pl.String))

    def rows(
        self, stage: str, table: str, condition: pl.Expr, by: str, columns: Sequence[str] | None = None
    ) -> Iterator[dict[str, Any]]:
        """The rows that meet a condition on one column, each with its `number` in the table, read as far as asked.

        The other columns (all, where none are named) are read only of parts that hold such a row.
        """
        manifest = self.store.manifest(self.addresses[stage])
        before = 0
        for part in manifest.parts[table]:
            data = self.store.read_part(manifest.identity.address, part)
            found = pl.DataFrame(_read(data, [by])).with_row_index("at").filter(condition)["at"].to_list()
            if found:
                whole = _read(data, columns)
                for at in found:
                    yield {**whole.slice(at, 1).to_pylist()[0], "number": before + at}
            before += part.rows


def _read(data: bytes, columns: Sequence[str] | None) -> pa.Table:
    # Without Arrow's threads: one that still holds a Python object when the process ends aborts it.
    file = pq.ParquetFile(pa.BufferReader(data))
    return file.read(columns=list(columns) if columns else None, use_threads=False)


def names_row(text: str) -> bool:
    """Whether a text may name a row: the beginning of an id, or a place."""
    return bool(ROW_ID.fullmatch(text) or PLACE.fullmatch(text))


def certify(store: Store, text: str, run_id: str | None = None) -> Certificate:
    """The certificate of a row, named by its id, the beginning of its id, or `source:line` or `file:line`.

    Without a run, of the newest run that holds the row. Raises `RowNotFoundError`.
    """
    looked_into: set[str] = set()
    for run in _runs(store, run_id):
        trail = Trail(store, run)
        ingestion = trail.addresses.get("ingestion")
        if ingestion is None or ingestion in looked_into:
            continue
        looked_into.add(ingestion)
        found = _certificate(trail, text)
        if found is not None:
            return found
    where = f"run {run_id}" if run_id else f"any of {len(looked_into)} data sets" if len(looked_into) > 1 else "any run"
    raise RowNotFoundError(
        f"no row {text} in {where} of {store.uri}; give a row's id or its beginning (6 characters or more, as "
        "evidence and `fettle diff` name it), or its place as source:line or file:line"
    )


def _runs(store: Store, run_id: str | None) -> list[runs.Run]:
    if run_id is None:
        return runs.recent(store)
    run = runs.find(store, run_id)
    if run is None:
        raise RowNotFoundError(f"--run {run_id} names no run, or several, in {store.uri}; `fettle show` lists them")
    return [run]


def _certificate(trail: Trail, text: str) -> Certificate | None:
    place = PLACE.fullmatch(text)
    if place is None:
        origins = trail.where("ingestion", "conversations", pl.col("id").str.starts_with(text), _IDENTITY)
        return _of_content(trail, origins, None) if _is_one(origins, text) else None
    condition = is_place(place[1], int(place[2]))
    found = trail.where("ingestion", "conversations", condition, _IDENTITY)
    rejected = trail.where("ingestion", "rejected", condition, [*_ORIGIN, "cause", "detail", "raw"])
    if len(found) + len(rejected) > 1:
        places = [*found.select(_ORIGIN).rows(), *rejected.select(_ORIGIN).rows()]
        named = [f"{source} {file}:{line}" for source, file, line in places]
        raise RowNotFoundError(f"{text} names {len(named)} rows: {_some(named)}. Give the source and the whole file")
    if len(found):
        origins = trail.where("ingestion", "conversations", pl.col("id") == found["id"][0], _IDENTITY)
        return _of_content(trail, origins, found.select(_ORIGIN).row(0))
    return _of_reject(trail, rejected.row(0, named=True)) if len(rejected) else None


def is_place(name: str, line: int) -> pl.Expr:
    """The row at a line of a source, of a file, or of both as evidence names them."""
    source, file = pl.col("source"), pl.col("file")
    is_named = (source == name) | (file == name) | file.str.ends_with(f"/{name}")
    return (pl.col("line") == line) & (is_named | (pl.format("{} {}", source, file) == name))


def _is_one(origins: pl.DataFrame, beginning: str) -> bool:
    ids = origins["id"].unique().sort().to_list()
    if len(ids) > 1:
        raise RowNotFoundError(f"{len(ids)} rows begin with {beginning}: {_some(ids)}. Give more of the id")
    return bool(ids)


def _some(named: Sequence[str]) -> str:
    return ", ".join(named[:5]) + (", …" if len(named) > 5 else "")


def _of_reject(trail: Trail, row: dict[str, Any]) -> Certificate:
    step = Step(stage="ingestion", verdict="rejected", reason=row["cause"], evidence=row["detail"])
    place = Place(**{name: row[name] for name in _ORIGIN}, steps=(step,))
    return Certificate(run=trail.run.id, recipe_name=trail.run.recipe_name, id=None, raw=row["raw"], places=(place,))


def _of_content(trail: Trail, origins: pl.DataFrame, asked_for: tuple[Any, ...] | None) -> Certificate:
    row_id: str = origins["id"][0]
    steps = _StepsOfContent(trail, row_id)
    # As the model saw it, where personal data may be blanked out.
    row = steps.curated or next(trail.rows("ingestion", "conversations", steps.is_row, "id"))
    places = [
        Place(**origin, steps=tuple(steps.of(origin)))
        for origin in origins.select("split", *_ORIGIN).iter_rows(named=True)
    ]
    places.sort(key=lambda place: ((place.source, place.file, place.line) != asked_for, -_reached(place)))
    return Certificate(
        run=trail.run.id,
        recipe_name=trail.run.recipe_name,
        id=row_id,
        role=row["role"],
        prompt=prompt_text(row["messages"]),
        answer=answer_text(row["messages"]),
        places=tuple(places),
    )


def _reached(place: Place) -> int:
    return sum(step.verdict not in ("dropped", "not reached") for step in place.steps)


class _StepsOfContent:
    """What each stage made of one content, read once for all the places where it stands."""

    def __init__(self, trail: Trail, row_id: str) -> None:
        self.trail, self.id = trail, row_id
        self.is_row = pl.col("id") == row_id
        columns = ["id", *_ORIGIN, "reason", "evidence"]
        self.dropped = {
            stage: trail.where(stage, "dropped", self.is_row, columns).to_dicts() for stage in DATA_STAGES[1:]
        }
        kept = trail.rows("curation", "conversations", self.is_row, "id") if "curation" in trail.addresses else iter(())
        self.curated = next(kept, None)
        self.mixed = trail.where("mixing", "mixture", self.is_row, ["id", *_ORIGIN, "copies"]).to_dicts()

    def of(self, origin: dict[str, Any]) -> Iterator[Step]:
        """The steps of one place: the stages up to the one that dropped it."""
        yield Step(stage="ingestion", verdict="read", details={"split": origin["split"]})
        for stage, kept in zip(
            DATA_STAGES[1:], (self._curated, self._deduplicated, self._mixed, self._tokenized), strict=True
        ):
            if stage not in self.trail.addresses:
                yield Step(stage=stage, verdict="not reached", reason=f"the run {self.trail.run.outcome} before it")
                return
            row = _at(self.dropped[stage], origin)
            if row is not None:
                yield Step(
                    stage=stage,
                    verdict="dropped",
                    reason=row["reason"],
                    evidence=row["evidence"],
                    details=_kept_instead(row["evidence"]),
                )
                return
            yield kept(origin)
        yield from self._used(origin)

    def _curated(self, _origin: dict[str, Any]) -> Step:
        row = self.curated or {}
        config = self.trail.store.manifest(self.trail.addresses["curation"]).identity.config
        figures = {name: row[name] for name in _FIGURES if row.get(name) not in (None, [])}
        return Step(stage="curation", verdict="kept", details={"passed": _judges(config), **figures})

    def _deduplicated(self, _origin: dict[str, Any]) -> Step:
        for_it = pl.col("evidence").str.starts_with(f"kept {self.id} ")
        copies = self.trail.where("deduplication", "dropped", for_it, [*_ORIGIN, "reason", "evidence"])
        named = [
            {"place": f"{row['source']} {row['file']}:{row['line']}", "reason": row["reason"]}
            | {"similarity": _kept_instead(row["evidence"]).get("similarity")}
            for row in copies.head(_MOST_COPIES_NAMED).to_dicts()
        ]
        details = {"dropped_for_it": len(copies), "copies": named} if named else {}
        return Step(stage="deduplication", verdict="kept", details=details)

    def _mixed(self, origin: dict[str, Any]) -> Step:
        if origin["split"] == "heldout":
            return Step(stage="mixing", verdict="held out")
        row = _at(self.mixed, origin) or {"copies": 0}
        return Step(stage="mixing", verdict="shown", details={"copies": row["copies"]})

    def _tokenized(self, origin: dict[str, Any]) -> Step:
        if origin["split"] == "heldout":
            packed = list(islice(_samples(self.trail, "heldout", self.id), 1))
            return Step(stage="tokenization", verdict="held out", details={"sequences": packed})
        packed = list(_samples(self.trail, "sequences", self.id))
        return Step(stage="tokenization", verdict="packed", details={"sequences": packed})

    def _used(self, origin: dict[str, Any]) -> Iterator[Step]:
        """What the model had of the row: how often it was trained on it, or the loss on it before and after."""
        if origin["split"] == "heldout":
            losses = dict(_losses(self.trail, self.id))
            if losses:
                yield Step(stage="measurement", verdict="measured", details=losses)
        elif self.trail.training is not None:
            epochs = self.trail.store.manifest(self.trail.training).identity.config["epochs"]
            copies = (_at(self.mixed, origin) or {"copies": 0})["copies"]
            yield Step(stage="training", verdict="trained", details={"epochs": epochs, "times": copies * epochs})


def _judges(config: dict[str, Any]) -> list[str]:
    """The filters that may drop a row by a recorded configuration, in the order in which they judge."""
    fields = sorted(config.items(), key=lambda field: _ORDER_OF_FILTERS.get(field[0], len(_ORDER_OF_FILTERS)))
    every = [(name, each) for name, value in fields for each in (value if isinstance(value, list) else [value])]
    judging = [(name, each) for name, each in every if isinstance(each, dict) and each.get("enabled", True)]
    # Some only flag or blank out, as that for personal data may.
    return [each.get("name", name) for name, each in judging if each.get("action", "drop") == "drop"]


def _losses(trail: Trail, row_id: str) -> Iterator[tuple[str, float]]:
    """The loss on a held-out row in nats a token, of the base and of the tuned model, as far as it was measured."""
    for address in trail.measurements:
        manifest = trail.store.manifest(address)
        is_tuned = any(parent.name == "model" and parent.address for parent in manifest.identity.parents)
        for frame in trail.frames_at(address, "heldout", ["row_id", "loss_sum", "tokens"]):
            for row in frame.filter(pl.col("row_id") == row_id).iter_rows(named=True):
                yield ("tuned_loss" if is_tuned else "base_loss"), row["loss_sum"] / row["tokens"]


def _at(rows: Sequence[dict[str, Any]], origin: dict[str, Any]) -> dict[str, Any] | None:
    return next((row for row in rows if all(row[name] == origin[name] for name in _ORIGIN)), None)


def _kept_instead(evidence: str) -> dict[str, Any]:
    found = _KEPT_INSTEAD.match(evidence)
    if found is None:
        return {}
    kept, source, file, line, similarity = found.groups()
    place = {"kept": kept, "source": source, "file": file, "line": int(line)}
    return {**place, "similarity": float(similarity) if similarity else None}


def _samples(trail: Trail, table: str, row_id: str) -> Iterator[dict[str, int]]:
    """Where a row stands among the sequences, counted from 0, with its tokens and those that are trained."""
    for row, sample, begin, end in samples_of(trail, table, row_id, ["labels"]):
        trained = sum(label != NOT_TRAINED for label in row["labels"][begin:end])
        place = {"sequence": row["number"], "sample": sample, "first_token": begin}
        yield {**place, "tokens": end - begin, "trained_tokens": trained}


def samples_of(
    trail: Trail, table: str, row_id: str, columns: Sequence[str]
) -> Iterator[tuple[dict[str, Any], int, int, int]]:
    """The sequences that hold a row, with some columns: each with the number, the begin and the end of its sample."""
    holds = pl.col("row_ids").list.contains(row_id)
    for row in trail.rows("tokenization", table, holds, "row_ids", ["row_ids", "seq_lengths", *columns]):
        begin = 0
        for sample, (each, length) in enumerate(zip(row["row_ids"], row["seq_lengths"], strict=True)):
            if each == row_id:
                yield row, sample, begin, begin + length
            begin += length
