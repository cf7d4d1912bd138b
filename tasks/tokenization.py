"""Tokenize: conversations as packed rows of token ids, with labels on what the model itself must write.

Each conversation is rendered and tokenised once, as a whole; labels follow from byte ranges; and what will be
trained is read back from the tokens and compared with the assistant's messages before it is stored.
"""

import datetime
import json
import math
from collections import Counter
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from tasks.algorithms.chat.rendering import DEFAULT_DATE, PLAIN_TEMPLATE, ChatTemplate, Trained
from tasks.algorithms.tokens.arrays import Places
from tasks.algorithms.tokens.encoding import TextEncoder, load_encoder
from tasks.algorithms.tokens.masking import NOT_TRAINED
from tasks.algorithms.tokens.packing import Packed, pack
from tasks.algorithms.tokens.samples import SEQUENCES, Pieces, TooLong
from tasks.artifacts.manifest import Artifact, Counts
from tasks.artifacts.resource import Resource, read_bytes
from tasks.artifacts.store import Attempt
from tasks.caching import stage
from tasks.config import Config
from tasks.conversation import DROPPED
from tasks.proven_samples import ADVICE, ControlTokens, Reading, Side

ROWS = pa.schema([*SEQUENCES, ("roles", pa.list_(pa.string()))])
"""Rows to train on: their samples, and the role in the mixture that each of them plays."""
HELDOUT = pa.schema([*ROWS, ("source", pa.string())])
"""Held-out conversations: one sample a row, never packed."""
TEMPLATE = pa.schema([("text", pa.string()), ("date", pa.date32()), ("end_ids", pa.list_(pa.int32()))])
"""The chat template, the date that it writes, and the control tokens that end its answers."""
_ROWS_PER_TABLE = 4096
_ROUND_LENGTH_TO = 8
_FAR_ABOVE = 8
"""How many times the rows' length the model's must be for a word about it."""


class TokenizationConfig(Config):
    """How conversations become token ids."""

    max_length: int | None = Field(None, ge=16)
    """Tokens of a row; from the data's 99th percentile when not set, at most what the model holds."""
    too_long: TooLong = "turn"
    """What is longer: ends behind its last whole answer, is cut anywhere, is split into several, or is dropped."""
    packing: bool = True
    """Whether several samples share a row, each blind to the others."""
    turns: Literal["all", "last"] = "all"
    """Which of the assistant's turns are trained; those of weight 0 never are."""
    reasoning: bool = True
    """Whether what a thinking model writes before its answer is trained."""
    tool_calls: bool = True
    """Whether calls of tools are trained."""
    control_tokens: ControlTokens = "neutralise"
    """Messages that spell a control token of the tokenizer: it stays text, the row is dropped, or it takes effect."""
    chat_template: str | None = Field(None, min_length=1)
    """A Jinja chat template, or the path of a .jinja file, in place of the tokenizer's own."""
    date: datetime.date = DEFAULT_DATE
    """What templates that write today's date write: fixed, so that the same recipe gives the same bytes."""
    min_proven: float = Field(0.99, gt=0, le=1)
    """Smallest share of rows whose masks are proven; with fewer the stage fails. The unproven are dropped."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Orders the samples before they are packed, or the rows where they are not."""

    @property
    def trained(self) -> Trained:
        """Which parts of a conversation are trained."""
        return Trained(turns=self.turns, reasoning=self.reasoning, tool_calls=self.tool_calls)


@stage("tokenization", version=2)
def tokenize(out: Attempt, config: TokenizationConfig, mixed: Artifact, tokenizer: Resource) -> None:
    """Render, tokenise, label, prove and pack the mixture; the held-out side is never packed."""
    encoder = load_encoder(tokenizer)
    template = chat_template(encoder, config)
    reading, training, heldout = _read(out, config, encoder, template, mixed)
    if encoder.must_begin_again:  # from here on it takes the plain way only
        reading, training, heldout = _read(out, config, encoder, template, mixed)
    reading.require_proof(config.min_proven)
    max_length = _max_length(config, training.lengths, _model_length(tokenizer))
    for side in (training, heldout):
        side.cut(max_length, config.too_long)
    if not len(training.pieces.sample):
        raise ValueError(f"no row of {training.rows.num_rows:,} is left to train on: {_reasons(training)}")
    out.facts |= _write_sequences(out, training, _layout(config, training, max_length), max_length)
    _write_heldout(out, heldout)
    reading.write_proof([training, heldout])
    for side in (training, heldout):
        out.write("dropped", _dropped(side))
        out.write("cut", side.cut_rows)
    _warn_of_lost_answers(out, training, max_length)
    told = {"text": template.source, "date": config.date, "end_ids": reading.end_ids()}
    out.write("template", pa.Table.from_pylist([told], TEMPLATE))
    read = training.rows.num_rows + heldout.rows.num_rows
    reasons = Counter(reason for side in (training, heldout) for reason, _ in side.gone.values())
    out.counts = Counts(read=read, kept=read - reasons.total(), dropped=dict(sorted(reasons.items())))
    for sentence in reading.warnings():
        out.warn(sentence)
    _warn_of_lost_sources(out, training)
    _warn_of_length(out, config, max_length, _model_length(tokenizer))


def _read(
    out: Attempt, config: TokenizationConfig, encoder: TextEncoder, template: ChatTemplate, mixed: Artifact
) -> tuple[Reading, Side, Side]:
    reading = Reading(out, encoder, template, config.trained, config.control_tokens)
    return reading, reading.side(mixed, "mixture"), reading.side(mixed, "heldout", one_text=True)


def chat_template(encoder: TextEncoder, config: TokenizationConfig) -> ChatTemplate:
    """The recipe's template, else the tokenizer's, else the plain one."""
    source = config.chat_template or encoder.chat_template or PLAIN_TEMPLATE
    return ChatTemplate(source, bos=encoder.bos, eos=encoder.eos, date=config.date)


def _reasons(side: Side) -> str:
    counted = Counter(reason for reason, _ in side.gone.values())
    examples = dict(reversed(side.gone.values()))
    return "; ".join(f"{number:,} {reason}, such as: {examples[reason]}" for reason, number in counted.most_common())


def _dropped(side: Side) -> pa.Table:
    places = sorted(side.gone)
    told = [pa.array([side.gone[place][number] for place in places], pa.string()) for number in (0, 1)]
    rows = side.rows.select(DROPPED.names[:-2]).take(pa.array(places, pa.int64()))
    return pa.Table.from_arrays([*(column.combine_chunks() for column in rows.columns), *told], schema=DROPPED)


def _max_length(config: TokenizationConfig, lengths: Places, model_length: int | None) -> int:
    if config.max_length is not None:
        if model_length is not None and config.max_length > model_length:
            raise ValueError(
                f"tokenization.max_length is {config.max_length}, but the model holds {model_length} tokens; lower it"
            )
        return config.max_length
    longest = float(np.quantile(lengths, 0.99, method="higher")) if len(lengths) else _ROUND_LENGTH_TO
    rounded = math.ceil(longest / _ROUND_LENGTH_TO) * _ROUND_LENGTH_TO
    return min(rounded, model_length) if model_length is not None else rounded


def _model_length(tokenizer: Resource) -> int | None:
    """The most tokens that the model's positions reach to, where its configuration tells."""
    if "config.json" not in tokenizer.files:
        return None
    settings = json.loads(read_bytes(tokenizer, "config.json"))
    for each in (settings, settings.get("text_config") or {}):
        for name in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"):
            if isinstance(each.get(name), int):
                return int(each[name])
    return None


def _layout(config: TokenizationConfig, side: Side, max_length: int) -> tuple[Pieces, Packed]:
    """Every piece as often as it is shown, and the pieces of each row."""
    copies = side.rows["copies"].to_numpy()[side.row[side.pieces.sample]]
    shown = side.pieces.chosen(np.repeat(np.arange(len(copies)), copies))
    order = np.random.default_rng(config.seed).permutation(len(shown.sample))
    if not config.packing:
        return shown, Packed(order, np.arange(len(order) + 1))
    return shown, pack(shown.lengths, max_length, order)


def _write_sequences(out: Attempt, side: Side, layout: tuple[Pieces, Packed], max_length: int) -> dict[str, Any]:
    pieces, packed = layout
    rows, tokens, trained = len(packed.offsets) - 1, 0, 0
    for begin in range(0, rows, _ROWS_PER_TABLE):
        offsets = packed.offsets[begin : begin + _ROWS_PER_TABLE + 1]
        order = packed.order[offsets[0] : offsets[-1]]
        table = _rows(side, pieces, order, offsets - offsets[0])
        out.write("sequences", table)
        labels = table["labels"].combine_chunks().flatten()
        tokens += len(labels)
        trained += pc.sum(pc.not_equal(labels, NOT_TRAINED)).as_py() or 0
        out.progress(min(begin + _ROWS_PER_TABLE, rows), rows, "sequences")
    return {
        "max_length": max_length,
        "sequences": rows,
        "tokens": tokens,
        "trained_tokens": trained,
        "trained_share": round(trained / tokens, 4) if tokens else 0.0,
        "samples": len(pieces.sample),
        "longest_sample": int(pieces.lengths.max()) if len(pieces.sample) else 0,
        "fill": round(tokens / (rows * max_length), 4) if rows else 0.0,
        "rows_cut": side.cut_rows.num_rows,
        "answers_lost": side.lost_texts,
    }


def _rows(side: Side, pieces: Pieces, order: Places, offsets: Places) -> pa.Table:
    table = side.samples.rows(pieces, side.ids, order, offsets)
    roles = side.roles.take(pa.array(pieces.sample[order])).cast(pa.string())
    listed = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), roles)
    return pa.Table.from_arrays([*table.columns, listed], schema=ROWS)


def _write_heldout(out: Attempt, side: Side) -> None:
    """One row a conversation."""
    sources = side.rows["source"].combine_chunks().take(pa.array(side.row[side.pieces.sample]))
    count = len(side.pieces.sample)
    out.write("heldout", HELDOUT.empty_table())
    for begin in range(0, count, _ROWS_PER_TABLE):
        order = np.arange(begin, min(begin + _ROWS_PER_TABLE, count))
        table = _rows(side, side.pieces, order, np.arange(len(order) + 1))
        columns = [*table.columns, sources.slice(begin, len(order))]
        out.write("heldout", pa.Table.from_arrays(columns, schema=HELDOUT))


def _warn_of_length(out: Attempt, config: TokenizationConfig, max_length: int, model_length: int | None) -> None:
    if config.max_length is None and model_length is not None and model_length >= _FAR_ABOVE * max_length:
        out.warn(
            f"rows hold {max_length:,} tokens, the 99th percentile of the data, and the model {model_length:,}; it is "
            "not trained on longer texts. Set tokenization.max_length if they matter, or to silence this."
        )


def _warn_of_lost_answers(out: Attempt, side: Side, max_length: int) -> None:
    if side.lost_texts:
        out.warn(
            f"{side.lost_texts:,} answers of conversations that give several texts are not trained, because their "
            f"texts have no whole answer within {max_length:,} tokens; a greater tokenization.max_length keeps them"
        )


def _warn_of_lost_sources(out: Attempt, side: Side) -> None:
    sources = side.rows["source"].combine_chunks()
    rows = {each["values"]: each["counts"] for each in sources.value_counts().to_pylist()}
    lost = Counter((sources[place].as_py(), reason) for place, (reason, _) in side.gone.items())
    for (source, reason), number in sorted(lost.items()):
        if 2 * number > rows[source]:
            out.warn(
                f"source {source}: {number:,} of {rows[source]:,} rows are dropped for the reason {reason!r}; "
                f"{ADVICE.get(reason, 'look at some of them')}"
            )
