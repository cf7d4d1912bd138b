"""`fettle plan`."""

import argparse

from flows import terminal
from flows.cli import BAD_USAGE, DONE
from flows.forecast import Forecast
from flows.forecast_shown import show_forecast
from flows.planning import Step, foretell
from flows.recipe import find_inputs, load_recipe
from tasks.artifacts.store import Store


def plan(options: argparse.Namespace) -> int:
    """Tell what a run would do."""
    recipe = load_recipe(options.recipe, options.set)
    store = Store(options.store)
    store.probe()
    steps = foretell(recipe, find_inputs(recipe, to_run=False), store, exact=options.exact)
    (training,) = (step.training for step in steps if step.training is not None)
    if options.json:
        terminal.answer([step.model_dump() for step in steps])
        return _budget_code(training)
    terminal.show_table([_plan_row(step) for step in steps])
    for step in steps:
        for warning in step.warnings:
            terminal.console.print(f"warning  {step.verb}: {warning}", style="yellow", markup=False)
    show_forecast(training, recipe.training)
    if training.refused:
        terminal.errors.print(f"refused: training would take {training.over_budget}", markup=False)
    return _budget_code(training)


def _budget_code(training: Forecast) -> int:
    return BAD_USAGE if training.refused else DONE


def _plan_row(step: Step) -> dict[str, object]:
    status = "computed now" if step.done_now else step.status
    last = f"{step.seconds:.1f} s" if step.seconds is not None else ""
    rows = f"{step.counts.read:,} → {step.counts.kept:,}" if step.counts else ""
    return {"stage": step.verb, "status": status, "took": last, "rows": rows, "why": "; ".join(step.why)}
