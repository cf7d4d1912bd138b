"""What every format shares: the row it reads, the error it raises, and fields of text."""

import math
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from tasks.conversation import Message

Row = Mapping[str, Any]

DETAIL_CHARACTERS = 300


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


def text_field(row: Row, *names: str, missing: str | None = None) -> str:
    """The first of the named fields that holds text. Numbers are not text: a table read them wrongly.

    Where none is set, `missing` is the cause to refuse the row for; without it, the text is empty.
    """
    given = [(name, row[name]) for name in names if row.get(name) is not None]
    for name, value in given:
        if not isinstance(value, str):
            raise RowError("wrong type", f"{name} is {type(value).__name__}, not text; name the source's fields in map")
        if value:
            return value
    if given or missing is None:
        return ""
    raise RowError(missing, f"none of {', '.join(names)} is set")


def as_text(value: Any, what: str) -> str | None:
    """A value as text, or none where there is none: numbers and truth values as JSON has them, whole numbers bare."""
    if value is None or value != value:  # not a number: how tables of numbers write what is missing
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    if not isinstance(value, str):
        raise RowError("wrong type", f"{what} is {type(value).__name__}, neither text nor a number")
    return value


def quoted(value: Any) -> str:
    """A value for an error's text; of what may be long or deep, its type."""
    return repr(value) if isinstance(value, str | int | float | None) else type(value).__name__


def first_set(row: Row, *names: str) -> Any:
    """The value of the first of the named fields that is set, or none."""
    for name in names:
        if (value := row.get(name)) is not None:
            return value
    return None


def require_wanted(row: Row) -> None:
    """Refuse a row whose answer its `label` calls a bad one, as unpaired preferences do."""
    if row.get("label") is False:
        raise RowError("unwanted answer", "its label is false: people marked the answer as a bad one")


def has(fields: Collection[str], *names: str) -> bool:
    """True if one of the names is among the fields."""
    return any(name in fields for name in names)


def system_turn(row: Row) -> list[Message]:
    """The system's turn, where a field of the row holds its text."""
    return system(text_field(row, "system", "system_prompt"))


def opened(row: Row, turns: list[Message]) -> list[Message]:
    """The turns behind the system's text of the row, unless they begin with it themselves."""
    opening = system_turn(row)
    return turns if turns[:1] == opening else opening + turns


def system(text: str) -> list[Message]:
    """The system's turn, if there is a text for it."""
    return [{"role": "system", "content": text}] if text.strip() else []


def user(text: str) -> Message:
    """A user's turn."""
    return {"role": "user", "content": text}


def assistant(text: str) -> Message:
    """An assistant's turn."""
    return {"role": "assistant", "content": text}
