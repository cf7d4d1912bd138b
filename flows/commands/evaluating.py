"""`fettle evaluate`."""

import argparse

from flows import terminal
from flows.cli import DONE, REFUSED
from flows.commands.running import score_rows
from flows.evaluating import evaluate_only
from flows.forecast import require_sound
from flows.recipe import load_recipe
from tasks.artifacts.store import Store
from tasks.caching import watched_by


def evaluate(options: argparse.Namespace) -> int:
    """Measure and judge a recipe's model, and publish nothing."""
    recipe = load_recipe(options.recipe, options.set)
    if options.until_decided:
        evaluation = recipe.evaluation.model_copy(update={"until_decided": True})
        recipe = recipe.model_copy(update={"evaluation": evaluation})
    require_sound(recipe)
    options.ready()
    with terminal.Board(quiet=options.json) as board, watched_by(board):
        result = evaluate_only(recipe, options.store)
    if options.json:
        terminal.answer(result.model_dump())
    else:
        terminal.console.print()
        terminal.show_table(score_rows(Store(options.store), result.evaluation))
        terminal.console.print()
        style = "green" if result.verdict == "pass" else "red"
        terminal.console.print(f"gate     [{style}]{result.verdict}[/]  ", end="")
        terminal.console.print(result.reason, markup=False)
        terminal.console.print(f"run      {result.run}   (fettle report {result.run})", markup=False)
    return DONE if result.verdict == "pass" else REFUSED
