"""Batches of conversations, and what a renderer made of them as plain values."""

import itertools
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from tasks.algorithms.tokens.arrays import Rendered
from tasks.conversation import CONVERSATIONS

Spans = list[tuple[int, ...]]


def batch(
    conversations: Sequence[list[dict[str, Any]] | None], tools: Sequence[str | None] | None = None
) -> pa.RecordBatch:
    columns = {"messages": pa.array(conversations, CONVERSATIONS.field("messages").type)}
    return pa.record_batch(columns | ({} if tools is None else {"tools": pa.array(tools, pa.string())}))


def turns(*texts: str, **more: Any) -> list[dict[str, Any]]:
    roles = ("assistant", "user")
    return [{"role": roles[number % 2], "content": text, **more} for number, text in enumerate(texts, 1)]


def ranges(offsets: Any, *columns: Any) -> list[Spans]:
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    return [rows[begin:end] for begin, end in itertools.pairwise(offsets)]


def rows_of(rendered: Rendered) -> list[tuple[int, str, Spans]]:
    trained = ranges(rendered.trained.offsets, rendered.trained.begins, rendered.trained.ends, rendered.turns)
    return list(zip(rendered.rows.tolist(), rendered.texts.to_pylist(), trained, strict=True))


def plain_of(rendered: Rendered) -> list[list[str]]:
    places = ranges(rendered.plain.offsets, rendered.plain.begins, rendered.plain.ends)
    texts = rendered.texts.to_pylist()
    return [
        [text.encode()[begin:end].decode() for begin, end in mine] for text, mine in zip(texts, places, strict=True)
    ]
