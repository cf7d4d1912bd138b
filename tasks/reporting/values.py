"""The values that facts are made of: text that every page can hold, counts, shares."""

import re
from typing import Annotated

from pydantic import BeforeValidator, Field

_UNREADABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def readable(value: object) -> object:
    """Text without what neither HTML nor UTF-8 can hold: controls become pictures (␀), half surrogates �."""
    if not isinstance(value, str):
        return value
    newlines = value.replace("\r\n", "\n").replace("\r", "\n")
    return _UNREADABLE.sub(lambda found: chr(0x2400 + ord(found[0])) if found[0] < " " else "\ufffd", newlines)


Text = Annotated[str, BeforeValidator(readable)]
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Scalar = bool | int | float | Text | None
