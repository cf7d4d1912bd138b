"""How a chat template lays out all conversations of one shape, whatever their messages say.

Found by running the template on symbolic texts, and checked against what it writes of words made up for the purpose.
A layout is not found where the template asks what a message says, in a way that matters to what it writes.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from tasks.algorithms.chat.symbolic_rendering import SymbolicTemplate
from tasks.algorithms.chat.symbolic_text import Conditions, Field, Looked, Part, Piece, SymbolicText
from tasks.conversation import Message


class Turn(NamedTuple):
    """What is known of a message before it is read: which texts it has, and whether it may be trained."""

    role: str
    fields: tuple[Literal["content", "reasoning"], ...]
    weightless: bool


Shape = tuple[Turn, ...]


class Place(NamedTuple):
    """A point of a text: the bytes of its literals before it, and the number of its pieces before it."""

    literal_bytes: int
    pieces: int


class LaidSpan(NamedTuple):
    """A trained span of a message."""

    begin: Place
    end: Place
    turn: int


@dataclass(frozen=True)
class LaidText:
    """A text and its trained spans."""

    literals: tuple[str, ...]
    """One more than there are pieces: before, between and behind them."""
    pieces: tuple[Piece, ...]
    spans: tuple[LaidSpan, ...]


@dataclass(frozen=True)
class Layout:
    """The texts of each conversation of a shape that keeps to what was taken for granted of it."""

    texts: tuple[LaidText, ...]
    absent: tuple[tuple[Field, str], ...]
    """Strings that do not stand in a field."""
    other_begins: tuple[tuple[Piece, str], ...]
    """Characters that a piece does not begin with: there, two renderings of a conversation part."""

    @property
    def fields(self) -> set[Field]:
        """All that must be read of a conversation."""
        pieces = {piece.field for text in self.texts for piece in text.pieces}
        return pieces | {field for field, _ in self.absent} | {piece.field for piece, _ in self.other_begins}


class _Text(Protocol):
    @property
    def text(self) -> str: ...
    @property
    def spans(self) -> Sequence[tuple[int, int, int]]: ...


Show = Callable[[list[Message]], list[dict[str, Any]]]
Trained = Callable[[list[Message]], Sequence[_Text]]


@dataclass(frozen=True)
class Learner:
    """Finds the layouts of one template."""

    template: SymbolicTemplate
    known: Mapping[str, Any]
    """The template's variables besides the messages and tools."""
    show: Show
    """Messages as the template is given them."""
    trained: Trained
    """The texts and spans of a conversation, one by one."""

    def layout(self, shape: Shape) -> Layout | None:
        """The layout of a shape; none where there is none for all conversations."""
        try:
            return self._layout(shape) if len(shape) <= _MOST_MESSAGES else None
        except Exception:  # noqa: BLE001 # a template is a program: it can fail in any way, and says so row by row
            return None

    def _layout(self, shape: Shape) -> Layout | None:
        conditions = Conditions(set())
        messages = self.show([_symbolic_message(number, turn, conditions) for number, turn in enumerate(shape)])
        turns = [number for number, turn in enumerate(shape) if turn.role == "assistant"]
        ends = sorted({*(turn + 1 for turn in turns), len(shape)})
        forms = {self.template.parts(messages[:end], add_generation_prompt=False, **self.known) for end in ends}
        asked = {self.template.parts(messages[:turn], add_generation_prompt=True, **self.known) for turn in turns}
        others = {each for pair in itertools.product(forms, forms | asked) for each in _parting(*pair)}
        found = {self._laid(shape, forms, words, conditions) for words in _WORDS}
        texts = found.pop()
        if found or texts is None:
            return None
        return Layout(texts, tuple(sorted(conditions.absent)), tuple(sorted(others, key=repr)))

    def _laid(
        self, shape: Shape, forms: set[tuple[Part, ...]], words: str, conditions: Conditions
    ) -> tuple[LaidText, ...] | None:
        """The texts of a conversation of made-up words, each one the only form that gives it."""
        said = {
            Field(number, name): _said(words, number, name) for number, turn in enumerate(shape) for name in turn.fields
        }
        if any(absent in said[field] for field, absent in conditions.absent):
            return None
        messages = [
            _message(turn, {name: said[Field(number, name)] for name in turn.fields})
            for number, turn in enumerate(shape)
        ]
        made = []
        for text in self.trained(messages):
            form = _form(forms, text.text, said)
            laid = None if form is None else _laid_text(form, text, said)
            if laid is None:
                return None
            made.append(laid)
        return tuple(made)


_MOST_MESSAGES = 64
"""Longer conversations are too few of one shape to be worth it."""
_WORDS = ("ⵣ{0}ⵣ", ' \n\u2003⟅{0}\\"é\r\n\t<&{{⟆\x1c ', "ⴰ")
"""Words made up: unique; with what templates trim, escape or quote; and the same for all."""


def _said(words: str, message: int, name: str) -> str:
    return words.format(f"{message}{name}")


def _symbolic_message(number: int, turn: Turn, conditions: Conditions) -> Message:
    return _message(turn, {name: SymbolicText([Piece(Field(number, name))], conditions) for name in turn.fields})


def _message(turn: Turn, texts: Mapping[str, str]) -> Message:
    weight = {"weight": 0.0} if turn.weightless else {}
    return {"role": turn.role, "content": "", **texts, **weight}  # type: ignore[typeddict-item]


def trimmed(text: str, piece: Piece) -> str:
    """A field's text as the piece has it."""
    for method, chars in piece.trims:
        text = getattr(text, method)(chars)
    return text


def _parting(left: tuple[Part, ...], right: tuple[Part, ...]) -> Iterator[tuple[Piece, str]]:
    """What a piece must not begin with, lest it depends on it how much two renderings share.

    What is given to the model, and what it must write itself, is told from how much they share.
    """
    mine, others = list(left[::-1]), list(right[::-1])
    while mine and others:
        one, other = mine.pop(), others.pop()
        if isinstance(one, str) and isinstance(other, str):
            common = min(len(one), len(other))
            if one[:common] != other[:common]:
                return
            mine += [one[common:]] * (common < len(one))
            others += [other[common:]] * (common < len(other))
        elif isinstance(one, Piece) and isinstance(other, Piece):
            if one != other:
                raise Looked("another piece")
        else:
            piece, literal = (one, other) if isinstance(one, Piece) else (other, one)
            yield piece, literal[0]  # type: ignore[misc]
            return


def _written(part: Part, said: Mapping[Field, str]) -> str:
    return trimmed(said[part.field], part) if isinstance(part, Piece) else part


def _form(forms: set[tuple[Part, ...]], text: str, said: Mapping[Field, str]) -> tuple[Part, ...] | None:
    """The form that gives the text, but for an end that the template itself does not write there."""
    written = {form: "".join(_written(part, said) for part in form) for form in forms}
    longest = max((len(each) for each in written.values() if text.startswith(each)), default=-1)
    fitting = [form for form, each in written.items() if len(each) == longest and text.startswith(each)]
    if len(fitting) != 1 or any(each in text[longest:] for each in said.values()):
        return None
    return (*fitting[0], text[longest:])


def _laid_text(form: tuple[Part, ...], text: _Text, said: Mapping[Field, str]) -> LaidText | None:
    literals, pieces = [""], list[Piece]()
    for part in form:
        if isinstance(part, Piece):
            pieces.append(part)
            literals.append("")
        else:
            literals[-1] += part
    spans = []
    for begin, end, turn in text.spans:
        places = [_place(literals, [_written(piece, said) for piece in pieces], each) for each in (begin, end)]
        if places[0] is None or places[1] is None:
            return None
        spans.append(LaidSpan(places[0], places[1], turn))
    return LaidText(tuple(literals), tuple(pieces), tuple(spans))


def _place(literals: Sequence[str], texts: Sequence[str], character: int) -> Place | None:
    """Where a character stands; none if that is within a piece."""
    reached, literal_bytes = 0, 0
    for pieces, literal in enumerate(literals):
        if reached <= character <= reached + len(literal):
            return Place(literal_bytes + len(literal[: character - reached].encode()), pieces)
        reached += len(literal)
        literal_bytes += len(literal.encode())
        reached += len(texts[pieces]) if pieces < len(texts) else 0
    return None
