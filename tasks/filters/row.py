"""What every filter sees: whole columns to suspect rows by, and single rows to judge."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import polars as pl

from tasks.conversation import Message

SPACES = "".join(character for character in map(chr, range(0x3001)) if character.isspace())
"""What Python strips from texts; Rust has fewer."""
SPACE = r"[\s\x1c-\x1f]"
"""What Python's patterns mean by white space, in Rust's syntax."""


class Columns(NamedTuple):
    """A batch of conversations, a series each: what decides in bulk which rows deserve a closer look."""

    prompt: pl.Series
    """The first prompt."""
    answer: pl.Series
    """All answers, joined by newlines."""
    text: pl.Series
    """All that is said, joined by newlines: every turn's content, then reasoning, then what tool calls hold."""
    prompt_tokens: pl.Series
    answer_tokens: pl.Series


class Reading(NamedTuple):
    """One conversation: its first prompt, its answers joined, their token counts, and its turns."""

    prompt: str
    answer: str
    prompt_tokens: int
    answer_tokens: int
    messages: Sequence[Message] = ()


class Verdict(NamedTuple):
    """Why a row is dropped, and the figure or text that shows it."""

    reason: str
    evidence: str


class Filter(Protocol):
    """A filter: `suspects` leaves out only rows to which the filter itself would not object."""

    @property
    def enabled(self) -> bool: ...
    def suspects(self, rows: Columns) -> pl.Series: ...
    def __call__(self, row: Reading) -> Verdict | None: ...
