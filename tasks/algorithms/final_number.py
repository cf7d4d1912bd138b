"""The number that an answer comes to."""

import re
from decimal import Decimal

_NUMBER = re.compile(r"((?<![\w)])-)?\$?([0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?|[0-9]*\.?[0-9]+)")
_MARK = "####"


def final_number(text: str) -> Decimal | None:
    """The first number behind `####`, as GSM8K marks its results, or else the last one of the text; None without any.

    Commas between thousands and `$` are passed over, and `72`, `72.` and `72.00` are the same number. A hyphen is a
    sign where no word, figure or bracket stands before it.
    """
    marked = _NUMBER.search(text.split(_MARK, 1)[1]) if _MARK in text else None
    found = [marked] if marked else list(_NUMBER.finditer(text))
    if not found:
        return None
    sign, digits = found[-1].groups()
    return Decimal((sign or "") + digits.replace(",", ""))
