"""What a figure is: a function that measures our side and a peer's in one run, and proves them equal.

To add one, decorate a function in a module of this folder with `@figure("group.name")`, and name the module in
`tests.speed.__main__.MODULES` if it is new.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType


class CheckError(Exception):
    """What a figure compares is not equal, so its numbers mean nothing."""


@dataclass(frozen=True)
class Measurement:
    """Both sides of a figure, in one unit."""

    ours: float
    peer: float
    peer_name: str
    unit: str
    checked: str
    """The equality that was verified in this very run."""
    more_is_better: bool = False

    @property
    def ratio(self) -> float:
        """Above 1 where we are ahead of the peer."""
        return self.ours / self.peer if self.more_is_better else self.peer / self.ours


@dataclass(frozen=True)
class Figure:
    """A named measurement; it is given a folder that all figures of one run share, gone afterwards."""

    name: str
    measure: Callable[[Path], Measurement]


def figure(name: str) -> Callable[[Callable[[Path], Measurement]], Figure]:
    """Make a figure of a function."""
    return lambda measure: Figure(name, measure)


def figures_of(modules: Iterable[ModuleType]) -> list[Figure]:
    """The figures that modules define, in the order of their writing; raises where two share a name."""
    found = [value for module in modules for value in vars(module).values() if isinstance(value, Figure)]
    names = [each.name for each in found]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"two figures are named {twice[0]}; name one of them anew")
    return found


def select(figures: Iterable[Figure], prefix: str) -> list[Figure]:
    """The figures whose name begins with a prefix; an empty one selects all."""
    return [each for each in figures if each.name.startswith(prefix)]


def require(is_so: bool, otherwise: str) -> None:
    """Raise `CheckError` in the given words unless it is so."""
    if not is_so:
        raise CheckError(otherwise)
