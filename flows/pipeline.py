"""The stages in order: from sources to a measured model with its report. Whatever starts a run composes these."""

from pathlib import Path
from typing import NamedTuple

from flows.errors import RecipeError
from flows.recipe import Inputs, Recipe
from tasks.artifacts.manifest import Artifact
from tasks.artifacts.resource import Resource
from tasks.artifacts.store import Store
from tasks.curation import curate
from tasks.deduplication import deduplicate
from tasks.evaluation import MOST_LOOKS, enlarged, evaluate
from tasks.gathering import About
from tasks.ingestion import ingest
from tasks.judgement import judge
from tasks.measurement import measure
from tasks.mixing import mix
from tasks.promotion import incumbent
from tasks.publication import publish
from tasks.reporting.facts import LicenceFacts
from tasks.tokenization import tokenize
from tasks.training import train


class Prepared(NamedTuple):
    """The data as it is trained on, and as people read it."""

    tokenized: Artifact
    mixed: Artifact


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
    prepared = prepare(recipe, inputs, store)
    to_learn = prepared.tokenized.only("sequences", "heldout", "template")
    trained = train(store, recipe.training, to_learn, inputs.base_model, inputs.adapter)
    return Learnt(trained, *prepared)


def prepare(recipe: Recipe, inputs: Inputs, store: Store) -> Prepared:
    """From sources to rows of token ids."""
    # Every question counts against leaks, however many of them are asked, and how.
    questions = tuple(
        benchmark.known_by("name", "kind", "version", "task", "trust_remote_code") for benchmark in inputs.benchmarks
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
    return Prepared(tokenized, mixed)


def weigh(recipe: Recipe, inputs: Inputs, store: Store, learnt: Learnt) -> Weighed:
    """Base, tuned model and the one in production on the same items; the gate's verdict, and a judge's where asked."""
    measuring, benchmarks = recipe.evaluation.measurement(), inputs.benchmarks
    heldout, prompts = learnt.tokenized.only("heldout", "template"), learnt.mixed.only("heldout")
    rival = incumbent(store, recipe.name, recipe.publication.alias, learnt.trained)
    if rival is not None and rival.stage != learnt.trained.stage:
        raise RecipeError(f"{recipe.name} is published as a classifier; give this model a name of its own")

    def measured(model: Artifact | Resource) -> Artifact:
        return measure(store, measuring, model, heldout, prompts, benchmarks, inputs.tokenizer)

    for _ in range(MOST_LOOKS):
        base, tuned = measured(inputs.base_model), measured(learnt.trained)
        production = measured(rival) if rival else None
        evaluated = evaluate(store, recipe.evaluation.gate(), base, tuned, production)
        larger = enlarged(store, evaluated, benchmarks) if recipe.evaluation.until_decided else benchmarks
        if larger == benchmarks:
            break
        benchmarks = larger
    judging = recipe.evaluation.judge
    judged = judge(store, judging, base, tuned, production, inputs.judging_model) if judging else None
    return Weighed(evaluated, judged)


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
