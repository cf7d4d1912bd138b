"""Rows of no known format: the recipe says which fields hold what."""

import math
from collections.abc import Sequence
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from tasks.config import Config
from tasks.conversation import Message
from tasks.formats.calls import read_tools
from tasks.formats.checks import conversation
from tasks.formats.json_text import parse
from tasks.formats.row import Conversation, Row, RowError, as_text, assistant, quoted, system, user
from tasks.formats.turns import read_turns

Place = Annotated[str, Field(pattern=r"\S")]


class FieldMap(Config):
    """Which fields of a row hold what: `prompt` and `answer`, or `messages`.

    A field inside another is named by its way, such as `instances.0.output`; JSON in a text is looked into.
    """

    prompt: str | tuple[str, ...] | None = None
    """Field with the user's text, or several, to be joined by blank lines."""
    answer: Place | None = None
    """Field with the assistant's text; a number is taken as it is written."""
    system: Place | None = None
    """Field with the system prompt, if any."""
    messages: Place | None = None
    """Field with the turns, in place of prompt; `answer` adds a last one."""
    tools: Place | None = None
    """Field with the schemas of the tools that the assistant may call."""
    quality: Place | None = None
    """Field with the source's own score, the higher the better."""
    cut_unanswered: bool = False
    """Leave out the turns after the assistant's last, which nobody answers; such a row is rejected otherwise."""

    @model_validator(mode="after")
    def _hold_one_conversation(self) -> Self:
        if self.messages is not None and self.prompt is not None:
            raise ValueError("map names messages and prompt; the prompt is one of the messages, so take prompt out")
        if self.prompt is not None and not all(place.strip() for place in self.prompts or ("",)):
            raise ValueError(f"map.prompt is {self.prompt!r}; give the name of a field, or a list of names")
        lacking = [name for name in ("prompt", "answer") if getattr(self, name) is None]
        if self.messages is None and lacking:
            raise ValueError(f"map lacks {' and '.join(lacking)}; name prompt and answer, or messages")
        if self.cut_unanswered and (self.messages is None or self.answer is not None):
            raise ValueError("map.cut_unanswered is for messages without an answer of their own; take it or answer out")
        return self

    @property
    def prompts(self) -> tuple[str, ...]:
        """The fields of the user's text."""
        return (self.prompt,) if isinstance(self.prompt, str) else self.prompt or ()


def read(row: Row, fields: FieldMap) -> Conversation:
    """What the row holds in the mapped fields."""
    turns = _turns(row, fields)
    if fields.cut_unanswered:
        while turns and turns[-1]["role"] != "assistant":
            turns.pop()
    opening = system(_text(row, fields.system)) if fields.system and _value(row, fields.system) is not None else []
    tools = read_tools({"tools": _value(row, fields.tools)}) if fields.tools else None
    return conversation(opening + turns, tools, _quality(row, fields.quality))


def _turns(row: Row, fields: FieldMap) -> list[Message]:
    answer = [assistant(_text(row, fields.answer))] if fields.answer else []
    if fields.messages:
        return read_turns(_value(row, fields.messages), fields.messages) + answer
    return [user(_joined(row, fields.prompts)), *answer]


def _joined(row: Row, places: Sequence[str]) -> str:
    first, *others = places
    texts = [_text(row, first), *(_text(row, place) for place in others if _value(row, place) is not None)]
    return "\n\n".join(text for text in texts if text.strip()) if others else texts[0]


def _text(row: Row, place: str) -> str:
    value = _value(row, place)
    if isinstance(value, list | dict):
        raise RowError("wrong type", f"{place} is {type(value).__name__}, not text; name the place in it, as {place}.0")
    text = as_text(value, place)
    if text is None:
        raise RowError(f"no {place}", f"the row has {', '.join(sorted(map(str, row)))}")
    return text


def _quality(row: Row, place: str | None) -> float | None:
    value = _value(row, place) if place else None
    if value is None or value == "":
        return None
    try:
        quality = float(value)
    except (TypeError, ValueError, OverflowError):
        raise RowError("wrong quality", f"{place} is {quoted(value)}, not a number") from None
    if math.isinf(quality):
        raise RowError("wrong quality", f"{place} is {quoted(value)}; a score is finite")
    return None if math.isnan(quality) else quality


def _value(row: Row, place: str) -> Any:
    """What stands in a field, or at the end of a dotted way into one; none where the way leads nowhere."""
    if place in row:
        return row[place]
    value: Any = row
    for step in place.split("."):
        if isinstance(value, str):
            value = parse(value, f"the text before {step} in {place}", "wrong type")
        if isinstance(value, list):
            value = value[int(step)] if step.isdecimal() and int(step) < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value
