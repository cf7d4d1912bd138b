"""`fettle join`."""

import argparse

from flows import terminal
from flows.cli import DONE
from flows.joining import take_part_in
from flows.recipe import load_recipe
from tasks.artifacts.store import Store


def join(options: argparse.Namespace) -> int:
    """Lend this machine to a training that `fettle run` does on another one."""
    recipe = load_recipe(options.recipe, options.set)
    trained = take_part_in(recipe, Store(options.store), options.node_rank, _line)
    if options.json:
        terminal.answer({"training": trained})
    else:
        terminal.console.print(f"trained  {trained}", markup=False)
    return DONE


def _line(text: str) -> None:
    terminal.errors.print(text, markup=False)
