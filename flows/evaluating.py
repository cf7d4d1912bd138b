"""A model measured and judged without being published."""

from typing import Any

from prefect import flow

from flows.finetune import require_key
from flows.forecast import require_sound
from flows.pipeline import learn, weigh
from flows.recipe import Recipe, find_inputs
from flows.recording import Recorder
from flows.shown.naming import run_name
from tasks.artifacts import runs
from tasks.artifacts.store import Store
from tasks.caching import watched_by
from tasks.config import Config


class Verdict(Config):
    """What an evaluation came to."""

    run: str
    verdict: str
    reason: str
    evaluation: str
    """Address of the evaluation."""
    judgement: str | None = None
    """Address of what the judge said, where one was asked."""


@flow(name="evaluate recipe", flow_run_name=run_name)
def evaluate_only(recipe: Recipe, store_uri: str) -> Verdict:
    """Measure a recipe's model against its base and the one in production; train it first where that was not done."""
    require_sound(recipe)
    require_key(recipe)
    store = Store(store_uri)
    store.probe()
    record = Recorder(store, runs.begin(recipe.name, recipe.model_dump(mode="json")))
    with watched_by(record), record:
        inputs = find_inputs(recipe)
        weighed = weigh(recipe, inputs, store, learn(recipe, inputs, store))
        facts: dict[str, Any] = store.manifest(weighed.evaluated).facts
        record.end("evaluated", f"{facts['verdict']}: {facts['reason']}")
    return Verdict(
        run=record.run.id,
        verdict=facts["verdict"],
        reason=facts["reason"],
        evaluation=weighed.evaluated.address,
        judgement=weighed.judged.address if weighed.judged else None,
    )
