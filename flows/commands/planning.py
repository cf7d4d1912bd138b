"""`fettle plan`."""

import argparse

from flows import terminal
from flows.classification import ClassificationRecipe, find_classification_inputs, load_any
from flows.classifier_advice import advise
from flows.classifying import foretell_classifier
from flows.cli import BAD_USAGE, DONE
from flows.forecast import Forecast
from flows.forecast_shown import show_forecast
from flows.planning import Step, foretell
from flows.recipe import find_inputs
from tasks.artifacts.store import Store


def plan(options: argparse.Namespace) -> int:
    """Tell what a run would do."""
    recipe = load_any(options.recipe, options.set)
    store = Store(options.store)
    store.probe()
    if isinstance(recipe, ClassificationRecipe):
        return _plan_classifier(recipe, store, options)
    steps = foretell(recipe, find_inputs(recipe, to_run=False), store, exact=options.exact)
    (training,) = (step.training for step in steps if step.training is not None)
    if options.json:
        terminal.answer([step.model_dump() for step in steps])
        return _budget_code(training)
    _show_steps(steps)
    show_forecast(training, recipe.training)
    if training.refused:
        terminal.errors.print(f"refused: training would take {training.over_budget}", markup=False)
    return _budget_code(training)


def _plan_classifier(recipe: ClassificationRecipe, store: Store, options: argparse.Namespace) -> int:
    inputs = find_classification_inputs(recipe, to_run=False)
    steps = foretell_classifier(recipe, inputs, store, exact=options.exact)
    advice = advise(recipe, store, steps)
    if options.json:
        terminal.answer([step.model_dump() for step in steps])
        return DONE
    _show_steps(steps)
    for sentence in advice:
        terminal.console.print(f"advice   {sentence}", markup=False)
    return DONE


def _show_steps(steps: list[Step]) -> None:
    terminal.show_table([_plan_row(step) for step in steps])
    for step in steps:
        for warning in step.warnings:
            terminal.console.print(f"warning  {step.verb}: {warning}", style="yellow", markup=False)


def _budget_code(training: Forecast) -> int:
    return BAD_USAGE if training.refused else DONE


def _plan_row(step: Step) -> dict[str, object]:
    status = "computed now" if step.done_now else step.status
    last = f"{step.seconds:.1f} s" if step.seconds is not None else ""
    rows = f"{step.counts.read:,} → {step.counts.kept:,}" if step.counts else ""
    return {"stage": step.verb, "status": status, "took": last, "rows": rows, "why": "; ".join(step.why)}
