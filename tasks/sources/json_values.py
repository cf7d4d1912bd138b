"""JSON as rows need it: one meaning or none."""

import json
import re
from collections.abc import Iterable
from typing import Any

from tasks.formats.row import Row, RowError

MAX_DEPTH = 64
"""Lists and objects within one another; what is deeper could not be written again by every tool."""

_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"')


class JsonDecoder:
    """Decodes values from text; notes a key that stands twice in an object, since which counts would be chance.

    `NaN` is taken for a missing value: so tables with gaps are written by careless tools.
    """

    def __init__(self) -> None:
        self._decode = json.JSONDecoder(object_pairs_hook=self._object, parse_constant=_constant).raw_decode
        self._repeated: str | None = None

    def row(self, text: str) -> Row | RowError:
        """A text that is one object, or what is wrong with it."""
        try:
            value, end = self._decode(text)
        except (ValueError, RecursionError) as error:  # beside faults of syntax: a number of thousands of digits
            self._repeated = None
            if text.startswith("\ufeff"):  # files with byte-order marks, put together
                return self.row(text.lstrip("\ufeff"))
            # How deep the decoder comes depends on who calls it; the cause must not.
            return _too_deep() if _nesting(text) > MAX_DEPTH else RowError("broken JSON", _words(error, text))
        if end != len(text):
            return self._fault(RowError("broken JSON", f"more after the value's end at character {end + 1}"))
        return self._checked(value, text)

    def element(self, text: str, start: int) -> tuple[Row | RowError, int]:
        """The value that begins at a place, as a row, and where it ends. Raises `ValueError` where none ends."""
        self._repeated = None
        value, end = self._decode(text, start)
        return self._checked(value, text[start:end]), end

    def strictly(self, text: str) -> Any:
        """The value of a whole text. Raises `ValueError`, also for a key that stands twice."""
        self._repeated = None
        value, end = self._decode(text)
        if text[end:].strip():
            raise ValueError(f"there is more after the value's end at character {end + 1}")
        if self._repeated is not None:
            raise ValueError(f"the key {self._repeated!r} stands twice in one object")
        return value

    def _checked(self, value: Any, text: str) -> Row | RowError:
        if self._repeated is not None:
            return self._fault(RowError("duplicate key", f"{self._repeated!r} stands twice in one object"))
        # A glance at the text spares most rows the walk.
        may_be_deep = text.count("[") + text.count("{") > MAX_DEPTH
        return as_row(value) if may_be_deep or not isinstance(value, dict) else value

    def _fault(self, error: RowError) -> RowError:
        self._repeated = None
        return error

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            names = [name for name, _ in pairs]
            self._repeated = next(name for name in names if names.count(name) > 1)
        return made


def as_row(value: Any) -> Row | RowError:
    """A decoded value, if it is an object of bearable depth."""
    if not isinstance(value, dict):
        return RowError("not an object", f"it is {_NAMES.get(type(value), 'a number')}")
    if _is_deep(value):
        return _too_deep()
    return value


_NAMES: dict[type, str] = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}


def _constant(name: str) -> float | None:
    return None if name == "NaN" else float(name)


def _too_deep() -> RowError:
    return RowError("nested too deeply", f"more than {MAX_DEPTH} levels")


def _nesting(text: str) -> int:
    """How deep brackets go, outside of strings."""
    depth = deepest = 0
    for bracket in re.findall(r"[\[{\]}]", _STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _words(error: Exception, text: str) -> str:
    if isinstance(error, json.JSONDecodeError):
        zeros = ", a NUL byte, as a crash while writing leaves" if text[error.pos : error.pos + 1] == "\0" else ""
        return f"{error.msg.removesuffix(' at')} at character {error.pos + 1}{zeros}"
    return str(error)


def _is_deep(value: Any) -> bool:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [child for each in level for child in _children(each) if isinstance(child, dict | list)]
        if not level:
            return False
    return True


def _children(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value
