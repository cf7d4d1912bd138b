"""A run's name tells the recipe, the model, and what changed since the recipe's last run."""

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from prefect.runtime import flow_run

from flows.classification import ClassificationRecipe, parse_any
from flows.errors import RecipeError
from flows.pipeline import base_model_label
from flows.recipe import Recipe
from tasks.artifacts import runs
from tasks.artifacts.errors import StoreError
from tasks.artifacts.lineage import Difference, changed_fields
from tasks.artifacts.store import Store

MOST_CHANGES = 2
LONGEST_VALUE = 24


def run_name() -> str:
    """A flow run's name from its parameters."""
    given: Any = flow_run.parameters["recipe"]
    recipe = parse_any(given) if isinstance(given, dict) else given
    return name_of(recipe, flow_run.parameters.get("store_uri"), flow_run.name)


def name_of(recipe: Recipe | ClassificationRecipe, store_uri: str | None, current: str | None = None) -> str:
    """The name of a run of the recipe; one that is retried keeps its current name."""
    name = f"{recipe.name} on {base_model_label(recipe.base_model)}" if recipe.base_model else recipe.name
    if current is not None and current.startswith(name):
        return current
    changes = _changes(recipe, store_uri)
    return f"{name}: {', '.join(changes)}" if changes else name


def _changes(recipe: Recipe | ClassificationRecipe, store_uri: str | None) -> list[str]:
    # A store that fails is told of by the run itself, in its own words.
    with suppress(StoreError):
        before = runs.recent(Store(store_uri), recipe.name)[:1] if store_uri else []
        if before:
            return in_words(changed_fields(filled(before[0].recipe), recipe.model_dump(mode="json")))
    return []


def filled(document: dict[str, Any]) -> dict[str, Any]:
    """An earlier recipe with the defaults of fields that are newer than it."""
    try:
        return parse_any(document).model_dump(mode="json")
    except RecipeError:
        return document


def in_words(changes: Sequence[Difference]) -> list[str]:
    """The first changes, each short enough for a name."""
    told = [_in_words(change) for change in changes[:MOST_CHANGES]]
    more = len(changes) - len(told)
    return [*told, f"{more} more"] if more else told


def _in_words(change: Difference) -> str:
    before, after = (json.dumps(value, ensure_ascii=False).strip('"') for value in (change.before, change.after))
    if max(len(before), len(after)) > LONGEST_VALUE:
        return f"{change.place} changed"
    return f"{change.place} {before} → {after}"
