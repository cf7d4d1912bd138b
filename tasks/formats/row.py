"""What every format shares: the row it reads, the error it raises, and the checks on turns."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

from tasks.conversation import Message

Row = Mapping[str, Any]

DETAIL_CHARACTERS = 300
ROLES = ("system", "user", "assistant", "tool")


class Conversation(NamedTuple):
    """What a row holds."""

    messages: list[Message]
    tools: str | None = None
    """Tool schemas that the assistant may call, as a JSON list."""
    quality: float | None = None
    """The source's own score, the higher the better."""


class RowError(ValueError):
    """A row that cannot become a conversation: a short cause to count by, and the detail."""

    def __init__(self, cause: str, detail: str = "") -> None:
        # The detail quotes the row, and must be storable whatever that holds.
        detail = detail[:DETAIL_CHARACTERS].encode(errors="backslashreplace").decode()
        super().__init__(f"{cause}: {detail}" if detail else cause)
        self.cause = cause
        self.detail = detail


def text_field(row: Row, *names: str, optional: bool = False) -> str:
    """The first of the named fields that the row has, as text. Numbers are not text: a table read them wrongly."""
    for name in names:
        value = row.get(name)
        if value is None:
            continue
        if not isinstance(value, str):
            raise RowError("wrong type", f"{name} is {type(value).__name__}, not text")
        return value
    if optional:
        return ""
    raise RowError(f"no {names[-1]}", f"none of {', '.join(names)} is set")


def conversation(messages: list[Message]) -> list[Message]:
    """The messages, if they can be trained on: known roles, a user turn before the answer, an answer at the end."""
    for message in messages:
        if message["role"] not in ROLES:
            raise RowError("unknown role", repr(message["role"]))
        _require_unicode(message["content"])
    turns = [message["role"] for message in messages if message["role"] != "system"]
    if "assistant" not in turns:
        raise RowError("no answer", "no assistant turn")
    if turns[0] != "user":
        raise RowError("roles out of order", f"the first turn is the {turns[0]}'s")
    if turns[-1] != "assistant":
        raise RowError("no answer", f"the last turn is the {turns[-1]}'s")
    for before, after in pairwise(turns):
        if before == after and before in ("user", "assistant"):
            raise RowError("roles out of order", f"two {before} turns in a row")
    return messages


def _require_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RowError("broken text", f"a lone surrogate at character {error.start}") from None
