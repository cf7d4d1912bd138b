"""Recipes are read strictly and told off in words."""

from pathlib import Path

import pytest
import yaml

from flows.recipe import RecipeError, find_inputs, load_recipe
from tasks.artifacts.resource import ResourceError
from tests.flows.conftest import RECIPE


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return path


def test_paths_begin_at_the_recipe(workplace: Path) -> None:
    recipe = load_recipe(workplace / "recipe.yaml")
    assert recipe.sources[0].uri == str(workplace / "sources" / "domain.jsonl")
    assert recipe.evaluation.benchmarks[0].uri == str(workplace / "benchmarks" / "exact_figures.jsonl")
    inputs = find_inputs(recipe)
    assert list(inputs.sources[0].files) == ["domain.jsonl"]
    assert "model.safetensors" in inputs.base_model.files


def test_settings_reach_every_kind_of_place(workplace: Path) -> None:
    recipe = load_recipe(
        workplace / "recipe.yaml",
        [
            "training.learning_rate=1e-5",
            "training.method={kind: lora, rank: 4}",
            "sources.1.role=general",
            "publication.alias=null",
            "curation.length.answer_tokens=[2, 9]",
        ],
    )
    assert recipe.training.learning_rate == 1e-5
    assert recipe.training.method.kind == "lora"
    assert recipe.sources[1].role == "general"
    assert recipe.publication.alias is None
    assert recipe.curation.length.answer_tokens == (2, 9)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds NoneType; a recipe is a mapping"),
        ("- a\n- b\n", "holds list"),
        ("name: [unclosed\n", "not readable YAML"),
        ("name: a\nname: b\n", "'name' stands twice"),
        ("name: a\n", "base_model: is missing; it has no default"),
        ("name: Fancy Name\nbase_model: x\nsources: []\n", "name: String should match pattern"),
        ("name: a\nbase_model: x\nsources: []\n", "sources: Tuple should have at least 1 item"),
        ("name: a\nbase_model: x\nsource: []\n", "source: there is no such field; did you mean sources?"),
        (
            "name: a\nbase_model: x\nsources: [{name: s, uri: u}, {name: s, uri: v}]\n",
            "two sources are called s; names must differ",
        ),
        (
            "name: a\nbase_model: x\nsources: [{name: s, uri: u, map: {prompt: q}}]\n",
            "sources.0.map: map lacks answer; name prompt and answer",
        ),
        (
            "name: a\nbase_model: x\nsources: [{name: faq, uri: u}]\ndeduplication: {protected: [fqa]}\n",
            "deduplication.protected names 'fqa', but no source is called so; did you mean faq?",
        ),
        (
            "name: a\nbase_model: x\nsources: [{name: s, uri: u}]\ntraining: {method: {kind: lora, rnk: 2}}\n",
            "training.method.rnk: there is no such field; did you mean rank?",
        ),
        (
            "name: a\nbase_model: x\nsources: [{name: s, uri: u}]\ntraining: {batch_size: 5, micro_batch_size: 2}\n",
            "micro_batch_size is 2 and batch_size is 5",
        ),
    ],
)
def test_faults_are_named_with_their_place(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(written(tmp_path, text))
    assert words in str(caught.value)


def test_base_model_must_be_safe_and_there(workplace: Path, tmp_path: Path) -> None:
    model = tmp_path / "unsafe"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "pytorch_model.bin").write_bytes(b"anything may run from here")
    document = {**RECIPE, "base_model": str(model)}
    recipe = load_recipe(written(workplace, yaml.safe_dump(document)))
    with pytest.raises(ResourceError, match="holds no safetensors"):
        find_inputs(recipe)


def test_the_model_for_semantic_duplicates_begins_at_the_recipe_too(workplace: Path) -> None:
    embedding = workplace / "embedding"
    embedding.mkdir()
    for name in ("tokenizer.json", "config.json", "model.safetensors", "notes.txt"):
        (embedding / name).write_bytes(b"{}")
    recipe = load_recipe(workplace / "recipe.yaml", ["deduplication.semantic={model: embedding}"])
    assert recipe.deduplication.semantic is not None
    assert recipe.deduplication.semantic.model == str(embedding)
    inputs = find_inputs(recipe)
    assert inputs.embedding is not None
    assert set(inputs.embedding.files) == {"tokenizer.json", "config.json", "model.safetensors"}
    with pytest.raises(ResourceError, match=r"deduplication.semantic.model is nowhere: no such folder"):
        find_inputs(load_recipe(workplace / "recipe.yaml", ["deduplication.semantic={model: nowhere}"]))
