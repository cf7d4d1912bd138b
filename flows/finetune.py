"""The pipeline: raw instruction data in, a measured and published model out."""

from pathlib import Path
from typing import Any, NamedTuple

from prefect import flow
from prefect.runtime import flow_run

from flows.errors import RefusedError, Result
from flows.forecast import require_sound
from flows.recipe import Inputs, Recipe, find_inputs
from flows.recording import Recorder
from tasks.artifacts import runs
from tasks.artifacts.manifest import Artifact
from tasks.artifacts.resource import TOKENIZER_FILES
from tasks.artifacts.store import Store
from tasks.caching import watched_by
from tasks.curation import curate
from tasks.deduplication import deduplicate
from tasks.evaluation import evaluate, measure
from tasks.ingestion import ingest
from tasks.mixing import mix
from tasks.publication import About, GateRefusedError, publish, register
from tasks.tokenization import tokenize
from tasks.training import train

DEFAULT_STORE = "fettle-store"


def _run_name() -> str:
    recipe: Any = flow_run.parameters.get("recipe")
    name, base = (
        (recipe.name, recipe.base_model) if isinstance(recipe, Recipe) else (recipe["name"], recipe["base_model"])
    )
    return f"{name} on {base_model_label(base)}"


@flow(name="finetune", flow_run_name=_run_name)
def finetune(recipe: Recipe, store_uri: str = DEFAULT_STORE) -> Result:
    """Fine-tune a base model on the recipe's data, measure it, and publish it if the gate lets it through."""
    require_sound(recipe)
    store = Store(store_uri)
    store.probe()
    record = Recorder(store, runs.begin(recipe.name, recipe.model_dump(mode="json")))
    with watched_by(record), record:
        outcome = pipeline(recipe, find_inputs(recipe), store)
        return _conclude(recipe, store, outcome, record)


class Outcome(NamedTuple):
    """What the pipeline made."""

    trained: Artifact
    evaluated: Artifact
    publication: Artifact


def pipeline(recipe: Recipe, inputs: Inputs, store: Store) -> Outcome:
    """The stages in order, a line each; what an earlier run made of the same input is taken as it is."""
    base_model, benchmarks = inputs.base_model, inputs.benchmarks
    tokenizer = base_model.only(*TOKENIZER_FILES, "config.json")
    # Every question counts against leaks, however many of them are asked, and how.
    questions = tuple(benchmark.known_by("name", "kind", "version") for benchmark in benchmarks)

    ingested = ingest(store, recipe.ingestion, inputs.sources)
    curated = curate(store, recipe.curation, ingested.only("conversations"), tokenizer)
    names = [source.name for source in recipe.sources]
    deduplicated = deduplicate(
        store, recipe.deduplication, curated.only("conversations"), questions, names, inputs.embedding
    )
    to_train_on = {source.name: source.role for source in recipe.sources if not source.heldout}
    mixed = mix(store, recipe.mixing, deduplicated.only("conversations"), to_train_on)
    tokenized = tokenize(store, recipe.tokenization, mixed.only("mixture", "heldout"), tokenizer)
    to_learn = tokenized.only("sequences", "heldout", "template")
    trained = train(store, recipe.training, to_learn, base_model, inputs.adapter)

    measuring = recipe.evaluation.measurement()
    heldout, prompts = tokenized.only("heldout", "template"), mixed.only("heldout")
    base = measure(store, measuring, base_model, heldout, prompts, benchmarks, tokenizer)
    tuned = measure(store, measuring, trained, heldout, prompts, benchmarks, tokenizer)
    evaluated = evaluate(store, recipe.evaluation.gate(), base, tuned)
    about = About(name=recipe.name, base_model=base_model_label(recipe.base_model))
    publication = publish(store, about, trained, evaluated)
    return Outcome(trained, evaluated, publication)


def _conclude(recipe: Recipe, store: Store, outcome: Outcome, record: Recorder) -> Result:
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
        version = register(
            store, recipe.publication, recipe.name, outcome.publication, outcome.evaluated, outcome.trained
        )
    except GateRefusedError as refusal:
        record.end("refused", str(refusal))
        raise RefusedError(str(refusal), result) from refusal
    record.end("published", result.reason, version.version)
    return result.model_copy(update={"version": version.version})


def base_model_label(base_model: str) -> str:
    """The base model's Hub name, or the name of its folder, marked as one."""
    return f"./{Path(base_model).name}" if Path(base_model).is_dir() else base_model
