"""ShareGPT rows: `conversations`, each turn with `from` and `value`."""

from typing import Any

from tasks.conversation import Message
from tasks.formats.row import Row, RowError, conversation, text_field

NAME = "sharegpt"
SPEAKERS = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "assistant": "assistant",
    "system": "system",
    "tool": "tool",
    "observation": "tool",
    "function_response": "tool",
}


def recognises(row: Row) -> bool:
    """True for a row with `conversations`."""
    return "conversations" in row


def read(row: Row) -> list[Message]:
    """The turns with their speakers' roles, after the row's `system` field where there is one."""
    turns = row["conversations"]
    if not isinstance(turns, list) or not turns:
        raise RowError("wrong type", f"conversations is {type(turns).__name__}, not a list of turns")
    system = text_field(row, "system", optional=True)
    opening: list[Message] = [{"role": "system", "content": system}] if system.strip() else []
    return conversation(opening + [_turn(turn) for turn in turns])


def _turn(turn: Any) -> Message:
    if not isinstance(turn, dict):
        raise RowError("wrong type", f"a turn is {type(turn).__name__}, not a mapping")
    speaker, value = turn.get("from", turn.get("role")), turn.get("value", turn.get("content"))
    if not isinstance(speaker, str) or speaker not in SPEAKERS:
        raise RowError("unknown role", repr(speaker))
    if not isinstance(value, str):
        raise RowError("wrong type", f"the {speaker}'s value is {type(value).__name__}, not text")
    return {"role": SPEAKERS[speaker], "content": value}
