"""Chat templates run on symbolic texts: the parts of what they write, and what they took for granted."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import EvalContext
from jinja2.parser import Parser
from jinja2.runtime import Context, Macro, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from tasks.algorithms.chat.symbolic_text import Looked, Part, SymbolicLength, SymbolicText, joined, parts_of

_KNOWN = (str, int, float, type(None), Undefined, Context, EvalContext, jinja2.Environment)
_SAFE_FILTERS = frozenset(
    ("string", "default", "d", "list", "first", "last", "reverse", "items", "selectattr", "rejectattr", "map")
)
"""They pass on what they are given, or ask it in ways that a symbolic text answers."""
_SAFE_TESTS = frozenset(("defined", "undefined", "none", "true", "false", "==", "eq", "equalto", "!=", "ne", "in"))
_TYPE_TESTS = frozenset(("string", "mapping", "iterable", "sequence", "number", "integer", "float", "boolean"))

_SURROUNDINGS = frozenset(("_loop_vars", "_block_vars"))
"""What Jinja tells with every call, for functions that ask for it."""


class SymbolicTemplate:
    """A template, ready to be run on symbolic texts."""

    def __init__(self, source: str, functions: Mapping[str, Any]) -> None:
        environment = _Environment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
        environment.globals.update(functions)
        tree = _Traceable().visit(environment.parse(source))
        self._template = environment.from_string(tree)

    def parts(self, messages: list[dict[str, Any]], **known: Any) -> tuple[Part, ...]:
        """What it writes, under the conditions that its texts collect; an exception of any kind if that is not sure."""
        return parts_of(self._template.render(messages=messages, tools=None, **known))


class _Environment(ImmutableSandboxedEnvironment):
    """Knows of every place where Python would read the characters of a text without asking it."""

    concat = staticmethod(joined)
    intercepted_binops = frozenset(("%", "*"))

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        filters: dict[str, Any] = dict(self.filters)
        tests: dict[str, Any] = dict(self.tests)
        self.filters = {name: each if name in _SAFE_FILTERS else _blind(each) for name, each in filters.items()}
        self.tests = {name: each if name in _SAFE_TESTS else _blind(each) for name, each in tests.items()}
        self.tests |= {name: _of_type(tests[name]) for name in _TYPE_TESTS}
        self.tests["in"] = _contained
        self.filters |= {
            "length": _length,
            "count": _length,
            "trim": _trim,
            "join": _join,
            "replace": _replace,
            "tojson": _blind(_no_json),
        }
        self.globals["raise_exception"] = _raise_exception

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if _symbolic(left) or _symbolic(right):
            raise Looked(operator)
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        owner = getattr(__obj, "__self__", None)
        if type(owner) is str and getattr(__obj, "__name__", "") == "join":
            return _join(args[0], owner)
        free = isinstance(__obj, Macro) or __obj in (Namespace, dict) or isinstance(owner, SymbolicText)
        given = [value for name, value in kwargs.items() if name not in _SURROUNDINGS]
        if not free and (_symbolic(args) or _symbolic(given)):
            raise Looked("call")
        return super().call(__context, __obj, *args, **kwargs)


class _Generation(Extension):
    """`{% generation %}`: marks only, but what is set inside does not show outside."""

    tags = {"generation"}  # noqa: RUF012 # jinja2 declares it so

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


class _Traceable(NodeTransformer):
    """Writes operators that join or search texts in C as ones that ask the text."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        texts = [nodes.Filter(each, "string", [], [], None, None, lineno=node.lineno) for each in node.nodes]
        return functools.reduce(lambda left, right: nodes.Add(left, right, lineno=node.lineno), texts)  # type: ignore[arg-type,return-value]

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        if all(each.op not in ("in", "notin") for each in node.ops):
            return node
        if len(node.ops) > 1:
            raise Looked("in")
        (asked,) = node.ops
        test = nodes.Test(node.expr, "in", [asked.expr], [], None, None, lineno=node.lineno)
        return test if asked.op == "in" else nodes.Not(test, lineno=node.lineno)

    def visit_ScopedEvalContextModifier(self, node: nodes.Node) -> NoReturn:  # noqa: ARG002, N802
        raise Looked("autoescape")


def _symbolic(value: Any) -> bool:
    """Whether a symbolic text is in there, or may be."""
    if isinstance(value, SymbolicText):
        return True
    if isinstance(value, list | tuple):
        return any(map(_symbolic, value))
    if isinstance(value, dict):
        return any(map(_symbolic, value.values()))
    return not isinstance(value, _KNOWN)


def _blind(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if _symbolic(args) or _symbolic(kwargs):
            raise Looked(getattr(function, "__name__", "filter"))
        return function(*args, **kwargs)

    return guarded


def _of_type(test: Callable[..., Any]) -> Callable[..., Any]:
    def asked(value: Any) -> Any:
        return test("text" if isinstance(value, SymbolicText) else value)

    return asked


def _contained(value: Any, held: Any) -> bool:
    if isinstance(value, SymbolicText) and isinstance(held, str) and value is not held:
        raise Looked("in")
    return value is held or value in held


def _length(value: Any) -> Any:
    return SymbolicLength() if isinstance(value, SymbolicText) else len(value)


def _trim(value: Any, chars: Any = None) -> str:
    if isinstance(chars, SymbolicText):
        raise Looked("trim")
    return (value if isinstance(value, str) else str(value)).strip(chars)


def _join(value: Any, d: str = "") -> str:
    texts = [each if isinstance(each, str) else str(each) for each in value]
    return joined([part for each in texts for part in (d, each)][1:])


def _replace(value: Any, old: Any, new: Any, count: int = -1) -> str:
    if _symbolic((old, new, count)):
        raise Looked("replace")
    return (value if isinstance(value, str) else str(value)).replace(str(old), str(new), count)


def _no_json(*_: Any, **__: Any) -> NoReturn:
    raise Looked("tojson")


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)
