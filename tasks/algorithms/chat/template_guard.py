"""A chat template under guard, so that one that never ends, or writes gigabytes, is found on a small conversation."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from types import FrameType
from typing import Any

import jinja2

from tasks.algorithms.chat.bounds import ENDLESS, Sandbox
from tasks.algorithms.chat.sandbox import Drawn, Program, environment

_MOST_STEPS = 1_000_000
"""Lines of Python that a template may run through for a small conversation; real ones need some thousand."""


class GuardedProgram(Program):
    """A chat template that fails where it runs for too long or makes too much; much slower than the bare one."""

    def __init__(self, source: str, day: date) -> None:
        super().__init__(source, day, environment(_Watched))

    def draw(self, variables: dict[str, Any]) -> Drawn:
        with _steps_counted():
            return super().draw(variables)


@contextmanager
def _steps_counted() -> Iterator[None]:
    steps, before = 0, sys.gettrace()

    def count(_frame: FrameType, _event: str, _value: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps > _MOST_STEPS:
            raise jinja2.TemplateRuntimeError(f"{ENDLESS}: more than {_MOST_STEPS:,} steps for a short conversation")
        return count

    sys.settrace(count)
    try:
        yield
    finally:
        sys.settrace(before)


class _Watched(Sandbox):
    """Looks at sums as well, which templates write far too often to look at each in every row."""

    intercepted_binops = frozenset([*Sandbox.intercepted_binops, "+"])
