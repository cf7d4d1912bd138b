"""JSON: an array of objects, or an object that holds one such array, or JSON Lines under another name."""

import codecs
import json
from collections.abc import Iterator
from itertools import chain
from typing import Any

from tasks.formats.row import Row, RowError
from tasks.sources import json_lines
from tasks.sources.json_values import JsonDecoder, as_row
from tasks.sources.text import MAX_LINE_BYTES, RAW_CHARACTERS, shown

_SPACE = " \t\r\n"

_Rows = Iterator[tuple[int, Row | RowError, str]]


def read(blocks: Iterator[bytes]) -> _Rows:
    """Rows by their place in the array; raises `ValueError` where there is none.

    An array is read element by element; an object around one is held in memory whole.
    """
    head = next((block for block in blocks if block.strip()), b"").lstrip()
    if not head.startswith(b"{"):
        return _elements(_Text(chain([head], blocks)))
    if _is_lines(head):
        return json_lines.read(chain([head], blocks))
    return _wrapped(b"".join(chain([head], blocks)))


def _is_lines(head: bytes) -> bool:
    """Whether the first line is an object of its own and another begins after it."""
    first, _, rest = head.partition(b"\n")
    try:
        return rest.lstrip().startswith(b"{") and isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return False


def _wrapped(data: bytes) -> _Rows:
    for number, value in enumerate(_only_array(JsonDecoder().strictly(data.decode())), start=1):
        yield number, as_row(value), shown(value)


def _only_array(value: dict[str, Any]) -> list[Any]:
    arrays = [each for each in value.values() if isinstance(each, list)]
    if len(arrays) != 1:
        raise ValueError("expected an array of rows, or an object that holds exactly one")
    return arrays[0]


def _elements(text: "_Text") -> _Rows:
    decoder = JsonDecoder()
    if text.next() != "[":
        raise ValueError("it is empty" if not text.next() else "expected an array of rows, or an object that holds one")
    text.place += 1
    number = 0
    following = text.next()
    while following != "]":
        number += 1
        yield number, *text.decode(decoder, number)
        following = text.next()
        if following == ",":
            text.place += 1
        elif following != "]":
            raise ValueError(f"after element {number} " + (f"stands {following!r}" if following else "it breaks off"))
    text.place += 1
    if text.next():
        raise ValueError("there is more after the array's end")


class _Text:
    """A text that slides over a stream."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        # Bytes that are no UTF-8 become lone surrogates, by which their element is known; the others stay readable.
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="surrogateescape")
        self._blocks = blocks
        self._ended = False
        self._text = ""
        self.place = 0

    def next(self) -> str:
        """The next character that is no space, where the place moves to; empty at the end."""
        while True:
            while self.place < len(self._text) and self._text[self.place] in _SPACE:
                self.place += 1
            if self.place < len(self._text):
                return self._text[self.place]
            if self._ended:
                return ""
            self._more()

    def decode(self, decoder: JsonDecoder, number: int) -> tuple[Row | RowError, str]:
        """The element at the place, which moves behind it, and how it begins."""
        self.next()
        while True:
            try:
                row, end = decoder.element(self._text, self.place)
                if end < len(self._text) or self._ended:
                    break
            except RecursionError:
                raise ValueError(f"element {number} is nested too deeply") from None
            except ValueError as error:
                if self._ended or len(self._text) - self.place > MAX_LINE_BYTES:
                    words = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
                    longer = "" if self._ended else f", or longer than {MAX_LINE_BYTES:,} characters"
                    raise ValueError(f"element {number} is broken ({words}){longer}") from None
            self._more()
        raw = self._text[self.place : min(end, self.place + RAW_CHARACTERS)]
        damage = _damage(self._text[self.place : end])
        self.place = end
        return damage or row, raw.encode(errors="replace").decode()

    def _more(self) -> None:
        block = next(self._blocks, None)
        self._ended = block is None
        self._text = self._text[self.place :] + self._decoder.decode(block or b"", final=self._ended)
        self.place = 0


def _damage(text: str) -> RowError | None:
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return RowError("not UTF-8", f"character {error.start + 1} of the element")
    return None
