"""`fettle evaluate`."""

import argparse

from flows import terminal
from flows.classification import ClassificationRecipe, load_any
from flows.classifying import weigh
from flows.cli import DONE, REFUSED
from flows.commands.running import score_rows
from flows.errors import RecipeError
from flows.evaluating import evaluate_only
from flows.forecast import require_sound
from tasks.artifacts.store import Store
from tasks.caching import watched_by
from tasks.gate_record import read_gates


def evaluate(options: argparse.Namespace) -> int:
    """Measure and judge a recipe's model, and publish nothing."""
    recipe = load_any(options.recipe, options.set)
    if isinstance(recipe, ClassificationRecipe):
        return _evaluate_classifier(recipe, options)
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
        for line in _judged(Store(options.store), result.judgement):
            terminal.console.print(f"judge    {line}", markup=False)
        terminal.console.print(f"run      {result.run}   (fettle report {result.run})", markup=False)
        if options.until_decided and result.verdict == "pass":
            # A run that looks once would find the case open again.
            told = f"fettle run {options.recipe} --set evaluation.until_decided=true"
            terminal.console.print(f"then     {told}", markup=False)
    return DONE if result.verdict == "pass" else REFUSED


def _evaluate_classifier(recipe: ClassificationRecipe, options: argparse.Namespace) -> int:
    if options.until_decided:
        raise RecipeError("--until-decided draws more items of benchmarks; a classifier is measured on all test rows")
    options.ready()
    with terminal.Board(quiet=options.json) as board, watched_by(board):
        weighed = weigh(recipe, options.store)
    store = Store(options.store)
    gates = read_gates(store, weighed.evaluated.address)
    if options.json:
        told = {"run": weighed.run, "evaluation": weighed.evaluated.address}
        terminal.answer({**told, "verdict": gates.verdict, "reason": gates.reason})
    else:
        terminal.console.print()
        terminal.show_table(score_rows(store, weighed.evaluated.address))
        style = "green" if gates.verdict == "pass" else "red"
        terminal.console.print(f"\ngate     [{style}]{gates.verdict}[/]  ", end="")
        terminal.console.print(gates.reason, markup=False)
        terminal.console.print(f"run      {weighed.run}   (fettle report {weighed.run})", markup=False)
    return DONE if gates.verdict == "pass" else REFUSED


def _judged(store: Store, judgement: str | None) -> list[str]:
    """What the judge said, a sentence each; why nothing may be read out of it where it is void."""
    if judgement is None:
        return []
    facts = store.manifest(judgement).facts
    if facts["void"]:
        return [f"void: {reason}" for reason in facts["void"]]
    return [
        f"{each['model']} wins {each['rate']:.0%} ({each['low']:.0%} to {each['high']:.0%}) against "
        f"{each['opponent']}, on {each['prompts']} prompts"
        for each in facts["comparisons"]
    ]
