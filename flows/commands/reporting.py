"""`fettle report`: a run's report anew, with what people rated since, or all runs over time."""

import argparse
from pathlib import Path

import yaml

from flows import terminal
from flows.cli import DONE
from flows.errors import RecipeError
from flows.pipeline import about
from flows.recipe import parse_recipe
from flows.runs_over_time import run_facts
from tasks.artifacts import runs
from tasks.artifacts.store import Store
from tasks.gathering import gather
from tasks.reporting.facts import Facts
from tasks.reporting.over_time import render_over_time
from tasks.reporting.page import render

_TOLD = ("train", "evaluate", "judge")


def report(options: argparse.Namespace) -> int:
    """Write a page, and say where it is."""
    store = Store(options.store)
    if options.over_time:
        found = runs.recent(store, options.run)
        if not found:
            raise RecipeError(f"no runs{f' of {options.run}' if options.run else ''} in {store.uri}")
        path = options.output or Path("runs.html")
        text = render_over_time(run_facts(store, found))
    else:
        run = named(store, options.run)
        path = options.output or Path(f"report-{run.id}.html")
        text = render(_facts(store, run))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RecipeError(f"cannot write {path}: {error.strerror}; name another file with --output") from None
    if options.json:
        terminal.answer({"report": str(path)})
    else:
        terminal.console.print(f"report   {path}", markup=False)
    return DONE


def _facts(store: Store, run: runs.Run) -> Facts:
    made = {stage.verb: store.manifest(stage.address).artifact for stage in run.stages if stage.verb in _TOLD}
    if missing := [verb for verb in ("train", "evaluate") if verb not in made]:
        raise RecipeError(f"run {run.id} did not {missing[0]}, so there is nothing to report: {run.message}")
    recipe = parse_recipe(run.recipe, f"the recipe of {run.id}")
    written = yaml.safe_dump(recipe.model_dump(mode="json", exclude_defaults=True), sort_keys=False, allow_unicode=True)
    named = about(recipe).model_copy(update={"recipe": written})
    facts = gather(store, named, made["train"], made["evaluate"], made.get("judge"))
    if run.version is None:
        return facts
    return facts.model_copy(update={"outcome": facts.outcome.model_copy(update={"published": str(run.version)})})


def named(store: Store, run_id: str | None) -> runs.Run:
    """A run by its id, or the latest that was evaluated."""
    if run_id is not None:
        run = runs.find(store, run_id)
        if run is None:
            begun = [each.id for each in runs.recent(store) if each.id.startswith(run_id)]
            found = f"begins the ids of {len(begun)} runs" if begun else "is no run"
            raise RecipeError(f"{run_id} {found} in {store.uri}; `fettle show` lists the latest with their whole ids")
        return run
    evaluated = (run for run in runs.recent(store) if any(stage.verb == "evaluate" for stage in run.stages))
    latest = next(evaluated, None)
    if latest is None:
        raise RecipeError(f"no run in {store.uri} came to an evaluation; `fettle run RECIPE` makes one")
    return latest
