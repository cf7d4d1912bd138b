"""The recipe: everything a run needs to know, composed of the stages' own configurations."""

import difflib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import Field, ValidationError, model_validator

from flows.errors import RecipeError
from flows.hub import hub_dataset, is_hub_name
from flows.presets import PresetError, with_preset
from flows.recurring import RetrainingConfig
from flows.server import home
from tasks.algorithms.embedding import EMBEDDING_FILES
from tasks.artifacts.resource import MODEL_FILES, TOKENIZER_FILES, Resource, ResourceError, read_resource
from tasks.benchmarks import BenchmarkSource, require_digest
from tasks.benchmarks.item import HELDOUT_ANSWERS
from tasks.config import Config
from tasks.deduplication import DeduplicationConfig
from tasks.evaluation import EvaluationConfig
from tasks.filters import CurationConfig
from tasks.ingestion import IngestionConfig, Source
from tasks.methods.adapter_files import CONFIG as ADAPTER_CONFIG
from tasks.methods.adapter_files import WEIGHTS as ADAPTER_WEIGHTS
from tasks.methods.adapters import AdapterMethod
from tasks.mixing import MixingConfig
from tasks.promotion import PublicationConfig
from tasks.tokenization import TokenizationConfig
from tasks.trainer.config import TrainingConfig
from tasks.trainer.tokenizer_conversion import converted

AnyConfig = TypeVar("AnyConfig", bound=Config)
CLASSIFICATION = "classification"
"""The `kind` of recipes for text classification."""
ADAPTER_FILES = (ADAPTER_CONFIG, ADAPTER_WEIGHTS)


class Recipe(Config):
    """A fine-tuning run, from sources to a published model. Only the first three fields have no default."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=60)
    """What the model is called when it is published: lower-case letters, digits and dashes."""
    base_model: str = Field(min_length=1)
    """A folder with a model in the transformers layout, or a name on the Hub."""
    sources: tuple[Source, ...] = Field(min_length=1)
    """The data."""
    ingestion: IngestionConfig = IngestionConfig()
    """How sources become conversations."""
    curation: CurationConfig = CurationConfig()
    """Which conversations cannot teach."""
    deduplication: DeduplicationConfig = DeduplicationConfig()
    """What counts as a copy."""
    mixing: MixingConfig = MixingConfig()
    """What the mixture is made of."""
    tokenization: TokenizationConfig = TokenizationConfig()
    """How conversations become token ids."""
    training: TrainingConfig = TrainingConfig()
    """How the model learns."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """What is measured, and what the gate allows."""
    publication: PublicationConfig = PublicationConfig()
    """What becomes of a model that the gate lets through."""
    retraining: RetrainingConfig = RetrainingConfig()
    """When it is trained again by itself, where `retrain` is scheduled."""

    @model_validator(mode="after")
    def _budget_has_a_price(self) -> "Recipe":
        budget = self.retraining.monthly_budget
        if budget is not None and self.training.cost.price_per_device_hour is None:
            raise ValueError(
                f"retraining.monthly_budget is {budget:g}, but no price is known; set "
                "training.cost.price_per_device_hour, too"
            )
        return self

    @model_validator(mode="after")
    def _names_differ(self) -> "Recipe":
        for what, names in (
            ("sources", [source.name for source in self.sources]),
            ("benchmarks", [benchmark.name for benchmark in self.evaluation.benchmarks]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"two {what} are called {', '.join(twice)}; names must differ")
        return self

    @model_validator(mode="after")
    def _judged_benchmarks_exist(self) -> "Recipe":
        judge = self.evaluation.judge
        there = [HELDOUT_ANSWERS, *(benchmark.name for benchmark in self.evaluation.benchmarks)]
        missing = [name for name in judge.benchmarks if name not in there] if judge else []
        if missing:
            raise ValueError(f"evaluation.judge.benchmarks names {missing[0]!r}, which is none of {', '.join(there)}")
        return self

    @model_validator(mode="after")
    def _groups_are_not_packed(self) -> "Recipe":
        if self.training.group_by_length and self.tokenization.packing:
            raise ValueError(
                "training.group_by_length is for rows of one sample each, and tokenization.packing makes rows of "
                "several; set one of them to false"
            )
        return self

    @model_validator(mode="after")
    def _something_is_trained_on(self) -> "Recipe":
        if all(source.heldout for source in self.sources):
            raise ValueError("every source is held out, so nothing is left to train on; add a source that is not")
        return self

    @model_validator(mode="after")
    def _named_sources_exist(self) -> "Recipe":
        there = [source.name for source in self.sources]
        for field, names in (
            ("deduplication.priority", self.deduplication.priority),
            ("deduplication.protected", self.deduplication.protected),
            ("mixing.source_shares", self.mixing.source_shares or ()),
        ):
            for name in names:
                if name not in there:
                    close = difflib.get_close_matches(name, there, n=1, cutoff=0.5)
                    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(there)}"
                    raise ValueError(f"{field} names {name!r}, but no source is called so; {hint}")
        return self


class Inputs(Config):
    """What a recipe names, found and digested."""

    sources: tuple[Resource, ...]
    benchmarks: tuple[Resource, ...]
    base_model: Resource
    embedding: Resource | None = None
    """The model that semantic duplicates are found with, where they are looked for."""
    adapter: Resource | None = None
    """The adapter that training goes on from, where it does."""
    judging_model: Resource | None = None
    """The model that compares answers, where it is a local one."""

    @property
    def tokenizer(self) -> Resource:
        """The base model's tokenizer."""
        return self.base_model.only(*TOKENIZER_FILES, "config.json")


class _StrictLoader(yaml.SafeLoader):
    """YAML without surprises: a key that stands twice is an error, not the last one's win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _value in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float | bool):
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is no name", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def load_recipe(path: Path, settings: Sequence[str] = ()) -> Recipe:
    """Read a YAML recipe over its preset, `a.b=value` settings on top; relative paths begin at the recipe's folder."""
    document = read_document(path, settings)
    if document.get("kind") == CLASSIFICATION:
        raise RecipeError(f"{path} is of kind {CLASSIFICATION}, which this command does not know; use run or plan")
    return _anchored(parse_recipe(document, str(path)), path.resolve().parent)


def read_document(path: Path, settings: Sequence[str] = ()) -> dict[str, Any]:
    """A recipe as written, over its preset and with `a.b=value` settings on top; nothing of it is checked."""
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), _StrictLoader)  # noqa: S506 # a SafeLoader
    except OSError as error:
        raise RecipeError(f"cannot read the recipe {path}: {error.strerror or error}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise RecipeError(f"{path} is not readable YAML: {error}") from None
    if not isinstance(document, dict):
        raise RecipeError(
            f"{path} holds {type(document).__name__}; a recipe is a mapping with name, base_model, sources"
        )
    for setting in settings:
        _apply(document, setting)
    try:
        return with_preset(document)
    except PresetError as error:
        raise RecipeError(f"{path} cannot be used:\n  {error}") from None


def parse_recipe(document: Mapping[str, Any], where: str = "the recipe") -> Recipe:
    """A checked recipe; every fault is named with its path, and misspelt names with the nearest valid one."""
    return checked(Recipe, document, where)


def checked(shape: type[AnyConfig], document: Mapping[str, Any], where: str) -> AnyConfig:
    """A document as what it is to be; every fault is named with its path, and misspelt names with the nearest one."""
    try:
        return shape.model_validate(document)
    except ValidationError as error:
        faults = [_fault(each, shape) for each in _causes(error.errors())]
        raise RecipeError(f"{where} cannot be used:\n" + "\n".join(f"  {fault}" for fault in faults)) from None


def _apply(document: dict[str, Any], setting: str) -> None:
    path, equals, value = setting.partition("=")
    if not equals or not path:
        raise RecipeError(f"--set {setting}: give it as field.field=value")
    steps = path.split(".")
    place: Any = document
    for step in steps[:-1]:
        place = _enter(place, step, setting)
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {setting}: the value is not readable YAML: {error}") from None
    # YAML 1.1 takes 1e-5 for text.
    if isinstance(parsed, str):
        with suppress(ValueError):
            parsed = float(parsed)
    _enter(place, steps[-1], setting, parsed)


_ABSENT = object()


def _enter(place: Any, step: str, setting: str, value: Any = _ABSENT) -> Any:
    """Step into a mapping or a list of the document; set the value there, if one is given."""
    if isinstance(place, list):
        if not step.isdigit() or int(step) >= len(place):
            raise RecipeError(f"--set {setting}: {step} is no place in a list of {len(place)}; they count from 0")
        key: Any = int(step)
    elif isinstance(place, dict):
        key = step
    else:
        raise RecipeError(f"--set {setting}: there is nothing below a plain value; {step} cannot be set")
    if value is not _ABSENT:
        place[key] = value
    elif isinstance(place, dict) and place.get(key) is None:
        place[key] = {}
    return place[key]


def _causes(errors: Sequence[Any]) -> list[Any]:
    """Without the complaint that a list is too short whose only fault is that an element of it could not be read."""
    places = {error["loc"] for error in errors}
    return [
        error
        for error in errors
        if error["type"] != "too_short"
        or not any(place[: len(error["loc"])] == error["loc"] for place in places - {error["loc"]})
    ]


def _fault(error: Any, shape: type[Config]) -> str:
    path, siblings = _locate(error["loc"], shape)
    if error["type"] == "extra_forbidden":
        close = difflib.get_close_matches(str(error["loc"][-1]), siblings, n=1, cutoff=0.5)
        return f"{path}: there is no such field" + (f"; did you mean {close[0]}?" if close else "")
    if error["type"] == "missing":
        return f"{path}: is missing; it has no default"
    # Somebody may have put a judge's key where none belongs.
    secret = "judge" in error["loc"]
    shown = "" if secret or isinstance(error["input"], dict) else f" (it is {error['input']!r:.120})"
    return f"{path or 'the recipe'}: {error['msg'].removeprefix('Value error, ')}{shown}"


def _locate(location: Sequence[str | int], shape: type[Config]) -> tuple[str, list[str]]:
    """A fault's path as the recipe spells it, and the valid names at its place, found by walking the schema."""
    schema = shape.model_json_schema()
    node: dict[str, Any] = schema
    path, siblings = [], list(node["properties"])
    for step in location:
        node = _resolved(schema, node)
        shapes = {_resolved(schema, shape).get("title"): shape for shape in node.get("anyOf", ())}
        if step in shapes:
            # Which of several shapes was meant: told by the value of a field, and no field itself.
            node = shapes[step]
            continue
        siblings = list(node.get("properties", {}))
        node = node.get("items", {}) if isinstance(step, int) else node.get("properties", {}).get(step, {})
        path.append(str(step))
    return ".".join(path), siblings


def _resolved(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    while True:
        shapes = [each for each in node.get("anyOf", []) if each.get("type") not in ("null", "string")]
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
        elif len(shapes) == 1:
            node = shapes[0]
        else:
            return node


def _anchored(recipe: Recipe, folder: Path) -> Recipe:
    sources = tuple(s.model_copy(update={"uri": anchored_source(s.uri, folder)}) for s in recipe.sources)
    benchmarks = tuple(
        b.model_copy(update={"uri": anchored_source(b.uri, folder)}) for b in recipe.evaluation.benchmarks
    )
    semantic = recipe.deduplication.semantic
    if semantic:
        semantic = semantic.model_copy(update={"model": anchored_model(semantic.model, folder)})
    training, start_from = recipe.training, _start_from(recipe)
    if start_from:
        method = training.method.model_copy(update={"start_from": anchored_model(start_from, folder)})
        training = training.model_copy(update={"method": method})
    judge = recipe.evaluation.judge
    if judge and judge.model:
        judge = judge.model_copy(update={"model": anchored_model(judge.model, folder)})
    template = _read_template(recipe.tokenization.chat_template, folder)
    return recipe.model_copy(
        update={
            "sources": sources,
            "tokenization": recipe.tokenization.model_copy(update={"chat_template": template}),
            "deduplication": recipe.deduplication.model_copy(update={"semantic": semantic}),
            "evaluation": recipe.evaluation.model_copy(update={"benchmarks": benchmarks, "judge": judge}),
            "base_model": anchored_model(recipe.base_model, folder),
            "training": training,
        }
    )


def _read_template(given: str | None, folder: Path) -> str | None:
    """A chat template as it is; of one that is named by its file, what the file holds."""
    if given is None or not given.endswith(".jinja") or "\n" in given:
        return given
    try:
        return (folder / Path(given).expanduser()).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise RecipeError(f"tokenization.chat_template is {given}, which cannot be read: {error}") from None


def anchored_model(name: str, folder: Path) -> str:
    """A model's folder, as seen from the recipe's, or its name on the Hub."""
    there = folder / Path(name).expanduser()
    return str(there) if there.is_dir() else name


def anchored_source(uri: str, folder: Path) -> str:
    """Where data lie, as seen from the recipe's folder; a name on the Hub as it is."""
    return uri if is_hub_name(uri, folder) else _anchor(uri, folder)


def _anchor(uri: str, folder: Path) -> str:
    return uri if "://" in uri else str(folder / Path(uri).expanduser())


def find_inputs(recipe: Recipe, *, to_run: bool = True) -> Inputs:
    """Find and digest everything outside the store that a recipe names; to plan, a base model needs no weights."""
    semantic, start_from, judge = recipe.deduplication.semantic, _start_from(recipe), recipe.evaluation.judge
    return Inputs(
        sources=tuple(find_source(source.uri, source.reading()) for source in recipe.sources),
        benchmarks=tuple(find_benchmark(benchmark) for benchmark in recipe.evaluation.benchmarks),
        base_model=find_model("base_model", recipe.base_model, needs_weights=to_run),
        embedding=semantic and _model("deduplication.semantic.model", semantic.model, EMBEDDING_FILES),
        adapter=start_from and _model("training.method.start_from", start_from, ADAPTER_FILES),
        judging_model=_model("evaluation.judge.model", judge.model, MODEL_FILES) if judge and judge.model else None,
    )


def _start_from(recipe: Recipe) -> str | None:
    method = recipe.training.method
    return method.start_from if isinstance(method, AdapterMethod) else None


def find_source(uri: str, reading: dict[str, Any]) -> Resource:
    """A source's files, known by their bytes and by what decides how they are read."""
    return hub_dataset(uri, reading) if is_hub_name(uri) else read_resource(uri, facts=reading)


def find_benchmark(benchmark: BenchmarkSource) -> Resource:
    """A benchmark's files, and how they are read."""
    if is_hub_name(benchmark.uri):
        found = hub_dataset(benchmark.uri, benchmark.reading(), benchmark.splits())
    else:
        found = read_resource(benchmark.uri, facts=benchmark.reading())
    require_digest(benchmark, found)
    return found


def find_model(field: str, name: str, *, needs_weights: bool = True) -> Resource:
    """A model in a folder or on the Hub, with a tokenizer that can be read without running code."""
    return converted(_model(field, name, MODEL_FILES, needs_weights=needs_weights), home() / "tokenizers")


def _model(field: str, name: str, patterns: Sequence[str], *, needs_weights: bool = True) -> Resource:
    folder = name if Path(name).is_dir() else _download(field, name, patterns)
    model = read_resource(folder, patterns=patterns)
    if needs_weights and not any(file.endswith(".safetensors") for file in model.files):
        raise ResourceError(f"{name} holds no safetensors; other weight files can run code and are not loaded")
    # transformers would put it on the weights unasked, and the model's digest knows nothing of it.
    if patterns == MODEL_FILES and (model.folder / ADAPTER_CONFIG).exists():
        raise ResourceError(
            f"{field} is {name}, which holds {ADAPTER_CONFIG} beside the model, by which an adapter would be loaded "
            "with it; move the adapter's files into a folder of their own, or merge the adapter into the weights"
        )
    return model


def _download(field: str, name: str, patterns: Sequence[str]) -> str:
    if "/" not in name or name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise ResourceError(f"{field} is {name}: no such folder, and no name on the Hub (owner/model)")
    from huggingface_hub import snapshot_download

    try:
        return snapshot_download(name, allow_patterns=list(patterns))
    except Exception as error:
        raise ResourceError(f"{field} is {name}: no such folder, and the Hub did not give it: {error}") from error
