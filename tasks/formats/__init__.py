"""The shelf of row formats. A new one is a module with NAME, recognises and read, and a line here."""

from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from typing import Any, Literal, Protocol

from tasks.formats import alpaca, labelled, mapping, openai, pairs, preference, sharegpt, text
from tasks.formats.row import Conversation, Row, RowError, has

FormatName = Literal["preference", "messages", "sharegpt", "alpaca", "pairs", "labelled", "text"]


class Format(Protocol):
    """A way in which rows hold conversations."""

    NAME: str

    def recognises(self, fields: Collection[str]) -> bool: ...
    def read(self, row: Row) -> Conversation: ...


FORMATS: tuple[Format, ...] = (preference, openai, sharegpt, alpaca, pairs, labelled, text)
"""In the order in which they are tried on each row: the most telling field names first. Fields that are set decide;
where they decide nothing, fields that are there but empty do, so that the row is refused for what it lacks."""


def reader(name: FormatName | None, fields: Mapping[str, Any] | None = None) -> Callable[[Row], Conversation]:
    """The function that reads a source's rows: by field mapping, by the named format, or by recognition."""
    if fields:
        mapped = mapping.FieldMap.model_validate(fields)
        return lambda row: mapping.read(row, mapped)
    if name is not None:
        return next(each for each in FORMATS if name == each.NAME).read
    return _read_recognised


def _read_recognised(row: Row) -> Conversation:
    given = tuple(name for name, value in row.items() if value not in (None, "", []))
    if row.get("instruction", "") is None and has(given, *alpaca.ANSWERS):
        # The instruction was lost: input and output alone do not make a whole row.
        given = ("instruction", *given)
    if found := _recognised(given) or _recognised(tuple(row)):
        return found.read(row)
    names = f"fields {', '.join(sorted(map(str, row)))[:160]}"
    if has(row, *pairs.PROMPTS):
        raise RowError(
            "no answer", f"{names}; if one of them is the answer, name prompt and answer in the source's map"
        )
    if has(row, *labelled.TEXTS):
        raise RowError(
            "no label",
            f"{names}; a text alone is no conversation; name prompt and answer in the source's map, or set the "
            "source's format to text to train on all of it",
        )
    raise RowError("unknown format", f"{names}; set the source's format, or name prompt and answer in its map")


@lru_cache(maxsize=1024)
def _recognised(fields: tuple[str, ...]) -> Format | None:
    return next((each for each in FORMATS if each.recognises(fields)), None)
