"""Loops over arrays, compiled when they are first called and kept compiled on disk."""

from collections.abc import Callable
from typing import TypeVar, cast

import numba

Loop = TypeVar("Loop", bound=Callable[..., object])


def compiled(loop: Loop) -> Loop:
    """A function of plain numbers and arrays as machine code, which lets other threads run meanwhile."""
    # Written types: the library's decorator has none.
    return cast(Loop, numba.njit(cache=True, nogil=True, boundscheck=False)(loop))
