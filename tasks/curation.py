"""Curate: every conversation judged by every filter; one reason for each that goes."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from tasks.algorithms.lengths import quantiles
from tasks.algorithms.tokens.encoding import TextEncoder, load_encoder
from tasks.artifacts.manifest import Artifact, Counts
from tasks.artifacts.resource import Resource
from tasks.artifacts.store import Attempt
from tasks.caching import stage
from tasks.conversation import CURATED, DROPPED, MESSAGE
from tasks.filters import CurationConfig
from tasks.filters.personal import REASON as PERSONAL
from tasks.filters.reading import Readings
from tasks.filters.refusal import refusals
from tasks.filters.row import Columns, Verdict
from tasks.filters.user import FilterError
from tasks.reporting import wording

ROWS_PER_BATCH = 8192


class Judged(NamedTuple):
    """A batch after the filters."""

    kept: pa.Table
    dropped: pa.Table


@stage("curation", version=2)
def curate(out: Attempt, config: CurationConfig, ingested: Artifact, tokenizer: Resource) -> None:
    """Drop what cannot teach; flag refusals, truncation and personal data."""
    encoder = load_encoder(tokenizer)
    total = ingested.tables["conversations"].rows
    read, dropped, figures = 0, Counter[str](), list[pl.DataFrame]()
    sources, lost = Counter[str](), Counter[tuple[str, str]]()
    for table in out.store.tables(ingested, "conversations"):
        for batch in table.to_batches(max_chunksize=ROWS_PER_BATCH):
            judged = judge(config, encoder, batch)
            out.write("conversations", judged.kept)
            out.write("dropped", judged.dropped)
            read += batch.num_rows
            dropped.update(judged.dropped["reason"].to_pylist())
            sources.update(batch.column("source").to_pylist())
            lost.update(zip(*(judged.dropped[name].to_pylist() for name in ("source", "reason")), strict=True))
            figures.append(_figures(judged.kept))
            out.progress(read, total)
    out.counts = Counts(read=read, kept=read - dropped.total(), dropped=dict(sorted(dropped.items())))
    for sentence in _losses(sources, lost):
        out.warn(sentence)
    every = pl.concat(figures) if figures else _figures(CURATED.empty_table())
    out.facts["flags"] = _flags(every)
    out.facts["token_lengths"] = list(_token_lengths(every))


def judge(config: CurationConfig, encoder: TextEncoder, batch: pa.RecordBatch) -> Judged:
    """What is kept of a batch, with its counts and flags, and what is dropped, with its reasons."""
    readings = Readings(batch.column("messages"))
    columns = readings.columns(encoder.count(readings.prompts), encoder.count(readings.answers))
    try:
        verdicts = config.judge_all(readings, columns)
    except FilterError as error:
        source, file, line = (batch.column(name)[error.place or 0].as_py() for name in ("source", "file", "line"))
        raise FilterError(f"{source} {file}:{line}: {error}") from error.__cause__
    keep = np.ones(batch.num_rows, dtype=np.bool_)
    keep[list(verdicts)] = False
    return Judged(_kept(config, batch, columns, keep), _dropped(config, batch, verdicts))


def _dropped(config: CurationConfig, batch: pa.RecordBatch, verdicts: dict[int, Verdict]) -> pa.Table:
    places = sorted(verdicts)
    gone = batch.select([name for name in DROPPED.names if name in batch.schema.names]).take(
        pa.array(places, pa.int64())
    )
    reasons = [verdicts[place].reason for place in places]
    evidence = [_evidence(config, verdicts[place], batch.column("messages")[place]) for place in places]
    told = [pa.array(each, pa.string()) for each in (reasons, evidence)]
    return pa.Table.from_arrays([*gone.columns, *told], schema=DROPPED)


def _evidence(config: CurationConfig, verdict: Verdict, messages: pa.Scalar) -> str:
    if verdict.reason == PERSONAL or config.personal.action == "flag":
        return verdict.evidence
    return config.personal.withheld(verdict.evidence, messages.as_py())


def _losses(sources: Counter[str], lost: Counter[tuple[str, str]]) -> Iterator[str]:
    """A sentence for each source that loses most of its rows: then the filters are to blame as often as the rows."""
    for source, rows in sources.items():
        reasons = Counter({reason: number for (name, reason), number in lost.items() if name == source})
        if 2 * reasons.total() > rows:
            reason, number = reasons.most_common(1)[0]
            yield (
                f"source {source}: {reasons.total():,} of {wording.rows(rows)} are dropped, {number:,} of them for the "
                f"reason {reason!r}; look at some of them, and change curation's limits if they are good"
            )


def _kept(config: CurationConfig, batch: pa.RecordBatch, columns: Columns, keep: np.ndarray) -> pa.Table:
    mask = pl.Series(keep)
    left = batch.filter(pa.array(keep))
    seen = Columns(*(column.filter(mask) for column in columns))
    messages, personal = _personal(config, left.column("messages"), seen)
    made = {
        "messages": messages,
        "prompt_tokens": seen.prompt_tokens,
        "answer_tokens": seen.answer_tokens,
        "refusal": refusals(seen.answer),
        "truncated": config.truncation.cut_short(seen.answer),
        "personal": personal,
    }
    arrays = [made[name] if name in made else left.column(name) for name in CURATED.names]
    return pa.Table.from_arrays(
        [_as(array, field.type) for array, field in zip(arrays, CURATED, strict=True)], schema=CURATED
    )


def _as(values: pl.Series | pa.Array, kind: pa.DataType) -> pa.Array:
    array = values.to_arrow() if isinstance(values, pl.Series) else values
    return array if array.type == kind else array.cast(kind)


def _personal(config: CurationConfig, messages: pa.ListArray, seen: Columns) -> tuple[pa.ListArray, pa.Array]:
    """The messages, redacted where that is asked for, and the kinds of personal data that were found in them."""
    found: dict[int, Any] = {}
    changed: dict[int, Any] = {}
    flags = config.personal.enabled and config.personal.action != "drop"
    for place in config.personal.suspects(seen).arg_true().to_list() if flags else ():
        turns = messages[place].as_py()
        if kinds := config.personal.kinds_in(turns):
            found[place] = list(kinds)
            changed[place] = config.personal.redact(turns) if config.personal.action == "redact" else turns
    lengths = np.zeros(len(messages), dtype=np.int32)
    lengths[list(found)] = [len(each) for each in found.values()]
    bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    kinds = pa.ListArray.from_arrays(
        pa.array(bounds), pa.array([kind for each in found.values() for kind in each], pa.string())
    )
    if config.personal.action != "redact" or not changed:
        return messages, kinds
    order = np.arange(len(messages))
    order[list(changed)] = len(messages) + np.arange(len(changed))
    both = pa.concat_arrays([messages, pa.array(list(changed.values()), pa.list_(MESSAGE))])
    return both.take(pa.array(order)), kinds


def _figures(kept: pa.Table) -> pl.DataFrame:
    """What the facts are made of: a few bytes a row."""
    frame = pl.DataFrame(kept.select(["source", "prompt_tokens", "answer_tokens", "refusal", "truncated", "personal"]))
    return frame.with_columns(pl.col("source").cast(pl.Categorical), pl.col("personal").list.len() > 0)


def _flags(figures: pl.DataFrame) -> list[dict[str, Any]]:
    """How many rows of each source are flagged, and which share of them."""
    names = ("refusal", "truncated", "personal")
    by_source = figures.group_by(pl.col("source").cast(pl.String)).agg(
        pl.len().alias("rows"), *(pl.col(each).sum() for each in names)
    )
    return [
        {"source": row["source"], "rows": row["rows"]}
        | {name: row[name] for name in names}
        | {f"{name}_share": row[name] / row["rows"] for name in names}
        for row in by_source.sort("source").iter_rows(named=True)
    ]


def _token_lengths(figures: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """Quantiles of the token counts of each source's prompts and answers."""
    for (source,), rows in sorted(
        figures.with_columns(pl.col("source").cast(pl.String)).partition_by("source", as_dict=True).items()
    ):
        for text in ("prompt", "answer"):
            yield {"source": source, "text": text, **quantiles(rows[f"{text}_tokens"].to_numpy())._asdict()}
