"""The shelf of row formats. A new one is a module with NAME, recognises and read, and a line here."""

from collections.abc import Callable, Mapping
from typing import Literal, Protocol

from tasks.conversation import Message
from tasks.formats import alpaca, openai, pairs, sharegpt
from tasks.formats.row import Row, RowError, text_field

FormatName = Literal["messages", "sharegpt", "alpaca", "pairs"]


class Format(Protocol):
    """A way in which rows hold conversations."""

    NAME: str

    def recognises(self, row: Row) -> bool: ...
    def read(self, row: Row) -> list[Message]: ...


FORMATS: tuple[Format, ...] = (openai, sharegpt, alpaca, pairs)
"""In the order in which they are tried: the most telling field names first."""


def reader(name: FormatName | None, fields: Mapping[str, str]) -> Callable[[Row], list[Message]]:
    """The function that reads a source's rows: by field mapping, by the named format, or by recognition."""
    if fields:
        return lambda row: _read_mapped(row, fields)
    if name is not None:
        return next(each for each in FORMATS if name == each.NAME).read
    return _read_recognised


def _read_mapped(row: Row, fields: Mapping[str, str]) -> list[Message]:
    system = text_field(row, fields["system"], optional=True) if "system" in fields else ""
    return pairs.pair(text_field(row, fields["prompt"]), text_field(row, fields["answer"]), system)


def _read_recognised(row: Row) -> list[Message]:
    for each in FORMATS:
        if each.recognises(row):
            return each.read(row)
    raise RowError(
        "unknown format",
        f"fields {', '.join(sorted(map(str, row)))[:200]}; name the source's format, or map prompt and answer",
    )
