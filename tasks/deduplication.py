"""Deduplicate: one conversation of each group of copies; none that gives the held-out side or a benchmark away.

Rows are settled in a declared order: the held-out side first, then sources by priority, then the better quality, then
answers before refusals, then ids. However the rows come, the same ones stay, and they leave in that order. A row goes
only for a kept row before it whose similarity was computed exactly, or for a question that it holds.

The held-out side is never trained on, so benchmarks take nothing from it; training rows that hold a question of a
benchmark or a held-out prompt go, protected or not.
"""

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from tasks.algorithms.compared_texts import Messages, Over, asked_texts, compared_texts
from tasks.algorithms.declared_order import COLUMNS, Rows, declared_order, numbered
from tasks.algorithms.embedding import Embedder
from tasks.algorithms.semantic_join import Meaning, require_few
from tasks.algorithms.shingles import ShingleSets
from tasks.algorithms.similarity_join import Copies, Ranking, near_copies
from tasks.algorithms.text_digests import groups, text_digests
from tasks.artifacts.manifest import Artifact, Counts
from tasks.artifacts.resource import Resource
from tasks.artifacts.store import Attempt
from tasks.caching import stage
from tasks.config import Config
from tasks.conversation import CURATED, DROPPED
from tasks.decontamination import BENCHMARK, HELDOUT, ROWS_AT_A_TIME, Guards
from tasks.filters.row import Verdict

KEPT, EXACT, NEAR, SEMANTIC = "kept", "exact duplicate", "near duplicate", "semantic duplicate"
ANSWERS = "more answers to the same prompt"
REASONS = (KEPT, BENCHMARK, HELDOUT, EXACT, NEAR, ANSWERS, SEMANTIC)
"""What becomes of a row."""
_COPIES = (REASONS.index(EXACT), REASONS.index(NEAR), REASONS.index(SEMANTIC))
FEWEST_FOR_ALARM = 20
"""Rows of a source below which its losses are not worth an alarm."""
_BYTES_AT_A_TIME = 64 << 20

Numbers = npt.NDArray[np.int64]


class UnknownSourceError(Exception):
    """A source that the recipe names for deduplication, and that there is not."""


class Semantic(Config):
    """Which rows say the same in other words. Needs the extra `semantic`."""

    model: str = Field(min_length=1)
    """A static embedding model (model2vec): a folder, or a name on the Hub."""
    similarity: float = Field(0.95, gt=0, le=1)
    """Cosine similarity of vectors from which two rows are semantic duplicates. Such a vector is the mean of its words:
    their order does not count, and a number more or less hardly does, so look at what goes."""
    max_rows: int = Field(200_000, ge=1)
    """Rows above which the stage refuses: each is compared with every kept one, so that twice the rows take four times
    as long."""


class DeduplicationConfig(Config):
    """What counts as a copy, and which of two copies stays."""

    similarity: float = Field(0.8, gt=0, le=1)
    """Jaccard similarity of word n-grams from which two rows are near duplicates."""
    ngram: int = Field(5, ge=1, le=20)
    """Words of an n-gram. Texts of fewer words are compared to the last mark."""
    over: Over = "conversation"
    """The text that is compared."""
    priority: tuple[str, ...] = ()
    """Sources whose rows stay where they are copied by others, the first above all; the others follow as the recipe
    lists them."""
    protected: tuple[str, ...] = ()
    """Sources whose rows never go as copies or as further answers. What the held-out side or a benchmark holds goes
    all the same."""
    max_source_loss: float = Field(0.5, ge=0, le=1)
    """Share of a source's rows that may go as copies without an alarm. It is an alarm only: each drop was verified."""
    answers_per_prompt: int | None = Field(None, ge=1)
    """Different answers to the same prompt that are kept for training, by the declared order; all when not set."""
    semantic: Semantic | None = None
    """Rows that say the same in other words go too; not looked for when not set."""

    def identity(self) -> dict[str, Any]:
        """All but where the embedding model lies, of which the bytes count, and for how many rows one would wait."""
        return self.model_dump(mode="json", exclude={"semantic": {"model", "max_rows"}})


@stage("deduplication", version=2)
def deduplicate(
    out: Attempt,
    config: DeduplicationConfig,
    curated: Artifact,
    benchmarks: Sequence[Resource],
    sources: Sequence[str] = (),
    embedding: Resource | None = None,
) -> None:
    """Keep one conversation of every group of copies, and none that gives an evaluation away.

    `sources` are those of the recipe, in its order; `embedding` is the model that semantic duplicates are found with.
    """
    embed = _embedder(config, curated, embedding)
    # One expression: the sets of all rows are gone before rows are written.
    settled = _settle(out, config, _read(out, config, curated, Guards.of(out, curated, benchmarks), embed), sources)
    _write(out, curated, settled)
    _report(out, config, settled)


def _embedder(config: DeduplicationConfig, curated: Artifact, embedding: Resource | None) -> Embedder | None:
    if not config.semantic:
        return None
    require_few(curated.tables["conversations"].rows, config.semantic.max_rows)
    if embedding is None:
        raise ValueError("deduplication.semantic is set, but no embedding model is given")
    return Embedder(embedding)


class _Found(NamedTuple):
    """All rows as they came, without their texts."""

    rows: pa.Table
    sizes: Numbers
    """Bytes of each row."""
    sets: ShingleSets
    copies: Numbers
    """The group of exact copies that each row belongs to."""
    prompts: Numbers
    """The group of training rows with the same prompt."""
    overlaps: dict[int, Verdict]
    meaning: Meaning | None


def _read(
    out: Attempt, config: DeduplicationConfig, curated: Artifact, guards: Guards, embed: Embedder | None
) -> _Found:
    total = curated.tables["conversations"].rows
    rows, sets, overlaps = Rows(), ShingleSets(config.ngram), dict[int, Verdict]()
    texts, prompts, sizes = _Digests(), _Digests(), [np.empty(0, dtype=np.int64)]
    vectors = [embed(pa.array([], pa.string()))] if embed else []
    for table in out.store.tables(curated, "conversations", columns=[*COLUMNS, "messages"]):
        for batch in table.to_batches(max_chunksize=ROWS_AT_A_TIME):
            begin = len(sets)
            messages = Messages.of(batch["messages"])
            training = pc.not_equal(batch["split"], "heldout").to_numpy(zero_copy_only=False)
            overlaps |= {begin + place: verdict for place, verdict in guards.verdicts(messages, training).items()}
            compared, asked = compared_texts(messages, config.over), asked_texts(messages)
            rows.add(batch)
            sets.add(compared)
            if embed:
                vectors.append(embed(compared))
            texts.add(compared)
            prompts.add(asked, training)
            sizes.append(messages.sizes())
            out.progress(len(sets), 2 * total)
    meaning = Meaning(np.concatenate(vectors), config.semantic.similarity) if config.semantic else None
    return _Found(rows.table(), np.concatenate(sizes), sets, texts.groups(), prompts.groups(), overlaps, meaning)


class _Digests:
    """Digests of many texts, and which of these are the same."""

    def __init__(self) -> None:
        self._digests = [np.empty((0, 2), dtype=np.uint64)]
        self._nothing = [np.empty(0, dtype=np.bool_)]

    def add(self, texts: pa.Array, counted: npt.NDArray[np.bool_] | None = None) -> None:
        empty = pc.equal(pc.utf8_trim_whitespace(texts), "").to_numpy(zero_copy_only=False)
        self._digests.append(text_digests(texts))
        self._nothing.append(empty if counted is None else empty | ~counted)

    def groups(self) -> Numbers:
        return groups(np.concatenate(self._digests), np.concatenate(self._nothing))


class _Settled(NamedTuple):
    """What became of all rows."""

    rows: pa.Table
    sizes: Numbers
    order: Numbers
    reasons: Numbers
    """Of each row the place in `REASONS`; 0 for one that is kept."""
    copies: Copies
    overlaps: dict[int, Verdict]
    source: npt.NDArray[np.int32]
    """Of each row the place in `sources`."""
    sources: list[str]
    several: int
    """Prompts of which several answers are kept for training."""


def _settle(out: Attempt, config: DeduplicationConfig, found: _Found, sources: Sequence[str]) -> _Settled:
    rows, every = found.rows, len(found.sets)
    source, named = numbered(rows["source"], _by_priority(config, sources, rows))
    order = declared_order(rows, named)
    heldout = pc.equal(rows["split"].cast(pa.string()), "heldout").to_numpy(zero_copy_only=False)
    taking_part = np.ones(every, dtype=np.bool_)
    taking_part[list(found.overlaps)] = False
    ranking = Ranking(
        order=order[taking_part[order]],
        groups=found.copies,
        protected=np.isin(source, [named.index(name) for name in config.protected]),
        guarded=int(heldout.sum()),
        families=found.prompts,
        most=config.answers_per_prompt or 0,
    )
    copies = near_copies(
        found.sets,
        config.similarity,
        ranking,
        lambda done, _: out.progress(every + done, 2 * every),
        found.meaning,
    )
    reasons = _reasons(copies, found, heldout)
    counts = np.bincount(found.prompts[(reasons == 0) & (found.prompts >= 0)])
    return _Settled(rows, found.sizes, order, reasons, copies, found.overlaps, source, named, int((counts > 1).sum()))


def _by_priority(config: DeduplicationConfig, sources: Sequence[str], rows: pa.Table) -> list[str]:
    """All sources, those of the priority first; raises `UnknownSourceError` for one that there is not."""
    there = list(dict.fromkeys([*sources, *numbered(rows["source"])[1]]))
    for field, names in (("priority", config.priority), ("protected", config.protected)):
        unknown = sorted(set(names) - set(there))
        if unknown:
            raise UnknownSourceError(
                f"deduplication.{field} names {unknown[0]!r}, but no source is called so; there are "
                f"{', '.join(there)}. Take the name away, or add the source."
            )
    return list(dict.fromkeys([*config.priority, *there]))


def _reasons(copies: Copies, found: _Found, heldout: npt.NDArray[np.bool_]) -> Numbers:
    gone = copies.of >= 0
    kept = np.where(gone, copies.of, 0)
    same = gone & (found.copies >= 0) & (found.copies == found.copies[kept]) if len(gone) else gone
    reasons = np.where(gone, REASONS.index(NEAR), 0)
    reasons[same] = REASONS.index(EXACT)
    reasons[copies.semantic] = REASONS.index(SEMANTIC)
    reasons[copies.similarity < 0] = REASONS.index(ANSWERS)
    reasons[gone & ~heldout & heldout[kept]] = REASONS.index(HELDOUT)
    for row, verdict in found.overlaps.items():
        reasons[row] = REASONS.index(verdict.reason)
    return reasons


def _write(out: Attempt, curated: Artifact, settled: _Settled) -> None:
    out.write("conversations", CURATED.empty_table())
    out.write("dropped", DROPPED.empty_table())
    for rows, table in _in_order(out, curated, settled):
        kept = settled.reasons[rows] == 0
        out.write("conversations", table.filter(pa.array(kept)).cast(CURATED))
        out.write("dropped", _dropped(settled, rows[~kept]))


def _in_order(out: Attempt, curated: Artifact, settled: _Settled) -> Iterator[tuple[Numbers, pa.Table]]:
    """All rows in the declared order, some at a time: each part is spread over files on this machine, one a stretch."""
    order, stretch = settled.order, np.empty(len(settled.order), dtype=np.int64)
    stretch[order] = np.cumsum(settled.sizes[order]) // _BYTES_AT_A_TIME
    with tempfile.TemporaryDirectory(prefix="fettle-") as folder:
        begin = 0
        for part, table in enumerate(out.store.tables(curated, "conversations")):
            here = stretch[begin : begin + len(table)]
            begin += len(table)
            for number in np.unique(here).tolist():
                chosen = table.take(pa.array(np.flatnonzero(here == number)))
                with pa.ipc.new_file(f"{folder}/{number}-{part:06d}.arrow", chosen.schema) as file:
                    file.write_table(chosen)
        for number in np.unique(stretch).tolist():
            files = sorted(Path(folder).glob(f"{number}-*.arrow"))
            table = pa.concat_tables(pa.ipc.open_file(pa.memory_map(str(file))).read_all() for file in files)
            rows = order[stretch[order] == number]
            # Parts come in the order of rows, so a row's place among those of its stretch is its rank there.
            yield rows, table.take(pa.array(np.argsort(np.argsort(rows))))


def _dropped(settled: _Settled, rows: Numbers) -> pa.Table:
    """The records of rows that go, with the evidence."""
    chosen = settled.rows.select(["id", "split", "source", "file", "line"]).take(pa.array(rows))
    kept = settled.rows.take(pa.array(np.maximum(settled.copies.of[rows], 0)))
    places = zip(*(kept[name].to_pylist() for name in ("id", "source", "file", "line")), strict=True)
    similarities = settled.copies.similarity[rows].tolist()
    evidence = []
    for row, (id_, source, file, line), similarity in zip(rows.tolist(), places, similarities, strict=True):
        if row in settled.overlaps:
            evidence.append(settled.overlaps[row].evidence)
        else:
            compared = f", similarity {similarity:.3f}" if similarity >= 0 else ""
            evidence.append(f"kept {id_} ({source} {file}:{line}){compared}")
    reasons = pa.array(REASONS, pa.string()).take(pa.array(settled.reasons[rows]))
    return (
        chosen.append_column("reason", reasons).append_column("evidence", pa.array(evidence, pa.string())).cast(DROPPED)
    )


def _report(out: Attempt, config: DeduplicationConfig, settled: _Settled) -> None:
    by_reason = np.bincount(settled.reasons, minlength=len(REASONS)).tolist()
    dropped = {reason: count for reason, count in zip(REASONS[1:], by_reason[1:], strict=True) if count}
    out.counts = Counts(read=sum(by_reason), kept=by_reason[0], dropped=dict(sorted(dropped.items())))
    cells = len(settled.sources) * len(REASONS)
    table = np.bincount(settled.source * len(REASONS) + settled.reasons, minlength=cells).reshape(-1, len(REASONS))
    out.facts["copies"] = [
        _losses(name, dict(zip(REASONS, counts, strict=True)))
        for name, counts in zip(settled.sources, table.tolist(), strict=True)
        if sum(counts)
    ]
    out.facts["prompts_with_several_answers"] = settled.several
    for losses in out.facts["copies"]:
        if losses["lost"] > config.max_source_loss and losses["read"] >= FEWEST_FOR_ALARM:
            out.warn(_alarm(config, settled, losses))
        if losses["overlap"] > config.max_source_loss * losses["read"] and losses["read"] >= FEWEST_FOR_ALARM:
            out.warn(_overlap_alarm(settled, losses))


def _losses(source: str, counts: dict[str, int]) -> dict[str, Any]:
    read = sum(counts.values())
    return {
        "source": source,
        "read": read,
        "exact": counts[EXACT],
        "near": counts[NEAR],
        "semantic": counts[SEMANTIC],
        "answers": counts[ANSWERS],
        "overlap": counts[HELDOUT] + counts[BENCHMARK],
        "kept": counts[KEPT],
        "lost": round((counts[EXACT] + counts[NEAR] + counts[SEMANTIC]) / read, 4),
    }


def _alarm(config: DeduplicationConfig, settled: _Settled, losses: dict[str, Any]) -> str:
    gone = (settled.source == settled.sources.index(losses["source"])) & np.isin(settled.reasons, _COPIES)
    held = np.bincount(settled.source[settled.copies.of[gone]])
    holder = settled.sources[int(held.argmax())]
    where = "itself" if holder == losses["source"] else holder
    return (
        f"{losses['source']} lost {losses['lost']:.0%} of its {losses['read']:,} rows as copies, more than "
        f"deduplication.max_source_loss, {config.max_source_loss:.0%}; most of the rows kept in their place are in "
        f"{where} ({held.max():,} of {int(gone.sum()):,}). If it should keep them, name it in deduplication.priority "
        "or deduplication.protected, raise deduplication.similarity, or compare another text; else take it out of the "
        "recipe or raise the limit."
    )


def _overlap_alarm(settled: _Settled, losses: dict[str, Any]) -> str:
    number = settled.sources.index(losses["source"])
    held = Counter(
        verdict.evidence.partition(": ")[0]
        for row, verdict in settled.overlaps.items()
        if settled.source[row] == number
    )
    ((question, rows),) = held.most_common(1) or [("the held-out side", losses["overlap"])]
    return (
        f"{losses['source']} lost {losses['overlap']:,} of its {losses['read']:,} rows because they hold what the "
        f"model is measured by; most of them, {rows:,}, hold {question}. If its rows are only asked in the same words, "
        "take that benchmark out, or write the prompts less alike."
    )
