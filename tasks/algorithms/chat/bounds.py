"""A sandbox in which a chat template comes to an end: loops are counted, and no value grows out of all proportion."""

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import jinja2
from jinja2 import nodes, pass_context, pass_eval_context
from jinja2.nodes import EvalContext
from jinja2.runtime import Context, markup_join, str_join
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

Value = TypeVar("Value")

ENDLESS = "it does not come to an end"
MOST_CHARACTERS = 50_000_000
"""What a template may write for one conversation; more is a template that does not end."""
MOST_STEPS = 10_000_000
"""Rounds of loops, and calls of macros by their weight, for one conversation.

A template that looks at all messages for each message takes as many for 3,000 messages."""
STEPS = "steps of loops and macros"
"""The variable that counts them; no name that a template could spell."""

_STEPS_OF_A_CALL = 20
"""It takes as long as so many empty rounds of a loop."""
_STEPS_OF_AN_ITERATOR = 5
_MOST_BITS = 100_000
_CHARACTERS_PER_ELEMENT = 64
"""What an element of a list weighs, which may be written out."""
_WIDE = re.compile(r"\d{8,}")
"""A width in a format, beyond all proportion."""
_COUNTED, _COUNTED_CALL, _BOUNDED, _TOGETHER, _MODULO = (
    "counted loop",
    "counted call",
    "bounded value",
    "joined texts",
    "modulo",
)


class Steps:
    """How far a rendering has come."""

    def __init__(self) -> None:
        self.made = 0

    def add(self, more: int) -> None:
        self.made += more
        if self.made > MOST_STEPS:
            raise jinja2.TemplateRuntimeError(f"{ENDLESS}: it takes more than {MOST_STEPS:,} rounds of loops")

    def each(self, items: Iterable[Value]) -> Iterator[Value]:
        for item in items:
            self.add(_STEPS_OF_AN_ITERATOR)
            yield item


class Sandbox(ImmutableSandboxedEnvironment):
    """Refuses to make values that are out of all proportion, when a template is compiled and when it is rendered."""

    intercepted_binops = frozenset(["*", "**"])

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.filters |= {
            _COUNTED: _counted,
            _COUNTED_CALL: _counted_call,
            _BOUNDED: _bounded,
            _TOGETHER: _together,
            _MODULO: _modulo,
        }
        self.filters |= {name: _watched(name, self.filters[name], size) for name, size in _FILTERS.items()}

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator in ("*", "**") and isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length() * right if operator == "**" else left.bit_length() + right.bit_length()
            if bits > _MOST_BITS:
                raise jinja2.TemplateRuntimeError(
                    f"{ENDLESS}: {operator!r} makes a number of more than {_MOST_BITS:,} bits"
                )
        _check(_size(operator, left, right), repr(operator))
        return super().call_binop(context, operator, left, right)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """The methods of texts that make longer ones, watched."""
        name = getattr(value, "__name__", "")
        text = value.__self__ if name in _METHODS and hasattr(value, "__self__") else None
        if not isinstance(text, str):
            return None
        made: Callable[..., str] = super().wrap_str_format(value) or value
        return _watched(name, made, functools.partial(_METHODS[name], text))

    def counting(self, tree: nodes.Template) -> nodes.Template:
        """The same template, which counts its steps in the variable `STEPS`."""
        made: nodes.Template = _Counting().visit(tree)
        return made


_GROWING = (nodes.Add, nodes.Call, nodes.Filter)
"""What may give a longer text than it was given, and is not watched itself."""


class _Counting(NodeTransformer):
    """Lets loops and macros be counted, and what is joined or kept be measured."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.iter = _filtered(node.iter, _COUNTED)
        if node.recursive:
            node.body.insert(0, _step(node))
        return node

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.body.insert(0, _step(node))
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        first, *rest = node.nodes
        return _filtered(first, _TOGETHER, rest)

    def visit_Mod(self, node: nodes.Mod) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        counted = isinstance(node.left, nodes.Getattr) and node.left.attr in ("index", "index0")
        return node if counted else _filtered(node.left, _MODULO, [node.right])

    def visit_Assign(self, node: nodes.Assign) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        grows = node.node if isinstance(node.node, _GROWING) else next(node.node.find_all(_GROWING), None)
        if grows is not None and not isinstance(node.node, nodes.Compare | nodes.Not | nodes.Test):
            node.node = _filtered(node.node, _BOUNDED)
        return node

    def visit_AssignBlock(self, node: nodes.AssignBlock) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.filter = _filtered(node.filter, _BOUNDED, line=node.lineno)
        return node


def _filtered(
    node: nodes.Node | None, name: str, args: Sequence[nodes.Node] = (), line: int | None = None
) -> nodes.Filter:
    return nodes.Filter(node, name, list(args), [], None, None, lineno=line or (node.lineno if node else None))


def _step(node: nodes.Node) -> nodes.Node:
    return nodes.ExprStmt(
        _filtered(nodes.Const(_STEPS_OF_A_CALL, lineno=node.lineno), _COUNTED_CALL), lineno=node.lineno
    )


@pass_context
def _counted(context: Context, items: Any) -> Any:
    # Templates loop and join all the time, so this is written for speed.
    steps: Steps = context.parent[STEPS]
    try:
        steps.made += len(items)
    except TypeError:
        return steps.each(items) if hasattr(items, "__iter__") else items
    if steps.made > MOST_STEPS:
        steps.add(0)
    return items


@pass_context
def _counted_call(context: Context, number: int) -> None:
    context.parent[STEPS].add(number)


def _bounded(value: Any) -> Any:
    if type(value) is not str or len(value) > MOST_CHARACTERS:
        _check(_weight(value), "'set'")
    return value


def _modulo(left: Any, right: Any) -> Any:
    if isinstance(left, str):
        _check(_format_size(left, *(right if isinstance(right, tuple) else [right])), "'%'")
    return left % right


@pass_eval_context
def _together(surroundings: EvalContext, *values: Any) -> str:
    made = (markup_join if surroundings.autoescape else str_join)(values)
    if len(made) > MOST_CHARACTERS:  # what is joined is no longer itself, so this is not out of all proportion yet
        _check(len(made), "'~'")
    return made


def _check(size: int, maker: str) -> None:
    if size > MOST_CHARACTERS:
        raise jinja2.TemplateRuntimeError(
            f"{ENDLESS}: {maker} makes a value of more than {MOST_CHARACTERS:,} characters"
        )


def _weight(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    return _CHARACTERS_PER_ELEMENT * len(value) if isinstance(value, list | tuple | dict) else 0


def _size(operator: str, left: Any, right: Any) -> int:
    if operator == "+":
        return _weight(left) + _weight(right)
    if operator != "*":
        return 0
    if isinstance(left, int):
        return left * _weight(right)
    return _weight(left) * right if isinstance(right, int) else 0


def _widths(text: Any, *args: Any) -> int:
    return len(str(text)) + max((each for each in args if isinstance(each, int)), default=0)


def _replaced_size(text: Any, old: Any, new: Any, *_: Any) -> int:
    return len(str(text)) + str(text).count(str(old)) * len(str(new))


def _joined_size(between: str, items: Any, *_: Any) -> int:
    if not isinstance(items, list | tuple):
        return 0
    return len(between) * len(items) + sum(len(each) for each in items if isinstance(each, str))


def _joined_filter_size(items: Any, between: str = "", *_: Any) -> int:
    return _joined_size(str(between), items)


def _indented_size(text: str, width: Any = 4, *_: Any) -> int:
    lines = str(text).count("\n") + 1
    return len(text) + lines * (width if isinstance(width, int) else len(width))


def _tabs_size(text: str, tab: int = 8) -> int:
    return len(text) + text.count("\t") * tab


def _format_size(text: str, *args: Any) -> int:
    wide = max((int(each) for each in _WIDE.findall(text)), default=0)
    # A width may be an argument of its own.
    if "*" in text or ":{" in text:
        wide = max(wide, _widths("", *args))
    return len(text) + wide + sum(len(each) for each in args if isinstance(each, str))


_METHODS: dict[str, Callable[..., int]] = {
    **dict.fromkeys(("ljust", "rjust", "center", "zfill"), _widths),
    **dict.fromkeys(("format", "format_map"), _format_size),
    "expandtabs": _tabs_size,
    "join": _joined_size,
    "replace": _replaced_size,
}

_FILTERS: dict[str, Callable[..., int]] = {
    "center": _widths,
    "format": _format_size,
    "indent": _indented_size,
    "join": _joined_filter_size,
    "replace": _replaced_size,
}


def _watched(name: str, function: Callable[..., Any], size: Callable[..., int]) -> Callable[..., Any]:
    """A function that is refused where it would make too much."""

    @functools.wraps(function)
    def bounded(*args: Any, **named: Any) -> Any:
        given = [each for each in args if not isinstance(each, EvalContext)]
        _check(size(*given, *named.values()), repr(name))
        return function(*args, **named)

    return bounded
