"""Tokenize: conversations as packed rows of token ids, with labels on the assistant's tokens only.

Each conversation is rendered and tokenised once, as a whole; labels follow from character offsets, and every row's
trained text is compared with the assistant's messages before it is stored.
"""

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from tasks.algorithms.encoding import TEXTS_PER_BATCH, TextEncoder, load_encoder
from tasks.algorithms.masking import NOT_TRAINED, labels
from tasks.algorithms.packing import pack
from tasks.algorithms.rendering import PLAIN_TEMPLATE, ChatTemplate, Span, is_trained
from tasks.artifacts.manifest import Artifact, Counts
from tasks.artifacts.resource import Resource, read_bytes
from tasks.artifacts.store import Attempt
from tasks.caching import stage
from tasks.config import Config
from tasks.conversation import DROPPED, dropped_row

_IDS = pa.list_(pa.int32())
SEQUENCES = pa.schema(
    [
        ("input_ids", _IDS),
        ("labels", _IDS),
        ("position_ids", _IDS),
        ("lengths", _IDS),
        ("row_ids", pa.list_(pa.string())),
    ]
)
"""A row of one or more samples: `position_ids` begin again at 0 with each, `lengths` are their token counts."""
HELDOUT = pa.schema([*SEQUENCES, ("source", pa.string())])
"""Held-out conversations: one sample a row, never packed."""
_KEPT_OF_ROWS = frozenset(("id", "split", "source", "file", "line", "copies"))
_ROWS_PER_TABLE = 4096
_ROUND_LENGTH_TO = 8
_CHARACTERS_OF_CALLS = 3
"""How much longer than its stored JSON a template may write a tool call: escapes, indents, tags."""
_MOST_LITERAL_CHARACTERS = 64
"""What a template may write around an answer and have trained: its end token, an empty thought."""


class TokenizationConfig(Config):
    """How conversations become token ids."""

    max_length: int | None = Field(None, ge=16)
    """Tokens of a row; from the data's 99th percentile when not set, at most what the model holds."""
    packing: bool = True
    """Whether several samples share a row, each blind to the others."""
    chat_template: str | None = None
    """A Jinja chat template in place of the tokenizer's own."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Orders samples of equal length before they are packed."""


TokenIds = npt.NDArray[np.int32]
Thing = TypeVar("Thing")


class MaskError(Exception):
    """What would be trained is not what the assistant said."""


@dataclass(frozen=True)
class Sample:
    """A tokenised conversation."""

    row: dict[str, Any]
    """Its id, split, origin and copies."""
    ids: TokenIds
    labels: TokenIds
    unshown_call: str | None = None
    """A tool call that the chat template leaves out of the text, so that an empty answer would be learnt."""
    graded_turns: int = 0
    """Turns with a loss weight between or above 0 and 1."""


@stage("tokenization", version=2)
def tokenize(out: Attempt, config: TokenizationConfig, mixed: Artifact, tokenizer: Resource) -> None:
    """Render, tokenise, label and pack the mixture; the held-out side is never packed."""
    encoder = load_encoder(tokenizer)
    template = chat_template(encoder, config.chat_template)
    training = list(_samples(out, encoder, template, mixed, "mixture"))
    heldout = list(_samples(out, encoder, template, mixed, "heldout"))
    max_length = _max_length(config, [len(sample.ids) for sample in training], tokenizer)
    kept, gone, cut = _cut(training, max_length)
    kept_heldout, gone_heldout, _ = _cut(heldout, max_length)
    _warn_of_weights(out, training)
    _warn_of_lost_sources(out, training, gone)
    if not kept:
        raise ValueError(f"none of {len(training):,} rows has a trainable token among its first {max_length}")
    rows = _pack(config, kept, max_length)
    figures = Counter[str]()
    for chunk in _chunks(rows):
        table = [_sequence(samples) for samples in chunk]
        figures.update(_figures(table))
        out.write("sequences", pa.Table.from_pylist(table, SEQUENCES))
    for held in _chunks(kept_heldout):
        out.write("heldout", pa.Table.from_pylist([_heldout_row(sample) for sample in held], HELDOUT))
    if not kept_heldout:
        out.write("heldout", HELDOUT.empty_table())
    out.write("dropped", pa.Table.from_pylist([*gone, *gone_heldout], DROPPED))
    out.write("template", pa.table({"text": [template.source]}))
    dropped = dict(Counter(row["reason"] for row in (*gone, *gone_heldout)))
    out.counts = Counts(read=len(training) + len(heldout), kept=len(kept) + len(kept_heldout), dropped=dropped)
    out.facts |= _shares(figures, max_length, cut)


def chat_template(encoder: TextEncoder, override: str | None) -> ChatTemplate:
    """The recipe's template, else the tokenizer's, else the plain one."""
    return ChatTemplate(override or encoder.chat_template or PLAIN_TEMPLATE, bos=encoder.bos, eos=encoder.eos)


def _samples(
    out: Attempt, encoder: TextEncoder, template: ChatTemplate, mixed: Artifact, table: str
) -> Iterator[Sample]:
    done, total = 0, mixed.tables[table].rows
    for part in out.store.tables(mixed, table):
        for batch in part.to_batches(max_chunksize=TEXTS_PER_BATCH):
            rows = batch.to_pylist()
            rendered = [template.trained(row["messages"], row["tools"]) for row in rows]
            encodings = encoder.encode([text for text, _ in rendered])
            for row, (text, spans), encoding in zip(rows, rendered, encodings, strict=True):
                made = labels(encoding.ids, encoding.offsets, spans)
                _prove(row, text, encoding.offsets, made)
                unshown = _unshown_call(row, text, spans)
                graded = sum(message["weight"] not in (None, 0, 1) for message in row["messages"])
                slim = {name: value for name, value in row.items() if name in _KEPT_OF_ROWS}
                yield Sample(slim, np.array(encoding.ids, np.int32), np.array(made, np.int32), unshown, graded)
            done += len(rows)
            out.progress(done, total, f"{table} rows")


def _prove(row: dict[str, Any], text: str, offsets: Sequence[tuple[int, int]], made: Sequence[int]) -> None:
    """Every answer stands whole in the text of the trained tokens, each with an end behind it, and little else does."""
    covered, reached = [], 0
    for (begin, end), label in zip(offsets, made, strict=True):
        # The tokens of one character's bytes all carry the whole character's offsets.
        if label != NOT_TRAINED and end > reached:
            covered.append(text[max(begin, reached) : end])
            reached = end
    trained, place, slack = "".join(covered), 0, 0
    for number, message in enumerate(message for message in row["messages"] if is_trained(message)):
        answer = message["content"].strip()
        slack += _MOST_LITERAL_CHARACTERS + len(message["reasoning"] or "")
        found = trained.find(answer, place)
        if found < 0:
            raise _mask_error(row, f"answer {number + 1} is not what its labels cover")
        if found - place > slack or (number and answer and not trained[place:found].strip()):
            raise _mask_error(row, f"before answer {number + 1} is trained: {trained[place:found]!r:.80}")
        place = found + len(answer)
        slack = _CHARACTERS_OF_CALLS * len(message["tool_calls"] or "")
    if not 0 < len(trained[place:].strip()) <= _MOST_LITERAL_CHARACTERS + slack:
        raise _mask_error(row, f"after the last answer is trained: {trained[place:]!r:.80}; its end token should be")


def _unshown_call(row: dict[str, Any], text: str, spans: Sequence[Span]) -> str | None:
    trained = [message for message in row["messages"] if is_trained(message)]
    for message, (begin, end) in zip(trained, spans, strict=True):
        for call in json.loads(message["tool_calls"] or "[]"):
            name = str(call["function"]["name"])
            if name not in text[begin:end]:
                return name
    return None


def _warn_of_weights(out: Attempt, samples: Sequence[Sample]) -> None:
    graded = sum(sample.graded_turns for sample in samples)
    if graded:
        out.warn(
            f"{graded:,} turns have a loss weight that is neither 0 nor 1; they are trained with weight 1. "
            "Round the weights in the source if that is not what you want."
        )


def _warn_of_lost_sources(out: Attempt, samples: Sequence[Sample], gone: Sequence[dict[str, Any]]) -> None:
    rows = Counter(sample.row["source"] for sample in samples)
    lost = Counter((row["source"], row["reason"]) for row in gone)
    for (source, reason), number in sorted(lost.items()):
        if 2 * number > rows[source]:
            out.warn(
                f"source {source}: {number:,} of {rows[source]:,} rows are dropped for the reason {reason!r}; a chat "
                "template that writes what they hold, or a greater tokenization.max_length, keeps them"
            )


def _mask_error(row: dict[str, Any], what: str) -> MaskError:
    return MaskError(
        f"{row['source']} {row['file']}:{row['line']}: {what}. "
        "The tokenizer or the chat template changes the text in a way that labels cannot follow"
    )


def _max_length(config: TokenizationConfig, lengths: Sequence[int], tokenizer: Resource) -> int:
    model_length = _model_length(tokenizer)
    if config.max_length is not None:
        if model_length is not None and config.max_length > model_length:
            raise ValueError(
                f"tokenization.max_length is {config.max_length}, but the model holds {model_length} tokens; lower it"
            )
        return config.max_length
    longest = float(np.quantile(lengths, 0.99, method="higher")) if lengths else _ROUND_LENGTH_TO
    rounded = math.ceil(longest / _ROUND_LENGTH_TO) * _ROUND_LENGTH_TO
    return min(rounded, model_length) if model_length is not None else rounded


def _model_length(tokenizer: Resource) -> int | None:
    if "config.json" not in tokenizer.files:
        return None
    length = json.loads(read_bytes(tokenizer, "config.json")).get("max_position_embeddings")
    return length if isinstance(length, int) else None


def _cut(samples: Sequence[Sample], max_length: int) -> tuple[list[Sample], list[dict[str, Any]], int]:
    kept, gone, cut = [], [], 0
    for sample in samples:
        if sample.unshown_call is not None:
            evidence = f"the call of {sample.unshown_call} is not in the text; name a chat template that writes calls"
            gone.append(dropped_row(sample.row, "tool call not in the chat template", evidence))
            continue
        short = Sample(sample.row, sample.ids[:max_length], sample.labels[:max_length])
        # The first token has nothing before it, so its label is never trained.
        if (short.labels[1:] == NOT_TRAINED).all():
            evidence = f"none among the first {max_length} of {len(sample.ids)} tokens"
            gone.append(dropped_row(sample.row, "no trainable token", evidence))
            continue
        cut += len(sample.ids) > max_length
        kept.append(short)
    return kept, gone, cut


def _pack(config: TokenizationConfig, samples: Sequence[Sample], max_length: int) -> list[list[Sample]]:
    """The samples of each row, in the order in which rows are trained on."""
    shown = [sample for sample in samples for _ in range(sample.row["copies"])]
    order = np.random.default_rng(config.seed).permutation(len(shown)).tolist()
    if not config.packing:
        return [[shown[index]] for index in order]
    rows = pack([len(sample.ids) for sample in shown], max_length, order)
    return [[shown[index] for index in row] for row in rows]


def _chunks(things: Sequence[Thing]) -> Iterator[Sequence[Thing]]:
    for begin in range(0, len(things), _ROWS_PER_TABLE):
        yield things[begin : begin + _ROWS_PER_TABLE]


def _sequence(samples: Sequence[Sample]) -> dict[str, Any]:
    labels = np.concatenate([sample.labels for sample in samples])
    labels[np.cumsum([0, *(len(sample.labels) for sample in samples[:-1])])] = NOT_TRAINED
    return {
        "input_ids": np.concatenate([sample.ids for sample in samples]),
        "labels": labels,
        "position_ids": [position for sample in samples for position in range(len(sample.ids))],
        "lengths": [len(sample.ids) for sample in samples],
        "row_ids": [sample.row["id"] for sample in samples],
    }


def _heldout_row(sample: Sample) -> dict[str, Any]:
    return {**_sequence([sample]), "source": sample.row["source"]}


def _figures(rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    return {
        "rows": len(rows),
        "tokens": sum(len(row["input_ids"]) for row in rows),
        "trained": sum(int((row["labels"] != NOT_TRAINED).sum()) for row in rows),
    }


def _shares(figures: Counter[str], max_length: int, cut: int) -> dict[str, Any]:
    rows, tokens, trained = figures["rows"], figures["tokens"], figures["trained"]
    return {
        "max_length": max_length,
        "sequences": rows,
        "tokens": tokens,
        "trained_tokens": trained,
        "trained_share": round(trained / tokens, 4) if tokens else 0.0,
        "fill": round(tokens / (rows * max_length), 4) if rows else 0.0,
        "rows_cut": cut,
    }
