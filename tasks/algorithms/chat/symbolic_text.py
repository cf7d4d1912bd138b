"""Texts whose words are not known yet: what a template makes of a message, whatever the message says.

A template is run once on such texts (symbolic execution, King 1976, doi:10.1145/360248.360252). Joining them and
trimming white space is written down; a question about the words is either answered "no" and kept as a condition on
the message ("does not hold `</think>`"), or not answered: `Looked`.
"""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, NoReturn

Trim = tuple[Literal["strip", "lstrip", "rstrip"], str | None]
"""A method of `str`, and the characters that it takes away: any white space where none are given."""


class Field(NamedTuple):
    """A text of a conversation that is not empty, and not of white space only."""

    message: int
    name: str


class Piece(NamedTuple):
    """A field as a template writes it."""

    field: Field
    trims: tuple[Trim, ...] = ()


Part = str | Piece


class Looked(Exception):  # noqa: N818 # what the template did
    """The template's text depends on a message in a way that cannot be written down."""


@dataclass
class Conditions:
    """What was taken for granted: strings that do not stand in a field."""

    absent: set[tuple[Field, str]]


class SymbolicText(str):
    """Literals and pieces in order, at least one of them a piece; so it is never empty, nor white space only."""

    parts: tuple[Part, ...]
    conditions: Conditions

    def __new__(cls, parts: Iterable[Part], conditions: Conditions) -> "SymbolicText":
        # Code that reads the characters past these methods finds some that no template writes.
        made = super().__new__(cls, "\ufdd0\ufdd1")
        made.parts, made.conditions = tuple(_merged(parts)), conditions
        return made

    def __add__(self, other: str) -> "SymbolicText":
        return SymbolicText((*self.parts, *parts_of(other)), self.conditions)

    def __radd__(self, other: str) -> "SymbolicText":
        return SymbolicText((*parts_of(other), *self.parts), self.conditions)

    def __str__(self) -> str:
        return self

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, key: Any) -> str:
        if isinstance(key, str):  # as any text answers `text["name"]` and `text.name`
            raise TypeError("string indices must be integers")
        raise Looked("[]")

    def strip(self, chars: str | None = None) -> "SymbolicText":
        return self.lstrip(chars).rstrip(chars)

    def lstrip(self, chars: str | None = None) -> "SymbolicText":
        return SymbolicText(_trimmed(self.parts, ("lstrip", _white(chars))), self.conditions)

    def rstrip(self, chars: str | None = None) -> "SymbolicText":
        return SymbolicText(_trimmed(self.parts[::-1], ("rstrip", _white(chars)))[::-1], self.conditions)

    def __eq__(self, other: object) -> bool:
        if self is other or not isinstance(other, str) or (type(other) is str and not other.strip()):
            return self is other
        return self._lacks(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __contains__(self, other: Any) -> bool:
        return any(_text(other) in part for part in self.parts if isinstance(part, str)) or self._lacks(other)

    def startswith(self, prefix: Any, *places: Any) -> bool:
        return self._at_edge(prefix, places, self.parts[0], str.startswith)

    def endswith(self, suffix: Any, *places: Any) -> bool:
        return self._at_edge(suffix, places, self.parts[-1], str.endswith)

    def split(self, sep: Any = None, *most: Any) -> list[str]:
        if most:
            raise Looked("split")
        self._assume_absent(_text(sep))
        texts: list[list[Part]] = [[]]
        for part in self.parts:
            first, *rest = part.split(sep) if isinstance(part, str) else [part]
            texts[-1].append(first)
            texts += [[each] for each in rest]
        return [joined([_of_part(part, self.conditions) for part in text]) for text in texts]

    rsplit = split  # type: ignore[assignment]

    def replace(self, old: Any, *_: Any) -> "SymbolicText":
        self._lacks(old)
        return self

    def removeprefix(self, prefix: Any, /) -> "SymbolicText":
        self._lacks(prefix)
        return self

    removesuffix = removeprefix

    def _lacks(self, other: Any) -> Literal[False]:
        """Takes for granted that a string does not stand in here at all."""
        if any(_text(other) in part for part in self.parts if isinstance(part, str)):
            raise Looked("in")
        self._assume_absent(other)
        return False

    def _assume_absent(self, other: str) -> None:
        """Takes for granted that a string does not stand in the pieces, nor where one meets what is beside it."""
        for part, following in itertools.pairwise(self.parts):
            if isinstance(part, str):
                meeting = any(part.endswith(other[:place]) for place in range(1, len(other)))
            else:
                meeting = isinstance(following, Piece) or _begins_within(following, other)
            if meeting:
                raise Looked("in")
        # Trimming only takes away: what does not stand in the field does not stand in what is left of it.
        self.conditions.absent |= {(part.field, other) for part in self.parts if isinstance(part, Piece)}

    def _at_edge(self, other: Any, places: tuple[Any, ...], edge: Part, test: Callable[[str, str], bool]) -> bool:
        if places:
            raise Looked("places")
        if isinstance(edge, str) and type(other) is str and len(other) <= len(edge):
            return test(edge, other)
        return self._lacks(other)


def _text(other: Any) -> str:
    if type(other) is not str or not other:
        raise Looked("in")
    return other


def _begins_within(literal: str, other: str) -> bool:
    """Whether a literal could go on with a string that begins before it."""
    return any(literal.startswith(other[place:]) or other[place:].startswith(literal) for place in range(1, len(other)))


def _of_part(part: Part, conditions: Conditions) -> str:
    return part if isinstance(part, str) else SymbolicText([part], conditions)


class SymbolicLength:
    """The length of a symbolic text: at least 1."""

    def __gt__(self, other: object) -> bool:
        return self._above(other, 0)

    def __ge__(self, other: object) -> bool:
        return self._above(other, 1)

    def __le__(self, other: object) -> bool:
        return not self > other

    def __lt__(self, other: object) -> bool:
        return not self >= other

    def __eq__(self, other: object) -> bool:
        return not self._above(other, 0)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __str__(self) -> NoReturn:
        raise Looked("length")

    __repr__ = __str__
    __hash__ = __str__

    def _above(self, other: object, most: int) -> Literal[True]:
        if type(other) is int and other <= most:
            return True
        raise Looked("length")


def parts_of(text: str) -> tuple[Part, ...]:
    """The parts of a text, symbolic or not."""
    if isinstance(text, SymbolicText):
        return text.parts
    if not isinstance(text, str):
        raise TypeError(f"a text and {type(text).__name__} cannot be joined")
    return (str(text),)


def joined(texts: Iterable[str]) -> str:
    """The texts one behind the other: symbolic where one of them is."""
    held = list(texts)
    known = next((each.conditions for each in held if isinstance(each, SymbolicText)), None)
    if known is None:
        return "".join(held)
    return SymbolicText((part for each in held for part in parts_of(each)), known)


def _merged(parts: Iterable[Part]) -> list[Part]:
    made: list[Part] = []
    for part in parts:
        if isinstance(part, str) and made and isinstance(made[-1], str):
            made[-1] += part
        elif part != "":
            made.append(part)
    return made


def _white(chars: Any) -> str | None:
    if chars is None or (type(chars) is str and chars.isspace()):
        return chars
    raise Looked("strip")


def _trimmed(parts: tuple[Part, ...], trim: Trim) -> tuple[Part, ...]:
    """Without white space on the side where `parts` begin; the first piece stops it, as it holds more than that."""
    for place, part in enumerate(parts):
        if isinstance(part, Piece):
            return (part._replace(trims=(*part.trims, trim)), *parts[place + 1 :])
        left: str = getattr(part, trim[0])(trim[1])
        if left:
            return (left, *parts[place + 1 :])
    raise AssertionError("a symbolic text holds a piece")


_ANSWERED = frozenset(vars(SymbolicText)) | {
    *("__class__", "__delattr__", "__dir__", "__doc__", "__getattribute__", "__getnewargs__", "__getstate__"),
    *("__init__", "__init_subclass__", "__reduce__", "__reduce_ex__", "__setattr__", "__sizeof__", "__subclasshook__"),
}


def _refuse_the_rest() -> None:
    def refusing(name: str) -> Callable[..., NoReturn]:
        def look(*_: object, **__: object) -> NoReturn:
            raise Looked(name)

        return look

    for name in dir(str):
        if name not in _ANSWERED or name == "__hash__":
            setattr(SymbolicText, name, refusing(name))


_refuse_the_rest()
