"""OpenAI chat rows: `messages`, each with a `role` and its `content`."""

from typing import Any

from tasks.conversation import Message
from tasks.formats.row import Row, RowError, conversation

NAME = "messages"


def recognises(row: Row) -> bool:
    """True for a row with `messages`."""
    return "messages" in row


def read(row: Row) -> list[Message]:
    """The messages as they stand; text parts of typed content are joined by newlines."""
    messages = row["messages"]
    if not isinstance(messages, list) or not messages:
        raise RowError("wrong type", f"messages is {type(messages).__name__}, not a list of turns")
    return conversation([_message(each) for each in messages])


def _message(value: Any) -> Message:
    if not isinstance(value, dict):
        raise RowError("wrong type", f"a message is {type(value).__name__}, not a mapping")
    role = value.get("role")
    if not isinstance(role, str):
        raise RowError("unknown role", repr(role))
    return {"role": "system" if role == "developer" else role, "content": _content(value.get("content"), role)}


def _content(value: Any, role: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(_is_text_part(part) for part in value):
        return "\n".join(part.get("text", part.get("value")) for part in value)
    if value is None:
        raise RowError("no answer" if role == "assistant" else "no content", f"the {role}'s content is null")
    raise RowError("wrong type", f"the {role}'s content is {type(value).__name__}, neither text nor text parts")


def _is_text_part(part: Any) -> bool:
    return (
        isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text", part.get("value")), str)
    )
