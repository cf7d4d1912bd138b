"""Runs figures one after the other, writes each as soon as it is measured, and prints them side by side."""

import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.terminal import PIPE_COLUMNS
from tests.speed import ledger
from tests.speed.figure import CheckError, Figure, select

DONE, FAILED, BAD_USAGE = 0, 1, 2


def run(figures: Sequence[Figure], prefix: str, path: Path) -> int:
    """Measure the figures whose name begins with a prefix, into the file; gives the exit code."""
    chosen = select(figures, prefix)
    if not chosen:
        return _refuse(f"no figure begins with {prefix!r}; there are {', '.join(_names(figures))}")
    try:
        old = ledger.read(path)
    except ledger.LedgerError as error:
        return _refuse(str(error))
    known = _names(figures)
    new: list[ledger.Record] = []
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=path.parent, ignore_cleanup_errors=True) as scratch:
        for number, figure in enumerate(chosen, start=1):
            record = _measure(figure, Path(scratch))
            new += [record] if record is not None else []
            ledger.write(path, ledger.merge(old, new, attempted=_names(chosen[:number]), known=known))
    show(new)
    return DONE if len(new) == len(chosen) else FAILED


def _names(figures: Sequence[Figure]) -> list[str]:
    return [each.name for each in figures]


def _refuse(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return BAD_USAGE


def _measure(figure: Figure, scratch: Path) -> ledger.Record | None:
    """The figure's record; none, with words on standard error, where its check or anything else failed."""
    print(f"measuring {figure.name} …", file=sys.stderr, flush=True)
    try:
        return ledger.record(figure, figure.measure(scratch))
    except CheckError as error:
        print(f"error: {figure.name}: {error}", file=sys.stderr)
    except Exception:
        print(f"error: {figure.name} broke:\n{traceback.format_exc()}", file=sys.stderr)
    return None


def show(records: Sequence[ledger.Record]) -> None:
    """Print a row a figure, and the machine below."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPE_COLUMNS)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("figure", "ours", "peer", "unit", "ratio", "against", "checked"):
        table.add_column(column, justify="right" if column in ("ours", "peer", "ratio") else "left", overflow="fold")
    for each in records:
        numbers = f"{each.ours:,.4g}", f"{each.peer:,.4g}", each.unit, f"{each.ratio:.2f}"
        table.add_row(*map(Text, (each.name, *numbers, each.peer_name, each.checked)))
    console.print(table)
    machine = ledger.this_machine()
    console.print(f"{machine.cpu}, {machine.cores} cores, {machine.memory_gib} GiB", style="dim", markup=False)
