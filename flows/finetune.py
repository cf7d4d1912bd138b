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
from tasks.artifacts.resource import Resource
from tasks.artifacts.store import Store
from tasks.caching import watched_by
from tasks.curation import curate
from tasks.deduplication import deduplicate
from tasks.evaluation import MOST_LOOKS, enlarged, evaluate
from tasks.gate_record import GateRefusedError
from tasks.gathering import About
from tasks.ingestion import ingest
from tasks.judgement import judge
from tasks.measurement import measure
from tasks.mixing import mix
from tasks.promotion import incumbent
from tasks.publication import publish, register
from tasks.reporting.facts import LicenceFacts
from tasks.tokenization import tokenize
from tasks.training import train

DEFAULT_STORE = "fettle-store"


def run_name() -> str:
    """A flow run's name from its recipe."""
    recipe: Any = flow_run.parameters.get("recipe")
    name, base = (
        (recipe.name, recipe.base_model) if isinstance(recipe, Recipe) else (recipe["name"], recipe["base_model"])
    )
    return f"{name} on {base_model_label(base)}"


@flow(name="finetune", flow_run_name=run_name)
def finetune(recipe: Recipe, store_uri: str = DEFAULT_STORE) -> Result:
    """Fine-tune a base model on the recipe's data, measure it, and publish it if the gate lets it through."""
    require_sound(recipe)
    store = Store(store_uri)
    store.probe()
    record = Recorder(store, runs.begin(recipe.name, recipe.model_dump(mode="json")))
    with watched_by(record), record:
        outcome = pipeline(recipe, find_inputs(recipe), store)
        return _conclude(recipe, store, outcome, record)


class Learnt(NamedTuple):
    """What training gave, and what its measurement needs."""

    trained: Artifact
    tokenized: Artifact
    mixed: Artifact


class Weighed(NamedTuple):
    """What the models' measurements came to."""

    evaluated: Artifact
    judged: Artifact | None


class Outcome(NamedTuple):
    """What the pipeline made."""

    trained: Artifact
    evaluated: Artifact
    publication: Artifact


def pipeline(recipe: Recipe, inputs: Inputs, store: Store) -> Outcome:
    """The stages in order, a line each; what an earlier run made of the same input is taken as it is."""
    learnt = learn(recipe, inputs, store)
    weighed = weigh(recipe, inputs, store, learnt)
    publication = publish(store, about(recipe), learnt.trained, weighed.evaluated, weighed.judged)
    return Outcome(learnt.trained, weighed.evaluated, publication)


def learn(recipe: Recipe, inputs: Inputs, store: Store) -> Learnt:
    """From sources to a trained model."""
    base_model, benchmarks = inputs.base_model, inputs.benchmarks
    # Every question counts against leaks, however many of them are asked, and how.
    questions = tuple(
        benchmark.known_by("name", "kind", "version", "task", "trust_remote_code") for benchmark in benchmarks
    )

    ingested = ingest(store, recipe.ingestion, inputs.sources)
    curated = curate(store, recipe.curation, ingested.only("conversations"), inputs.tokenizer)
    names = [source.name for source in recipe.sources]
    deduplicated = deduplicate(
        store, recipe.deduplication, curated.only("conversations"), questions, names, inputs.embedding
    )
    to_train_on = {source.name: source.role for source in recipe.sources if not source.heldout}
    mixed = mix(store, recipe.mixing, deduplicated.only("conversations"), to_train_on)
    tokenized = tokenize(store, recipe.tokenization, mixed.only("mixture", "heldout"), inputs.tokenizer)
    to_learn = tokenized.only("sequences", "heldout", "template")
    trained = train(store, recipe.training, to_learn, base_model, inputs.adapter)
    return Learnt(trained, tokenized, mixed)


def weigh(recipe: Recipe, inputs: Inputs, store: Store, learnt: Learnt) -> Weighed:
    """Base, tuned model and the one in production on the same items; the gate's verdict, and a judge's where asked."""
    measuring, benchmarks = recipe.evaluation.measurement(), inputs.benchmarks
    heldout, prompts = learnt.tokenized.only("heldout", "template"), learnt.mixed.only("heldout")
    rival = incumbent(store, recipe.name, recipe.publication.alias, learnt.trained)

    def measured(model: Artifact | Resource) -> Artifact:
        return measure(store, measuring, model, heldout, prompts, benchmarks, inputs.tokenizer)

    for look in range(1, MOST_LOOKS + 1):
        base, tuned = measured(inputs.base_model), measured(learnt.trained)
        production = measured(rival) if rival else None
        evaluated = evaluate(store, recipe.evaluation.gate(look), base, tuned, production)
        larger = enlarged(store, evaluated, benchmarks) if recipe.evaluation.until_decided else benchmarks
        if larger == benchmarks:
            break
        benchmarks = larger
    judging = recipe.evaluation.judge
    judged = judge(store, judging, base, tuned, production, inputs.judging_model) if judging else None
    return Weighed(evaluated, judged)


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
        published = register(
            store, recipe.publication, recipe.name, outcome.publication, outcome.evaluated, outcome.trained
        )
    except GateRefusedError as refusal:
        record.end("refused", str(refusal))
        raise RefusedError(str(refusal), result) from refusal
    message = published.remarks[0] if published.waiting else result.reason
    record.end("published", message, published.version)
    told = {name: getattr(published, name) for name in ("version", "aliases", "waiting", "remarks")}
    return result.model_copy(update=told)


def about(recipe: Recipe) -> About:
    """What reports and cards call things, and the terms that the recipe knows."""
    licences = tuple(
        LicenceFacts(name=source.name, licence=source.licence, origin=source.uri if "://" in source.uri else "")
        for source in recipe.sources
        if source.licence
    )
    return About(name=recipe.name, base_model=base_model_label(recipe.base_model), licences=licences)


def base_model_label(base_model: str) -> str:
    """The base model's Hub name, or the name of its folder, marked as one."""
    return f"./{Path(base_model).name}" if Path(base_model).is_dir() else base_model
