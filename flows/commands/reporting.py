"""`fettle report`: a run's report anew, with what people rated since, or all runs over time."""

import argparse
from pathlib import Path

import yaml

from flows import terminal
from flows.classification import ClassificationRecipe, parse_any
from flows.classifying import about_classifier
from flows.cli import DONE
from flows.errors import RecipeError
from flows.pipeline import about
from flows.runs_over_time import run_facts
from tasks.artifacts import runs
from tasks.artifacts.store import Store
from tasks.classification.gathering import gather as classifier_facts
from tasks.gathering import gather
from tasks.reporting.classifier_page import render as render_classifier
from tasks.reporting.facts import Outcome
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
        text = _page(store, run)
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


def _page(store: Store, run: runs.Run) -> str:
    made = {stage.verb: store.manifest(stage.address).artifact for stage in run.stages if stage.verb in _TOLD}
    if missing := [verb for verb in ("train", "evaluate") if verb not in made]:
        raise RecipeError(f"run {run.id} did not {missing[0]}, so there is nothing to report: {run.message}")
    recipe = parse_any(run.recipe, f"the recipe of {run.id}")
    written = yaml.safe_dump(recipe.model_dump(mode="json", exclude_defaults=True), sort_keys=False, allow_unicode=True)
    trained, evaluated, told = made["train"], made["evaluate"], {"recipe": written}
    if isinstance(recipe, ClassificationRecipe):
        named = about_classifier(recipe).model_copy(update=told)
        classifier = classifier_facts(store, named, trained, evaluated)
        return render_classifier(classifier.model_copy(update=_published(run, classifier.outcome)))
    facts = gather(store, about(recipe).model_copy(update=told), trained, evaluated, made.get("judge"))
    return render(facts.model_copy(update=_published(run, facts.outcome)))


def _published(run: runs.Run, outcome: Outcome) -> dict[str, Outcome]:
    version = None if run.version is None else str(run.version)
    return {"outcome": outcome.model_copy(update={"published": version})}


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
