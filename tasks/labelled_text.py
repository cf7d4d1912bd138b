"""The one shape that data for classification takes: a text, or a pair of them, with the names of its labels."""

import hashlib
from collections.abc import Sequence
from typing import Any, Literal

import pyarrow as pa

from tasks.artifacts.fingerprint import canonical
from tasks.conversation import ORIGIN_FIELDS

Side = Literal["train", "validation", "test"]
"""What a row is for: to learn from, to choose by (the best step, the temperature), or to measure by."""
SIDES: tuple[Side, ...] = ("train", "validation", "test")

TEXTS = pa.schema(
    [
        ("id", pa.string()),
        *ORIGIN_FIELDS,
        ("text", pa.string()),
        ("text_pair", pa.string()),
        ("labels", pa.list_(pa.string())),
        ("split", pa.string()),
    ]
)
"""`id` is the hash of texts and labels; `text_pair` is empty where a row is one text; `labels` holds one name, or any
number of them where texts may have several; `split` is the side that the source names, and empty where it is drawn."""

GONE = pa.schema(
    [
        ("id", pa.string()),
        ("split", pa.string()),
        *ORIGIN_FIELDS,
        ("labels", pa.list_(pa.string())),
        ("reason", pa.string()),
        ("evidence", pa.string()),
    ]
)
"""A row that a stage dropped, why, and what proves it."""


def text_id(text: str, text_pair: str, labels: Sequence[str]) -> str:
    """The content id: 32 hex characters (128 bits) of sha256 over texts and labels."""
    return hashlib.sha256(canonical([text, text_pair, sorted(labels)])).hexdigest()[:32]


def whole_text(text: str, text_pair: str) -> str:
    """Both texts of a row as one, with a blank line between them."""
    return f"{text}\n\n{text_pair}" if text_pair else text


def gone(row: dict[str, Any], reason: str, evidence: str) -> dict[str, Any]:
    """The record of a row that a stage drops."""
    told = {name: row[name] for name in ("id", "split", "source", "file", "line", "labels")}
    return {**told, "reason": reason, "evidence": evidence}
