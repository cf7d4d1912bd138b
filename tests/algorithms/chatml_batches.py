"""Conversations laid out by hand as batches of tokens, with everything that the mask proof reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from tasks.algorithms.chat.answers import EVERYTHING, Trained
from tasks.algorithms.masks.proof import Proof, prove
from tasks.algorithms.tokens.arrays import Flags, Ranges, Rendered, Tokens
from tasks.algorithms.tokens.files import Spelling, spelling
from tasks.conversation import CONVERSATIONS, MESSAGE

Turns = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Batch:
    """A batch as it stands before the proof."""

    rows: pa.RecordBatch
    rendered: Rendered
    tokens: Tokens
    trained: Flags
    spelling: Spelling | None
    choice: Trained = EVERYTHING
    opening: tuple[int, ...] = ()

    def prove(self) -> Proof:
        opening = np.array(self.opening, dtype=np.int32)
        messages = self.rows.column("messages")
        return prove(messages, self.rendered, self.tokens, self.trained, self.spelling, self.choice, opening)

    def with_ranges(self, begins: Sequence[int], ends: Sequence[int]) -> "Batch":
        """Other trained ranges, with the labels that follow from them."""
        ranges = Ranges(self.rendered.trained.offsets, np.array(begins, np.int64), np.array(ends, np.int64))
        rendered = replace(self.rendered, trained=ranges)
        return replace(self, rendered=rendered, trained=touching(self.tokens, ranges))

    def with_ids(self, place: int, token: int) -> "Batch":
        """Another token id at one place."""
        ids = self.tokens.ids.copy()
        ids[place] = token
        return replace(self, tokens=replace(self.tokens, ids=ids))


def user(content: str) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


def chatml(turns: Turns) -> tuple[str, list[tuple[int, int, int]]]:
    """The text, and the trained characters with the turn that they belong to."""
    text, spans = "", []
    for number, turn in enumerate(turns):
        text += f"<|im_start|>{turn['role']}\n"
        begin = len(text)
        if turn.get("reasoning"):
            text += f"<think>\n{turn['reasoning']}\n</think>\n\n"
        text += f"{turn['content'].strip()}{turn.get('tool_calls') or ''}<|im_end|>\n"
        if turn["role"] == "assistant" and turn.get("weight") != 0:
            spans.append((begin, len(text), number))
    return text, spans


Laid = tuple[str, list[tuple[int, int, int]]]


def batch(
    tokenizer: Tokenizer,
    conversations: Sequence[Turns],
    *,
    texts: Sequence[list[Laid]] | None = None,
    tools: Mapping[int, str] | None = None,
) -> Batch:
    """Conversations as a batch: each as ChatML, else as the given texts; some with tools."""
    laid = texts or [[chatml(turns)] for turns in conversations]
    flat = [(row, text, spans) for row, each in enumerate(laid) for text, spans in each]
    spans = [
        [(len(text[:begin].encode()), len(text[:end].encode()), turn) for begin, end, turn in found]
        for _, text, found in flat
    ]
    ranges = [span for found in spans for span in found]
    rendered = Rendered(
        pa.array([text for _, text, _ in flat], pa.large_string()),
        np.array([row for row, _, _ in flat], np.int64),
        Ranges(offsets(spans), *(np.array([span[at] for span in ranges], np.int64) for at in (0, 1))),
        np.array([span[2] for span in ranges], np.int64),
        Ranges(np.zeros(len(flat) + 1, np.int64), np.empty(0, np.int64), np.empty(0, np.int64)),
    )
    tokens = encoded(tokenizer, [text for _, text, _ in flat])
    rows = [
        {"id": f"{row:032x}", "source": f"s{row % 3}", "file": "a.jsonl", "line": row + 1, "split": "train"}
        | {"tools": (tools or {}).get(row)}
        | {"messages": [{name: turn.get(name) for name in MESSAGE.names} for turn in turns]}
        for row, turns in enumerate(conversations)
    ]
    table = pa.Table.from_pylist(rows, CONVERSATIONS).combine_chunks()
    return Batch(table.to_batches()[0], rendered, tokens, touching(tokens, rendered.trained), spelling(tokenizer))


def offsets(lists: Sequence[Sequence[Any]]) -> Any:
    return np.cumsum([0, *map(len, lists)], dtype=np.int64)


def encoded(tokenizer: Tokenizer, texts: Sequence[str]) -> Tokens:
    """Tokens with the bytes that they stand for, one text after another."""
    ids, begins, ends = [], [], []
    for text in texts:
        encoding = tokenizer.encode(text, add_special_tokens=False)
        ids.append(encoding.ids)
        begins += [len(text[:begin].encode()) for begin, _ in encoding.offsets]
        ends += [len(text[:end].encode()) for _, end in encoding.offsets]
    flat = [token for each in ids for token in each]
    return Tokens(offsets(ids), np.array(flat, np.int32), np.array(begins, np.int64), np.array(ends, np.int64))


def touching(tokens: Tokens, ranges: Ranges) -> Flags:
    """Tokens that share a byte with a range of their text."""
    trained = np.zeros(len(tokens.ids), dtype=np.bool_)
    for text in range(len(tokens.offsets) - 1):
        for token in range(*tokens.offsets[text : text + 2]):
            begin, end = tokens.begins[token], tokens.ends[token]
            spans = range(*ranges.offsets[text : text + 2])
            trained[token] = any(begin < ranges.ends[k] and end > ranges.begins[k] for k in spans)
    return trained
