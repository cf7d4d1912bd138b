"""What a turn says: text, or typed parts of text, reasoning and calls."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from tasks.formats.calls import Call, read_calls
from tasks.formats.json_text import compact
from tasks.formats.row import RowError, first_set

TEXT_PARTS = ("text", "input_text", "output_text")
REASONING_PARTS = ("reasoning", "thinking")


class Content(NamedTuple):
    """The content of a turn, by kind."""

    text: str | None
    reasoning: str | None = None
    calls: Sequence[Call] = ()


def read_content(value: Any, role: str) -> Content:
    """Text as it stands; typed parts joined by newlines; a tool's result that is no text, as JSON."""
    if isinstance(value, str | None):
        return Content(value)
    if isinstance(value, list) and all(isinstance(part, dict) and isinstance(part.get("type"), str) for part in value):
        return _parts(value, role)
    if role == "tool":
        return Content(compact(value, "the tool's result", "wrong type"))
    raise RowError("wrong type", f"the {role}'s content is {type(value).__name__}, neither text nor typed parts")


def _parts(parts: list[dict[str, Any]], role: str) -> Content:
    texts: list[str] = []
    reasoning: list[str] = []
    calls: list[Call] = []
    for part in parts:
        kind = part["type"]
        if kind in TEXT_PARTS:
            texts.append(_text(part, "text", "value"))
        elif kind in REASONING_PARTS:
            reasoning.append(_text(part, kind, "text", "value"))
        elif kind == "tool_call":
            calls += read_calls(first_set(part, "value", "tool_call"))
        else:
            raise RowError("not text", f"the {role}'s content holds a part of type {kind!r}; only text can be read")
    return Content("\n".join(texts) if texts else None, "\n".join(reasoning) or None, calls)


def _text(part: dict[str, Any], *names: str) -> str:
    value = first_set(part, *names)
    if not isinstance(value, str):
        raise RowError("wrong type", f"the {names[-1]} of a part is {type(value).__name__}, not text")
    return value
