"""The stages of a text classifier in order, and the flow that runs them: labelled texts in, a published model out."""

from typing import Any, NamedTuple, cast

from prefect import flow
from prefect.states import Failed

from flows.approving import await_approval, awaited
from flows.classification import ClassificationInputs, ClassificationRecipe, find_classification_inputs
from flows.errors import RecipeError, RefusedError, Result
from flows.finetune import conclude, ended
from flows.pipeline import Outcome, base_model_label
from flows.planning import Step, foretold
from flows.recording import Recorder
from flows.shown.leftovers import settle_leftovers
from flows.shown.naming import run_name
from flows.shown.planned import show_steps
from flows.shown.stages import Shown
from flows.states import REFUSED
from tasks.artifacts import runs
from tasks.artifacts.manifest import Artifact
from tasks.artifacts.resource import Resource
from tasks.artifacts.store import DEFAULT_STORE, Store
from tasks.caching import watched_by
from tasks.classification.curation import curate
from tasks.classification.deduplication import deduplicate
from tasks.classification.evaluation import evaluate
from tasks.classification.ingestion import ingest
from tasks.classification.measurement import baseline, measure, probe
from tasks.classification.mixing import mix
from tasks.classification.pretraining import pretrain
from tasks.classification.publication import publish
from tasks.classification.tokenization import tokenize
from tasks.classification.training import train
from tasks.gathering import About
from tasks.promotion import incumbent
from tasks.reporting.facts import LicenceFacts

MADE_HERE = "an encoder made from the recipe's texts"


class Learnt(NamedTuple):
    """What training gave, and what its measurement needs."""

    trained: Artifact
    mixed: Artifact
    tokenized: Artifact
    base_model: Artifact | Resource


@flow(name="classify", flow_run_name=run_name)
def classify(recipe: ClassificationRecipe, store_uri: str = DEFAULT_STORE) -> Result:
    """Train a text classifier on the recipe's labelled texts, measure it, and publish it if the gate lets it through.

    Args:
        recipe: What to train, on what texts, and how. Only name and sources have no default.
        store_uri: Folder or s3://bucket/prefix of the artifacts.
    """
    store = Store(store_uri)
    store.probe()
    try:
        result = awaited(store, recipe.name) or _run(recipe, store)
    except RefusedError as refusal:
        # Prefect takes a state for the run's own, and gives whoever called what it holds.
        return cast(Result, Failed(name=REFUSED, message=str(refusal), data=refusal))
    return ended(await_approval(store, recipe.name, result))


class Weighed(NamedTuple):
    """What a classifier's measurement came to, without anything being published."""

    run: str
    evaluated: Artifact
    trained: Artifact


@flow(name="weigh classifier", flow_run_name=run_name)
def weigh(recipe: ClassificationRecipe, store_uri: str) -> Weighed:
    """Train a recipe's classifier where that was not done, and measure it; publish nothing."""
    store = Store(store_uri)
    store.probe()
    record = Recorder(store, runs.begin(recipe.name, recipe.model_dump(mode="json")))
    with watched_by(record), record:
        learnt = learn(recipe, find_classification_inputs(recipe), store)
        evaluated = measured(recipe, store, learnt)
        facts: dict[str, Any] = store.manifest(evaluated).facts
        record.end("evaluated", f"{facts['verdict']}: {facts['reason']}")
    return Weighed(record.run.id, evaluated, learnt.trained)


def _run(recipe: ClassificationRecipe, store: Store) -> Result:
    settle_leftovers()
    record = Recorder(store, runs.begin(recipe.name, recipe.model_dump(mode="json")))
    with watched_by(record), watched_by(Shown(store, record)), record:
        inputs = find_classification_inputs(recipe)
        show_steps(lambda: foretell_classifier(recipe, inputs, store))
        return conclude(recipe.publication, store, classification(recipe, inputs, store), record)


def foretell_classifier(
    recipe: ClassificationRecipe, inputs: ClassificationInputs, store: Store, *, exact: bool = False
) -> list[Step]:
    """The steps that a run of the recipe would take now. An exact plan computes the data stages that would run."""
    return foretold(store, recipe.name, lambda: classification(recipe, inputs, store), exact=exact)


def classification(recipe: ClassificationRecipe, inputs: ClassificationInputs, store: Store) -> Outcome:
    """The stages in order, a line each; what an earlier run made of the same input is taken as it is."""
    learnt = learn(recipe, inputs, store)
    evaluated = measured(recipe, store, learnt)
    publication = publish(store, about_classifier(recipe), learnt.trained, evaluated)
    return Outcome(learnt.trained, evaluated, publication)


def learn(recipe: ClassificationRecipe, inputs: ClassificationInputs, store: Store) -> Learnt:
    """From sources to a trained classifier."""
    several = recipe.ingestion.multi_label
    names = [source.name for source in recipe.sources]
    ingested = ingest(store, recipe.ingestion, inputs.sources)
    curated = curate(store, recipe.curation, ingested.only("texts"))
    deduplicated = deduplicate(store, recipe.deduplication, curated.only("texts"), names)
    mixed = mix(store, recipe.mixing, deduplicated.only("texts"), list(recipe.ingestion.labels), several)
    base_model = inputs.base_model or pretrain(store, recipe.encoder, mixed.only("train"))
    to_learn = mixed.only("train", "validation", "labels")
    tokenized = tokenize(store, recipe.tokenization, to_learn, base_model)
    rows = tokenized.only("train", "validation", "settings")
    trained = train(store, recipe.training, rows, mixed.only("labels"), base_model, several)
    return Learnt(trained, mixed, tokenized.only("settings"), base_model)


def measured(recipe: ClassificationRecipe, store: Store, learnt: Learnt) -> Artifact:
    """The tuned model, simple baselines and the model in production on the same rows; the gate's verdict."""
    several, asking = recipe.ingestion.multi_label, recipe.evaluation.measurement()
    asked, known = learnt.mixed.only("validation", "test"), learnt.mixed.only("train", "validation", "test", "labels")
    rival = incumbent(store, recipe.name, recipe.publication.alias, learnt.trained)
    if rival is not None and rival.stage != learnt.trained.stage:
        raise RecipeError(f"{recipe.name} is published as another kind of model; give the classifier a name of its own")
    tuned = measure(store, asking, learnt.trained, asked, learnt.tokenized)
    production = measure(store, asking, rival, asked, learnt.tokenized) if rival else None
    baselines = baseline(store, known, several)
    probed = (
        probe(store, asking, learnt.base_model, known, learnt.tokenized, several) if recipe.evaluation.probe else None
    )
    judged = learnt.mixed.only("validation", "test", "labels")
    return evaluate(store, recipe.evaluation, judged, tuned, baselines, probed, production, several)


def about_classifier(recipe: ClassificationRecipe) -> About:
    """What reports and cards call things, and the terms that the recipe knows."""
    licences = tuple(
        LicenceFacts(name=source.name, licence=source.licence, origin=source.uri if "://" in source.uri else "")
        for source in recipe.sources
        if source.licence
    )
    base_model = base_model_label(recipe.base_model) if recipe.base_model else MADE_HERE
    return About(name=recipe.name, base_model=base_model, licences=licences)
