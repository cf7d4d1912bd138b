"""The one shape that instruction data takes: messages with an identity, an origin and a side of the split."""

import hashlib
import re
from collections.abc import Sequence
from typing import Any, Literal, TypedDict

import pyarrow as pa

from tasks.artifacts.fingerprint import canonical

Split = Literal["train", "heldout"]

MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string())])
ORIGIN_FIELDS = [("source", pa.string()), ("file", pa.string()), ("line", pa.int64())]

CONVERSATIONS = pa.schema(
    [
        ("id", pa.string()),
        ("role", pa.string()),
        ("split", pa.string()),
        *ORIGIN_FIELDS,
        ("messages", pa.list_(MESSAGE)),
    ]
)
"""`id` is the hash of the messages; `role` is the part the source plays in a mixture (general, domain, code, safety);
`line` is 1-based: the line of a JSONL file, else the number of the row."""

CURATED = pa.schema(
    [
        *CONVERSATIONS,
        ("prompt_tokens", pa.int32()),
        ("answer_tokens", pa.int32()),
        ("refusal", pa.bool_()),
    ]
)
"""Conversations with the token counts of the model's own tokenizer, and whether the answer declines."""

DROPPED = pa.schema(
    [("id", pa.string()), ("split", pa.string()), *ORIGIN_FIELDS, ("reason", pa.string()), ("evidence", pa.string())]
)
"""A row that a stage dropped, why, and what proves it."""

REJECTED = pa.schema([*ORIGIN_FIELDS, ("cause", pa.string()), ("detail", pa.string()), ("raw", pa.string())])
"""A row that could not be read: where, why, and how it began."""


class Message(TypedDict):
    """One turn."""

    role: str
    content: str


_WORD = re.compile(r"\w+")


def conversation_id(messages: Sequence[Message]) -> str:
    """The content id: 32 hex characters (128 bits) of sha256 over roles and contents, in order."""
    turns = [[message["role"], message["content"]] for message in messages]
    return hashlib.sha256(canonical(turns)).hexdigest()[:32]


def words(text: str) -> list[str]:
    """The lower-cased words of a text: letters, digits and underscores of any script."""
    return _WORD.findall(text.lower())


def prompt_text(messages: Sequence[Message]) -> str:
    """What the user asked first; the whole conversation falls on the side of the split that this text hashes to."""
    return next((message["content"] for message in messages if message["role"] == "user"), "")


def answer_text(messages: Sequence[Message]) -> str:
    """All assistant turns, joined by newlines."""
    return "\n".join(message["content"] for message in messages if message["role"] == "assistant")


def conversation_text(messages: Sequence[Message]) -> str:
    """User and assistant turns, joined by newlines."""
    return "\n".join(message["content"] for message in messages if message["role"] in ("user", "assistant"))


def dropped_row(row: dict[str, Any], reason: str, evidence: str) -> dict[str, Any]:
    """The record of a row that a stage drops."""
    origin = {name: row[name] for name in ("id", "split", "source", "file", "line")}
    return {**origin, "reason": reason, "evidence": evidence}
