"""The one shape that instruction data takes: messages with an identity, an origin and a side of the split."""

import hashlib
import re
from collections.abc import Sequence
from json.encoder import encode_basestring as quoted
from typing import Any, Literal, NotRequired, TypedDict

import pyarrow as pa

from tasks.artifacts.fingerprint import canonical

Role = Literal["general", "domain", "code", "safety"]
"""What a source is for in a mixture."""

Split = Literal["train", "heldout"]

MESSAGE = pa.struct(
    [
        ("role", pa.string()),
        ("content", pa.string()),
        ("reasoning", pa.string()),
        ("tool_calls", pa.string()),
        ("tool_call_id", pa.string()),
        ("name", pa.string()),
        ("weight", pa.float32()),
    ]
)
ORIGIN_FIELDS = [("source", pa.string()), ("file", pa.string()), ("line", pa.int64())]

CONVERSATIONS = pa.schema(
    [
        ("id", pa.string()),
        ("role", pa.string()),
        ("split", pa.string()),
        *ORIGIN_FIELDS,
        ("messages", pa.list_(MESSAGE)),
        ("tools", pa.string()),
        ("quality", pa.float64()),
    ]
)
"""`id` is the hash of messages and tools; `role` is the part the source plays in a mixture (general, domain, code,
safety); `line` is 1-based: the line of a JSONL file, else the number of the row; `tools` are the tool schemas that the
assistant may call, as a JSON list; `quality` is the source's own score, the higher the better."""

CURATED = pa.schema(
    [
        *CONVERSATIONS,
        ("prompt_tokens", pa.int32()),
        ("answer_tokens", pa.int32()),
        ("refusal", pa.bool_()),
        ("truncated", pa.bool_()),
        ("personal", pa.list_(pa.string())),
    ]
)
"""Conversations with the token counts of the model's own tokenizer, whether the answer declines or stops in the
middle, and the kinds of personal data and secrets that were found in it."""

DROPPED = pa.schema(
    [("id", pa.string()), ("split", pa.string()), *ORIGIN_FIELDS, ("reason", pa.string()), ("evidence", pa.string())]
)
"""A row that a stage dropped, why, and what proves it."""

REJECTED = pa.schema([*ORIGIN_FIELDS, ("cause", pa.string()), ("detail", pa.string()), ("raw", pa.string())])
"""A row that could not be read: where, why, and how it began."""


class Message(TypedDict):
    """One turn. A field that is absent or none says nothing."""

    role: str
    content: str
    """What is said; empty where a turn holds tool calls only."""
    reasoning: NotRequired[str | None]
    """What a thinking model writes before its answer."""
    tool_calls: NotRequired[str | None]
    """Calls of an assistant's turn as a JSON list of {"id"?, "type": "function", "function": {"name", "arguments"}},
    the arguments as an object."""
    tool_call_id: NotRequired[str | None]
    """Which call a tool's turn answers."""
    name: NotRequired[str | None]
    """Which tool a tool's turn comes from."""
    weight: NotRequired[float | None]
    """How much an assistant's turn counts in the loss; 1 where it is not given, 0 not at all."""


_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Scripts written without spaces (Thai, Lao, Burmese, Khmer, Japanese, Chinese): each character counts as a word."""
_UNSPACED_ONE = re.compile(f"[{_UNSPACED}]")
_WORD = re.compile(rf"(?=\w)[{_UNSPACED}]|[^\W{_UNSPACED}]+")


def conversation_id(messages: Sequence[Message], tools: str | None = None) -> str:
    """The content id: 32 hex characters (128 bits) of sha256 over the messages, in order, and the tools."""
    if not tools and all(len(message) == 2 for message in messages):
        # Nearly all rows: what `canonical` writes of plain texts, ten times as fast.
        turns = ",".join([f"[{quoted(each['role'])},{quoted(each['content'])}]" for each in messages])
        return hashlib.sha256(f"[{turns}]".encode()).hexdigest()[:32]
    said: list[Any] = [_said(message) for message in messages]
    return hashlib.sha256(canonical([*said, {"tools": tools}] if tools else said)).hexdigest()[:32]


def _said(message: Message) -> list[Any]:
    told = {key: value for key, value in message.items() if value is not None and key not in ("role", "content")}
    return [message["role"], message["content"], *([told] if told else [])]


def words(text: str) -> list[str]:
    """The lower-cased words of a text: letters, digits and underscores of any script."""
    return _WORD.findall(text.lower().replace("ς", "σ"))


def is_unspaced(character: str) -> bool:
    """True for a character of a script that is written without spaces."""
    return _UNSPACED_ONE.match(character) is not None


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
