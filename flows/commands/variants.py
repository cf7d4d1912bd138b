"""`fettle run --sweep`: one recipe with several values of a field, side by side; what they share is computed once."""

import argparse
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from flows import terminal
from flows.classification import ClassificationRecipe, load_any
from flows.classifying import weigh
from flows.cli import DONE, FAILED
from flows.errors import RecipeError
from flows.evaluating import evaluate_only
from flows.forecast import require_sound
from flows.recipe import Recipe
from tasks.artifacts import runs
from tasks.artifacts.store import Store
from tasks.caching import watched_by
from tasks.gate_record import read_gates

VALIDATION = "validation macro-F1"


class Variant(NamedTuple):
    """A recipe with one value of each field that is swept."""

    settings: tuple[str, ...]
    recipe: Recipe | ClassificationRecipe


def sweep(options: argparse.Namespace) -> int:
    """Measure every variant and show them in one table; publish none. One that fails does not keep the others back."""
    variants = variants_of(options)
    options.ready()
    rows, failures = [], 0
    with terminal.Board(quiet=options.json) as board, watched_by(board):
        for variant in variants:
            if not options.json:
                terminal.errors.print(f"\n{' '.join(variant.settings)}", markup=False, style="bold")
            try:
                rows.append(_named(variant) | _measured(variant.recipe, options.store))
            except Exception as error:  # noqa: BLE001 # the others go on, and the table tells of it
                failures += 1
                rows.append(_named(variant) | {"verdict": f"failed: {_first_line(error)}"})
    best = best_of(variants, rows)
    if options.json:
        terminal.answer({"variants": rows, "best": list(best.settings) if best else None})
    else:
        terminal.console.print()
        terminal.show_table(rows)
        if best is not None:
            chosen = " ".join(f"--set {setting}" for setting in best.settings)
            terminal.console.print(f"\nbest     {' '.join(best.settings)}, by {VALIDATION}", markup=False)
            told = " ".join(f"--set {setting}" for setting in options.set)
            terminal.console.print(
                f"then     fettle run {options.recipe} {told}{' ' if told else ''}{chosen}", markup=False
            )
    return FAILED if failures else DONE


def variants_of(options: argparse.Namespace) -> list[Variant]:
    """Every combination of the swept values, each checked before the first is run."""
    swept = []
    for given in options.sweep:
        field, equals, values = given.partition("=")
        found = [value.strip() for value in values.split(",") if value.strip()]
        if not field or not equals or not found:
            raise RecipeError(f"--sweep {given}: give it as field.field=value,value")
        swept.append([f"{field}={value}" for value in dict.fromkeys(found)])
    variants = []
    for settings in itertools.product(*swept):
        recipe = load_any(options.recipe, [*options.set, *settings])
        if isinstance(recipe, Recipe):
            require_sound(recipe)
        variants.append(Variant(settings, recipe))
    return variants


def best_of(variants: Sequence[Variant], rows: Sequence[dict[str, Any]]) -> Variant | None:
    """The variant that the validation rows like best: to choose by the test rows would flatter it."""
    known = [(row[VALIDATION], variant) for variant, row in zip(variants, rows, strict=True) if VALIDATION in row]
    return max(known, key=lambda each: float(each[0]))[1] if len(known) > 1 else None


def _named(variant: Variant) -> dict[str, Any]:
    return dict(setting.split("=", 1) for setting in variant.settings)


def _measured(recipe: Recipe | ClassificationRecipe, uri: str) -> dict[str, Any]:
    store = Store(uri)
    if isinstance(recipe, Recipe):
        run, evaluation = (told := evaluate_only(recipe, uri)).run, told.evaluation
        columns = {
            score["name"]: round(score["tuned"], 3)
            for score in read_gates(store, evaluation).scores
            if score["against"] == "base" and score["group"] in ("benchmark", "loss", "macro")
        }
    else:
        weighed = weigh(recipe, uri)
        run, evaluation = weighed.run, weighed.evaluated.address
        columns = _classifier_columns(store, evaluation)
    gates = read_gates(store, evaluation)
    return columns | {"verdict": gates.verdict, "trained": _seconds(store, run), "run": run}


def _classifier_columns(store: Store, evaluation: str) -> dict[str, Any]:
    found = {
        (row["model"], row["split"], row["metric"]): row["value"]
        for row in store.rows(store.manifest(evaluation).artifact, "models")
    }
    columns = {
        VALIDATION: found["tuned", "validation", "macro_f1"],
        "macro-F1": found["tuned", "test", "macro_f1"],
        "accuracy": found["tuned", "test", "accuracy"],
        "TF-IDF macro-F1": found["tfidf", "test", "macro_f1"],
    }
    return {name: round(100 * value, 1) for name, value in columns.items()}


def _seconds(store: Store, run_id: str) -> str:
    run = runs.find(store, run_id)
    address = next((stage.address for stage in run.stages if stage.verb == "train"), None) if run else None
    seconds = store.manifest(address).provenance.get("seconds") if address else None
    return f"{seconds:.0f} s" if seconds is not None else ""


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
