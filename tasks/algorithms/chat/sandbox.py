"""Chat templates as Jinja programs: what they may use, what they write, and what they tag as the model's own."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.utils import missing

from tasks.algorithms.chat.bounds import ENDLESS, MOST_CHARACTERS, STEPS, Sandbox, Steps
from tasks.algorithms.chat.text_places import Span

Shown = dict[str, Any]
"""A message under the names that templates look for."""

_WIDEST_INDENT = 1000
_SECONDS = re.compile(r"((?<!%)(?:%%)*)%[-_0^#]*\d*[EO]?s")
_MARKS = "generation marks"
"""No name that a template could spell."""
_NONCHARACTERS = [chr(code) for code in range(0xFDD0, 0xFDF0)]


class TemplateError(Exception):
    """A chat template that cannot be used."""


class RefusedConversation(Exception):  # noqa: N818 # it is the conversation that is refused
    """A chat template that can be used, but not for this conversation."""


@dataclass(frozen=True)
class Drawn:
    """A rendered text."""

    text: str
    tags: tuple[Span, ...]
    """What stands between `{% generation %}` and `{% endgeneration %}`: half-open character ranges, in order."""
    pieces: Sequence[str]
    """What the template wrote bit by bit; joined, they are the text."""


class Program:
    """A compiled chat template."""

    def __init__(self, source: str, day: date, environment: Sandbox | None = None) -> None:
        base = environment or _ENVIRONMENT
        try:
            tree = base.parse(source)
            assigned = [each.name for each in tree.find_all(nodes.Name) if each.ctx != "load"]
            unset = type("_Unset", (_Unset,), {"assigned": frozenset(assigned)})
            compiling = base.overlay(undefined=unset)
            self._template = compiling.from_string(base.counting(tree), {"strftime_now": clock(day)})
        except jinja2.TemplateSyntaxError as error:
            raise TemplateError(
                f"the chat template is broken in line {error.lineno}: {error.message}; correct that line"
            ) from None

    def draw(self, variables: dict[str, Any]) -> Drawn:
        """What the template writes; any exception of any kind where it fails."""
        marks = _Marks("", "")
        pieces = self._pieces(variables, marks)
        text = "".join(pieces)
        if not marks.blocks:
            return Drawn(text, (), pieces)
        if marks.blocks != sum(type(piece) is _Generated for piece in pieces):
            # A tagged block was not written at once, but kept in a variable, or went through a filter.
            return Drawn(text, self._tags_of_kept_blocks(variables, text), pieces)
        tags, place = [], 0
        for piece in pieces:
            if type(piece) is _Generated and piece:
                tags.append((place, place + len(piece)))
            place += len(piece)
        return Drawn(text, _joined(tags), pieces)

    def _pieces(self, variables: dict[str, Any], marks: "_Marks") -> list[str]:
        pieces, written = [], 0
        for piece in self._template.generate({**variables, _MARKS: marks, STEPS: Steps()}):
            written += len(piece)
            if written > MOST_CHARACTERS:
                raise jinja2.TemplateRuntimeError(f"{ENDLESS}: it writes more than {MOST_CHARACTERS:,} characters")
            pieces.append(piece)
        return pieces

    def _tags_of_kept_blocks(self, variables: dict[str, Any], text: str) -> tuple[Span, ...]:
        begin, end = unused_characters(text, 2)
        marked = "".join(self._pieces(variables, _Marks(begin, end)))
        first, *rest = marked.split(begin)
        parts = [each.split(end) for each in rest]
        if marked.replace(begin, "").replace(end, "") != text or end in first or any(len(each) != 2 for each in parts):
            raise jinja2.TemplateRuntimeError("it changes the text between its generation tags")
        tags, place = [], len(first)
        for inside, behind in parts:
            tags.append((place, place + len(inside)))
            place += len(inside) + len(behind)
        return _joined(tags)


def unused_characters(text: str, count: int) -> list[str]:
    """Noncharacters, which no text should hold, and this one does not."""
    unused = [each for each in _NONCHARACTERS if each not in text][:count]
    if len(unused) < count:
        raise RefusedConversation("its texts hold nearly all of the noncharacters U+FDD0 to U+FDEF; remove them")
    return unused


def clock(day: date) -> Callable[[str], str]:
    """`strftime_now` on that day, whatever the machine's time zone is."""
    now = datetime.combine(day, time())
    seconds = str(int(now.replace(tzinfo=UTC).timestamp()))

    def written(form: str) -> str:
        # The C library counts its seconds from the machine's own midnight.
        return now.strftime(_SECONDS.sub(lambda found: found[1] + seconds, form))

    return written


def failure(error: Exception) -> str:
    """A template's failure in words, with its line where Jinja knows it."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename in ("<template>", "<unknown>"):
            line = trace.tb_lineno
        trace = trace.tb_next
    words = str(error) or type(error).__name__
    return words if line is None else f"{words} (line {line})"


def environment(base: type[Sandbox] = Sandbox) -> Sandbox:
    """The conventions that chat templates are written for; no HTML is made here, so nothing is escaped."""
    made = base(trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, loopcontrols])
    made.filters["tojson"] = _to_json
    made.globals["raise_exception"] = _raise_exception
    return made


class _GenerationTag(Extension):
    """`{% generation %}` … `{% endgeneration %}`: what the model is to write itself; the text is the same without."""

    tags = {"generation"}  # noqa: RUF012 # jinja2 declares it so

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        # A call block, as in transformers: what is set inside does not show outside.
        return nodes.CallBlock(self.call_method("_mark", [nodes.ContextReference()]), [], [], body).set_lineno(line)

    def _mark(self, context: Context, caller: Callable[[], str]) -> str:
        marks: _Marks = context[_MARKS]
        marks.depth += 1
        inside = caller()
        marks.depth -= 1
        if marks.depth:  # the outer block holds it
            return inside
        marks.blocks += 1
        return f"{marks.begin}{inside}{marks.end}" if marks.begin else _Generated(inside)


@dataclass
class _Marks:
    begin: str
    end: str
    depth: int = 0
    blocks: int = 0


class _Generated(str):
    """A whole tagged block, as long as nobody joins or changes it."""

    __slots__ = ()


class _Unset(jinja2.Undefined):
    """A variable without a value. Templates ask whether there is one, and write nothing where there is none.

    But a name to write that the template never sets is misspelt.
    """

    __slots__ = ()
    assigned: frozenset[str] = frozenset()

    def __str__(self) -> str:
        if self._undefined_obj is missing and self._undefined_name not in self.assigned:
            self._fail_with_undefined_error()
        return ""


def _joined(tags: Iterable[Span]) -> tuple[Span, ...]:
    joined: list[Span] = []
    for begin, end in tags:
        if joined and joined[-1][1] == begin:
            joined[-1] = (joined[-1][0], end)
        elif begin < end:
            joined.append((begin, end))
    return tuple(joined)


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | str | None = None, **options: Any) -> str:
    if indent is not None and (indent if isinstance(indent, int) else len(indent)) > _WIDEST_INDENT:
        raise jinja2.TemplateRuntimeError(f"{ENDLESS}: 'tojson' indents by more than {_WIDEST_INDENT}")
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


_ENVIRONMENT = environment()
