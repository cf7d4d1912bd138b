"""`fettle run` and `fettle demo`."""

import argparse
import json

from flows import terminal
from flows.classification import ClassificationRecipe, load_any
from flows.classifying import classify
from flows.cli import DONE, REFUSED
from flows.commands.variants import sweep
from flows.errors import RefusedError, Result
from flows.finetune import finetune
from flows.forecast import require_sound
from flows.recipe import Recipe
from tasks.artifacts import registry
from tasks.artifacts.store import Store
from tasks.caching import watched_by
from tasks.gate_record import GATES


def run(options: argparse.Namespace) -> int:
    """Run a recipe; a refusal by the gate is a result too, with its own exit code."""
    if options.sweep:
        return sweep(options)
    return tell(load_any(options.recipe, options.set), options)


def tell(recipe: Recipe | ClassificationRecipe, options: argparse.Namespace) -> int:
    """Run a recipe of either kind, and print what it came to."""
    result, refusal = execute(recipe, options)
    store = Store(options.store)
    if options.json:
        terminal.answer({**result.model_dump(), "refused": refusal, "report": report_location(store, result)})
    else:
        terminal.console.print()
        terminal.show_table(score_rows(store, result.evaluation))
        terminal.console.print()
        print_outcome(recipe, store, result, refusal)
    return REFUSED if refusal else DONE


def execute(recipe: Recipe | ClassificationRecipe, options: argparse.Namespace) -> tuple[Result, str | None]:
    """Run the pipeline as a flow, with progress; gives the result, and why the gate refused if it did."""
    if isinstance(recipe, Recipe):
        require_sound(recipe)
    options.ready()
    with terminal.Board(quiet=options.json) as board, watched_by(board):
        try:
            if isinstance(recipe, Recipe):
                return finetune(recipe, options.store), None
            return classify(recipe, options.store), None
        except RefusedError as refusal:
            return refusal.result, str(refusal)


def score_rows(store: Store, evaluation: str) -> list[dict[str, object]]:
    """Base, or the model in production, against tuned; a row a measure."""
    gates = json.loads(store.read_file(evaluation, GATES))
    return [
        {
            "measure": score["name"] + ("" if score["against"] == "base" else f" ({score['against']})"),
            "base": score["base"],
            "tuned": score["tuned"],
            "change": score["difference"],
            "unit": score["unit"],
            "items": score["items"],
            "verdict": score["verdict"] or "–",
        }
        for score in gates["scores"]
    ]


def print_outcome(recipe: Recipe | ClassificationRecipe, store: Store, result: Result, refusal: str | None) -> None:
    """The gate's word, and where everything lies."""
    style = "green" if refusal is None else "red"
    terminal.console.print(f"gate     [{style}]{result.verdict}[/]  ", end="")
    terminal.console.print(result.reason, markup=False)
    where = f"{store.uri}/{registry.version_folder(recipe.name, result.version)}" if result.version else "nothing"
    pointing = f"   ({', '.join(result.aliases)})" if result.aliases else ""
    terminal.console.print(f"model    {where}{pointing}", markup=False)
    for remark in result.remarks:
        terminal.console.print(f"         {remark}", markup=False)
    terminal.console.print(f"report   {report_location(store, result)}", markup=False)
    terminal.console.print(f"run      {result.run}   (fettle show {result.run})", markup=False)


def report_location(store: Store, result: Result) -> str:
    """Where the report page lies."""
    manifest = store.manifest(result.publication)
    return f"{store.uri}/{result.publication}/{manifest.files['report.html'].path}"


def demo(options: argparse.Namespace) -> int:
    """Make the demo's data, run its recipe, and tell the story."""
    from flows.demo import story

    return story.tell(options)
