"""What a person sees in the terminal: bars while stages run, one line for each that ended, tables and trees."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from tasks.artifacts.lineage import Node
from tasks.artifacts.manifest import Artifact, Counts, Identity

if TYPE_CHECKING:  # Prefect takes seconds to import
    from tasks.caching import Stage

PIPE_COLUMNS = 180
"""Width of tables that go to a file or another program."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        # Rich would end the process; the command line knows better what a closed pipe means.
        raise BrokenPipeError


def _console(*, stderr: bool) -> Console:
    made = _Console(stderr=stderr, highlight=False, soft_wrap=True)
    return made if made.is_terminal else _Console(stderr=stderr, highlight=False, soft_wrap=True, width=PIPE_COLUMNS)


console = _console(stderr=False)
errors = _console(stderr=True)

_SECONDS_BETWEEN_LINES = 10.0


class _Rate(ProgressColumn):
    """How fast it goes, once that is known."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        return Text(f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.1f}/s", style="dim")


class Board:
    """Shows a run's stages on standard error: a live bar on a terminal, plain lines elsewhere."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._live = errors.is_terminal and not quiet
        self._quiet = quiet
        self._bar: TaskID | None = None
        self._began = self._last_line = 0.0
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<12}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("[dim]{task.fields[unit]}"),
            _Rate(),
            TimeElapsedColumn(),
            console=errors,
            transient=True,
        )

    def __enter__(self) -> "Board":
        if self._live:
            self._progress.start()
        return self

    def __exit__(self, *_error: object) -> None:
        if self._live:
            self._progress.stop()

    def began(self, stage: "Stage[Any]", _identity: Identity) -> None:
        """Open the stage's bar."""
        self._began = self._last_line = time.monotonic()
        if self._live:
            self._bar = self._progress.add_task(stage.verb, total=None, unit="")

    def moved(self, stage: "Stage[Any]", done: int, total: int | None, unit: str) -> None:
        """Move the bar, or print a line every ten seconds."""
        if self._bar is not None:
            self._progress.update(self._bar, completed=done, total=total, unit=unit)
        elif not self._quiet and not self._live and time.monotonic() - self._last_line > _SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            of = f" of {total:,}" if total else ""
            rate = done / (self._last_line - self._began)
            errors.print(f"  {stage.verb}: {done:,}{of} {unit}, {rate:,.0f} a second", markup=False)

    def ended(self, stage: "Stage[Any]", artifact: Artifact, *, cached: bool, seconds: float) -> None:
        """Close the bar with one line."""
        if self._bar is not None:
            self._progress.remove_task(self._bar)
            self._bar = None
        if self._quiet:
            return
        line = Text()
        line.append(f"  {stage.verb:<12}", style="bold")
        line.append(f"{'cached' if cached else f'{seconds:.1f} s':>8}  ", style="blue" if cached else "green")
        line.append(counts_in_words(artifact.counts))
        errors.print(line)
        for warning in artifact.warnings:
            errors.print(Text(f"  {'':<12}{'warning':>8}  {warning}", style="yellow"))


def answer(value: Any) -> None:
    """A command's result as one line of JSON on standard output."""
    sys.stdout.write(json.dumps(value) + "\n")


def counts_in_words(counts: Counts) -> str:
    """`1,200 read, 1,150 kept; 30 too short, 20 near duplicate`."""
    text = f"{counts.read:,} read, {counts.kept:,} kept"
    reasons = ", ".join(f"{number:,} {reason}" for reason, number in counts.dropped.items())
    return f"{text}; {reasons}" if reasons else text


def show_table(rows: Sequence[Mapping[str, object]], *, title: str | None = None) -> None:
    """Rows as a table, numbers to the right."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="dim")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    for column in columns:
        numeric = all(isinstance(row.get(column), int | float | None) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*[Text(_cell(row.get(column))) for column in columns])
    console.print(table, soft_wrap=False)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def show_tree(node: Node) -> None:
    """A lineage as a tree, from the heir down to the files; what came up before is only named."""
    console.print(_branch(node, set()), soft_wrap=True)


def _branch(node: Node, seen: set[str]) -> Tree:
    label = Text()
    label.append(node.name, style="bold")
    label.append(f"  {node.label}", style="dim")
    if node.counts is not None and node.label not in seen:
        label.append(f"  {counts_in_words(node.counts)}")
    elif node.label in seen and node.parents:
        label.append("  (see above)", style="dim")
    tree = Tree(label)
    if node.label not in seen:
        seen.add(node.label)
        tree.children.extend(_branch(parent, seen) for parent in node.parents)
    return tree
