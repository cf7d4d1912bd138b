"""The recipe of a text classifier: everything a run needs to know, composed of the stages' own configurations."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from flows.errors import RecipeError
from flows.recipe import (
    CLASSIFICATION,
    Recipe,
    anchored_model,
    anchored_source,
    checked,
    find_model,
    find_source,
    load_recipe,
    parse_recipe,
    read_document,
)
from tasks.artifacts.resource import Resource
from tasks.classification.curation import LabelledCurationConfig
from tasks.classification.deduplication import LabelledDeduplicationConfig
from tasks.classification.evaluation import ClassifierEvaluationConfig
from tasks.classification.ingestion import LabelledIngestionConfig, LabelledSource
from tasks.classification.mixing import LabelledMixingConfig
from tasks.classification.tokenization import LabelledTokenizationConfig
from tasks.config import Config
from tasks.promotion import PublicationConfig
from tasks.trainer.classifier.config import ClassifierTrainingConfig
from tasks.trainer.classifier.encoder import EncoderConfig


class ClassificationRecipe(Config):
    """A text classifier, from labelled texts to a published model. Only the first three fields have no default."""

    kind: Literal["classification"] = "classification"
    """Tells this recipe from those for instruction data."""
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=60)
    """What the model is called when it is published: lower-case letters, digits and dashes."""
    sources: tuple[LabelledSource, ...] = Field(min_length=1)
    """The labelled texts."""
    base_model: str | None = Field(None, min_length=1)
    """A folder with a model in the transformers layout, or a name on the Hub; a small encoder is made from the training
    texts when not set."""
    ingestion: LabelledIngestionConfig = LabelledIngestionConfig()
    """How sources become labelled texts."""
    curation: LabelledCurationConfig = LabelledCurationConfig()
    """Which texts cannot teach."""
    deduplication: LabelledDeduplicationConfig = LabelledDeduplicationConfig()
    """What counts as a copy."""
    mixing: LabelledMixingConfig = LabelledMixingConfig()
    """What is learnt from, what is chosen by, and what is measured by."""
    encoder: EncoderConfig = EncoderConfig()
    """The small encoder; of no effect where a base model is named."""
    tokenization: LabelledTokenizationConfig = LabelledTokenizationConfig()
    """How texts become token ids."""
    training: ClassifierTrainingConfig = ClassifierTrainingConfig()
    """How the model learns."""
    evaluation: ClassifierEvaluationConfig = ClassifierEvaluationConfig()
    """What is measured, and what the gate allows."""
    publication: PublicationConfig = PublicationConfig()
    """What becomes of a model that the gate lets through."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [source.name for source in self.sources]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two sources are called {', '.join(twice)}; names must differ")
        return self

    @model_validator(mode="after")
    def _something_is_learnt_from(self) -> Self:
        if all(source.split in ("validation", "test") for source in self.sources):
            raise ValueError("every source is a validation or test side, so nothing is left to learn from; add one")
        return self

    @model_validator(mode="after")
    def _weighted_labels_exist(self) -> Self:
        weights, labels = self.training.class_weights, self.ingestion.labels
        unknown = sorted(set(weights) - set(labels)) if isinstance(weights, dict) and labels else []
        if unknown:
            raise ValueError(f"training.class_weights names {unknown[0]!r}, which is none of ingestion.labels")
        return self


class ClassificationInputs(Config):
    """What such a recipe names, found and digested."""

    sources: tuple[Resource, ...]
    base_model: Resource | None


def load_any(path: Path, settings: Sequence[str] = ()) -> Recipe | ClassificationRecipe:
    """A recipe of either kind, read from its file; relative paths begin at the recipe's folder."""
    document = read_document(path, settings)
    kind = document.get("kind")
    if kind is None:
        return load_recipe(path, settings)
    _require_kind(kind, str(path))
    recipe = checked(ClassificationRecipe, document, str(path))
    folder = path.resolve().parent
    sources = tuple(each.model_copy(update={"uri": anchored_source(each.uri, folder)}) for each in recipe.sources)
    base_model = recipe.base_model and anchored_model(recipe.base_model, folder)
    return recipe.model_copy(update={"sources": sources, "base_model": base_model})


def parse_any(document: Mapping[str, Any], where: str = "the recipe") -> Recipe | ClassificationRecipe:
    """A checked recipe of either kind."""
    if document.get("kind") is None:
        return parse_recipe(document, where)
    _require_kind(document["kind"], where)
    return checked(ClassificationRecipe, document, where)


def _require_kind(kind: object, where: str) -> None:
    if kind != CLASSIFICATION:
        raise RecipeError(
            f"{where} cannot be used:\n  kind: is {kind!r}; write {CLASSIFICATION} for labelled texts, and nothing for "
            "instruction data"
        )


def find_classification_inputs(recipe: ClassificationRecipe, *, to_run: bool = True) -> ClassificationInputs:
    """Find and digest everything outside the store that a recipe names; to plan, a base model needs no weights."""
    base_model = recipe.base_model
    return ClassificationInputs(
        sources=tuple(find_source(each.uri, each.reading()) for each in recipe.sources),
        base_model=find_model("base_model", base_model, needs_weights=to_run) if base_model else None,
    )
