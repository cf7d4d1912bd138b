"""The pipeline: raw instruction data in, a measured and published model out."""

from typing import Any, cast

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.approving import await_approval, awaited
from flows.errors import RefusedError, Result
from flows.forecast import require_sound
from flows.pipeline import Outcome, pipeline
from flows.recipe import Inputs, Recipe, find_inputs
from flows.recording import Recorder
from flows.shown.leftovers import settle_leftovers
from flows.shown.naming import run_name
from flows.shown.planned import show_plan
from flows.shown.stages import Shown
from flows.states import AWAITING_APPROVAL, PUBLISHED, REFUSED
from tasks.artifacts import runs
from tasks.artifacts.store import DEFAULT_STORE, Store
from tasks.caching import watched_by
from tasks.gate_record import GateRefusedError
from tasks.promotion import PublicationConfig
from tasks.publication import register


@flow(name="finetune", flow_run_name=run_name)
def finetune(recipe: Recipe, store_uri: str = DEFAULT_STORE) -> Result:
    """Fine-tune a base model on the recipe's data, measure it, and publish it if the gate lets it through.

    Args:
        recipe: What to train, on what data, and how. Only the first three fields have no default.
        store_uri: Folder or s3://bucket/prefix of the artifacts.
    """
    require_sound(recipe)
    store = Store(store_uri)
    store.probe()
    return carry_out(recipe, store)


def carry_out(recipe: Recipe, store: Store, *, inputs: Inputs | None = None, most_cost: float | None = None) -> Result:
    """A run of the pipeline with its record in the store, to the end or to a person's word where that is asked for.

    `inputs` are what the recipe names, where they are found already; `most_cost` limits what training may cost beyond
    what the recipe says.
    """
    try:
        result = awaited(store, recipe.name) or _run(recipe, store, inputs, most_cost)
    except RefusedError as refusal:
        # Prefect takes a state for the run's own, and gives whoever called what it holds.
        return cast(Result, Failed(name=REFUSED, message=str(refusal), data=refusal))
    return ended(await_approval(store, recipe.name, result))


def _run(recipe: Recipe, store: Store, inputs: Inputs | None, most_cost: float | None) -> Result:
    require_key(recipe)
    settle_leftovers()
    record = Recorder(store, runs.begin(recipe.name, recipe.model_dump(mode="json")))
    with watched_by(record), watched_by(Shown(store, record)), record:
        inputs = inputs or find_inputs(recipe)
        show_plan(recipe, inputs, store)
        return conclude(recipe.publication, store, pipeline(_limited(recipe, most_cost), inputs, store), record)


def ended(result: Result | State[Any]) -> Result:
    """The result in a state whose name tells how it stands."""
    if isinstance(result, State):  # rejected by a person: already such a state
        return cast(Result, result)
    name = AWAITING_APPROVAL if result.waiting else PUBLISHED
    return cast(Result, Completed(name=name, message=f"{result.verdict}: {result.reason}", data=result))


def require_key(recipe: Recipe) -> None:
    """Raise `JudgeError` where the judge's key is not to be had: before anything is computed, not after all of it."""
    if recipe.evaluation.judge is not None:
        recipe.evaluation.judge.api_key()


def _limited(recipe: Recipe, most_cost: float | None) -> Recipe:
    cost = recipe.training.cost
    if most_cost is None or (cost.most is not None and cost.most <= most_cost):
        return recipe
    training = recipe.training.model_copy(update={"cost": cost.model_copy(update={"most": most_cost})})
    return recipe.model_copy(update={"training": training})


def conclude(config: PublicationConfig, store: Store, outcome: Outcome, record: Recorder) -> Result:
    """Publish the model if the gate lets it through; raises `RefusedError`."""
    facts = store.manifest(outcome.evaluated).facts
    result = Result(
        run=record.run.id,
        verdict=facts["verdict"],
        reason=facts["reason"],
        publication=outcome.publication.address,
        evaluation=outcome.evaluated.address,
    )
    try:
        name = record.run.recipe_name
        published = register(store, config, name, outcome.publication, outcome.evaluated, outcome.trained)
    except GateRefusedError as refusal:
        record.end("refused", str(refusal))
        raise RefusedError(str(refusal), result) from refusal
    message = published.remarks[0] if published.waiting else result.reason
    record.end("published", message, published.version)
    told = {name: getattr(published, name) for name in ("version", "aliases", "waiting", "remarks")}
    return result.model_copy(update=told)
