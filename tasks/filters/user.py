"""A user's own filter, by dotted name; what its code says is part of the stage's identity."""

import ast
import importlib
import importlib.util
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
from pydantic import Field, field_validator

from tasks.artifacts.fingerprint import digest_pieces
from tasks.config import Config
from tasks.filters.row import Columns, Reading, Verdict

_DOTTED_NAME = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*[.:][^\W\d]\w*")
_SHOWN_CHARACTERS = 60
_read_when_loaded: dict[str, bytes] = {}
"""The source of each module of a user's filter, as it was when Python last ran it."""


class FilterError(ValueError):
    """A user's filter that cannot be loaded, fails on a row, or answers with what is no verdict."""

    place: int | None = None
    """Where in its batch the row stands on which it failed."""


class User(Config):
    """A filter of one's own: a function of a row, or a class whose objects are called with one.

    It receives a `Reading` (prompt, answer, prompt_tokens, answer_tokens, messages) and returns none to keep the row,
    a reason to drop it, or a reason and its evidence. Dropped rows are counted by reason, so figures belong into the
    evidence.
    """

    enabled: bool = True
    """Whether the filter runs."""
    name: str
    """Where it is: `mypackage.filters:Polite` or `mypackage.filters.Polite`, installed or in the working folder."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Named arguments: a function gets them with each row, a class when its object is made."""

    @field_validator("name")
    @classmethod
    def _dotted(cls, name: str) -> str:
        if not _DOTTED_NAME.fullmatch(name):
            raise ValueError(f"{name!r} names no function or class in a module; write it as 'mypackage.filters:Polite'")
        return name

    def identity(self) -> dict[str, Any]:
        """As of every configuration, and the digest of the code: an edited filter judges anew."""
        if not self.enabled:
            return super().identity()
        module, _ = _load(self.name)
        return {**super().identity(), "code": digest_pieces(_sources(module).values())}

    def suspects(self, rows: Columns) -> pl.Series:
        """Every row: what the filter looks for is not known here."""
        return pl.repeat(value=True, n=len(rows.prompt), dtype=pl.Boolean, eager=True)

    def __call__(self, row: Reading) -> Verdict | None:
        """A verdict for a row to drop. Raises `FilterError`, naming the filter and the row's beginning."""
        judge = _judge(self.name, json.dumps(self.settings, sort_keys=True))
        try:
            answer = judge(row)
        except Exception as error:
            raise FilterError(f"filter {self.name!r} failed{_on(row)}: {type(error).__name__}: {error}") from error
        match answer:
            case None:
                return None
            case str(reason) | (str(reason),) if reason.strip():
                return Verdict(reason, "")
            case (str(reason), str(evidence)) if reason.strip():
                return Verdict(reason, evidence)
        raise FilterError(
            f"filter {self.name!r} gave {answer!r} of type {type(answer).__name__}{_on(row)}; "
            "return None to keep a row, a reason to drop it, or a pair of a reason and its evidence, both text"
        )


def _on(row: Reading) -> str:
    return f" on the row that begins {row.prompt[:_SHOWN_CHARACTERS]!r}"


@cache
def _judge(name: str, settings: str) -> Callable[[Reading], Any]:
    _, found = _load(name)
    given = json.loads(settings)
    try:
        if isinstance(found, type):
            made = found(**given)
        else:
            inspect.signature(found).bind(None, **given)
            made = partial(found, **given)
    except TypeError as error:
        raise FilterError(
            f"filter {name!r} does not take its settings {given}: {error}; it takes {inspect.signature(found)}"
        ) from error
    if not callable(made):
        raise FilterError(f"filter {name!r} makes objects that cannot be called with a row; give them a __call__")
    judge: Callable[[Reading], Any] = made
    return judge


def _load(name: str) -> tuple[ModuleType, Any]:
    """The module and the function or class in it, as their files say now."""
    place, _, attribute = name.replace(":", ".").rpartition(".")
    module = _imported(name, place)
    changed = False
    for each, source in reversed(_sources(module).items()):
        changed = changed or _read_when_loaded.get(each, source) != source
        if changed:
            importlib.reload(sys.modules[each])
        _read_when_loaded[each] = source
    if changed:
        _judge.cache_clear()
    found = getattr(module, attribute, None)
    if not callable(found):
        there = [key for key, value in vars(module).items() if callable(value) and value.__module__ == place]
        raise FilterError(
            f"filter {name!r}: {attribute!r} is no function or class of {module.__file__}; it has {sorted(there)}"
        )
    return module, found


def _imported(name: str, place: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        # A command's folder is that of the interpreter, not the one in which the user stands.
        sys.path.append(here)
    importlib.invalidate_caches()
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{place}.".startswith(f"{error.name}."):
            raise FilterError(f"filter {name!r}: {place!r} imports {error.name!r}, which is not installed") from error
        raise FilterError(
            f"filter {name!r}: no module {error.name!r}; looked in {here} and the installed packages. "
            "Install it, or start from the folder that holds it"
        ) from error
    except Exception as error:
        raise FilterError(f"filter {name!r}: {place!r} fails when imported: {type(error).__name__}: {error}") from error


def _sources(module: ModuleType) -> dict[str, bytes]:
    """The bytes of a module's file and of those that it imports from the same package or folder, by module name."""
    found: dict[str, bytes] = {}
    waiting = [module]
    while waiting:
        current = waiting.pop()
        if current.__name__ in found:
            continue
        found[current.__name__] = _source(current)
        waiting += [each for each in _imports(current, found[current.__name__]) if _is_beside(each, module)]
    return found


def _source(module: ModuleType) -> bytes:
    try:
        return Path(str(module.__file__)).read_bytes()
    except OSError as error:
        raise FilterError(
            f"the source of {module.__name__!r} cannot be read ({error}), so that a changed filter could not be told "
            "from an unchanged one; keep the filter in a file"
        ) from error


def _imports(module: ModuleType, source: bytes) -> Iterator[ModuleType]:
    if not str(module.__file__).endswith(".py"):
        return
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), module.__package__ or "")
            names = [base, *(f"{base}.{each.name}" for each in node.names)]
        yield from (sys.modules[each] for each in names if each in sys.modules)


def _is_beside(other: ModuleType, module: ModuleType) -> bool:
    if getattr(other, "__file__", None) is None:
        return False
    top, other_top = (each.__name__.partition(".")[0] for each in (module, other))
    folder = Path(str(module.__file__)).parent
    return top == other_top or ("." not in module.__name__ and Path(str(other.__file__)).parent == folder)
