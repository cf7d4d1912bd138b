"""The form of a run, as Prefect's UI draws it and its server checks it: from the schema of the flow's parameters."""

from collections.abc import Iterator
from typing import Any

import pytest
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import build_error_obj, validate

from flows.classification import ClassificationRecipe
from flows.classifying import classify
from flows.finetune import finetune
from flows.presets import preset_names, with_preset
from flows.recipe import Recipe
from flows.retraining import retrain
from tests.flows.conftest import RECIPE

SCHEMA: dict[str, Any] = parameter_schema(finetune).model_dump_for_openapi()
SMALLEST = {"name": "small", "base_model": "somewhere/model", "sources": [{"name": "a", "uri": "a.jsonl"}]}


def shapes() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of the form, by its name."""
    yield "parameters", SCHEMA
    waiting = list(SCHEMA["definitions"].items())
    while waiting:
        name, shape = waiting.pop()
        waiting += [(name, each) for each in shape.get("anyOf", ()) if "properties" in each]
        if "properties" in shape:
            yield name, shape


def referred(node: dict[str, Any]) -> dict[str, Any]:
    """The shape that a field is of; one without words of its own is told of by its shape's."""
    return SCHEMA["definitions"][node["$ref"].rsplit("/", 1)[1]] if "$ref" in node else {}


def places(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from places(child)


def refusal(recipe: dict[str, Any]) -> str:
    """The server's words on a recipe, with the field at which the form shows them; nothing where it is right."""

    def told(errors: list[Any], path: str) -> Iterator[str]:
        for error in errors:
            if isinstance(error, str):
                yield f"{path}: {error}"
            else:
                yield from told(error["errors"], f"{path}.{error.get('property', error.get('index'))}".strip("."))

    return "\n".join(told(build_error_obj(validate({"recipe": recipe}, SCHEMA))["errors"], ""))


def test_every_field_has_help_and_stands_in_reading_order() -> None:
    found = dict(shapes())
    assert {"Recipe", "Source", "TrainingConfig", "Lora", "BenchmarkSource", "parameters"} <= set(found)
    for name, shape in found.items():
        properties = shape["properties"]
        assert [field["position"] for field in properties.values()] == list(range(len(properties))), name
        bare = [field for field, told in properties.items() if not (told | referred(told)).get("description")]
        assert not bare, f"{name}: {bare} have no help"
    assert list(found["Recipe"]["properties"])[:4] == ["name", "base_model", "sources", "ingestion"]


def test_unions_are_tabs_and_tags_are_selects() -> None:
    # What the form would show as a box of JSON, and as free text.
    raw = [node for node in places(SCHEMA) if {"oneOf", "const", "discriminator"} & set(node)]
    assert raw == []
    definitions = SCHEMA["definitions"]
    method = definitions["TrainingConfig"]["properties"]["method"]
    tabs = [referred(each) for each in method["anyOf"]]
    assert [tab["title"] for tab in tabs] == [
        "full", "lora", "dora", "qlora", "last_layers", "first_layers_frozen", "elastic",
    ]  # fmt: skip
    assert [tab["properties"]["kind"]["enum"] for tab in tabs] == [[tab["title"]] for tab in tabs]
    assert all("kind" in tab["required"] for tab in tabs)
    assert definitions["Source"]["properties"]["role"]["enum"] == ["general", "domain", "code", "safety"]


def test_the_form_of_classify_is_drawn_alike() -> None:
    schema: dict[str, Any] = parameter_schema(classify).model_dump_for_openapi()
    for name, shape in schema["definitions"].items():
        properties = shape.get("properties", {})
        assert [field["position"] for field in properties.values()] == list(range(len(properties))), name
        words = {field: told.get("description") or "$ref" in told for field, told in properties.items()}
        assert all(words.values()), f"{name}: {words}"
    assert [node for node in places(schema) if {"oneOf", "const", "discriminator"} & set(node)] == []
    smallest = {"name": "small", "sources": [{"name": "a", "uri": "a.csv"}]}
    for method in ("full", "frozen", "first_layers_frozen", "lora"):
        recipe = ClassificationRecipe.model_validate({**smallest, "training": {"method": method}})
        assert not validate({"recipe": recipe.model_dump(mode="json")}, schema), method


def test_the_form_of_retrain_is_that_of_finetune() -> None:
    assert parameter_schema(retrain).model_dump_for_openapi()["definitions"] == SCHEMA["definitions"]


@pytest.mark.parametrize("training", [{}, *({"method": {"kind": kind}} for kind in ("full", "lora", "elastic"))])
def test_right_recipes_pass(training: dict[str, Any]) -> None:
    recipe = {**SMALLEST, "training": training}
    assert refusal(recipe) == ""
    # What the form itself sends: every default written out.
    assert refusal(Recipe.model_validate(recipe).model_dump(mode="json")) == ""


@pytest.mark.parametrize("preset", preset_names())
def test_presets_pass(preset: str) -> None:
    assert refusal({**SMALLEST, **with_preset({"preset": preset})}) == ""


def test_recipes_of_the_tests_pass() -> None:
    assert refusal(RECIPE) == ""


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"name": "Not A Name"}, "recipe.name: 'Not A Name' does not match"),
        ({"sources": []}, "recipe.sources: [] should be non-empty"),
        ({"trianing": {}}, "recipe: Additional properties are not allowed ('trianing' was unexpected)"),
        ({"sources": [{"name": "a", "uri": "b", "rôle": "code"}]}, "recipe.sources.0: Additional properties"),
        ({"sources": [{"name": "a", "uri": "b", "role": "domian"}]}, "recipe.sources.0.role: 'domian' is not one of"),
        ({"training": {"learning_rate": 0}}, "recipe.training.learning_rate: 0 is less than or equal to the minimum"),
        ({"training": {"epochs": "two"}}, "recipe.training.epochs: 'two' is not of type 'number'"),
        ({"training": {"method": {"kind": "lora", "rnak": 8}}}, "recipe.training.method: {'kind': 'lora', 'rnak': 8}"),
        # Nobody knows what is meant: the recipe's own check refuses it, too.
        ({"training": {"method": {"rank": 8}}}, "recipe.training.method: {'rank': 8} is not valid"),
        ({"evaluation": {"benchmarks": ["mmlv"]}}, "recipe.evaluation.benchmarks.0: 'mmlv' is not valid"),
    ],
)
def test_wrong_recipes_are_refused_at_their_field(wrong: dict[str, Any], told: str) -> None:
    assert refusal({**SMALLEST, **wrong}).startswith(told)
    with pytest.raises(ValueError, match="validation error"):
        Recipe.model_validate({**SMALLEST, **wrong})
