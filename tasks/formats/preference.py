"""Preference rows: of a `chosen` and a `rejected` answer, the chosen one is learnt."""

import re
from collections.abc import Collection
from typing import Any

from tasks.conversation import Message
from tasks.formats.calls import read_tools
from tasks.formats.checks import conversation
from tasks.formats.pairs import question
from tasks.formats.row import Conversation, Row, RowError, assistant, first_set, opened, user
from tasks.formats.turns import read_turn, read_turns

NAME = "preference"
_SPEAKER = re.compile(r"\n\n(Human|Assistant):")


def recognises(fields: Collection[str]) -> bool:
    """True for a row with `chosen` and `rejected`."""
    return "chosen" in fields and "rejected" in fields


def read(row: Row) -> Conversation:
    """What was asked, and the chosen answer; a chosen side that holds the question too stands for itself."""
    chosen = _chosen(row.get("chosen"))
    whole = any(turn["role"] == "user" for turn in chosen)
    return conversation(opened(row, chosen if whole else _asked(row) + chosen), read_tools(row))


def _chosen(value: Any) -> list[Message]:
    if value is None:
        raise RowError("no answer", "the chosen answer is not set")
    if isinstance(value, dict):
        return [read_turn(value)]
    if isinstance(value, str):
        return _transcript(value) or [assistant(value)]
    return read_turns(value, "chosen")


def _transcript(text: str) -> list[Message]:
    """The turns of a text in the way of HH-RLHF, in which Human and Assistant speak by turns."""
    if not text.startswith("\n\nHuman:"):
        return []
    _, *parts = _SPEAKER.split(text)
    roles = {"Human": "user", "Assistant": "assistant"}
    return [{"role": roles[who], "content": said.strip()} for who, said in zip(parts[::2], parts[1::2], strict=True)]


def _asked(row: Row) -> list[Message]:
    """The turns before the answer: a list of them, or a prompt's text."""
    turns = first_set(row, "conversations", "conversation", "messages")
    if turns is None and isinstance(row.get("prompt"), list):
        turns = row["prompt"]
    if turns is not None:
        return read_turns(turns, "what was asked")
    return [user(question(row))]
