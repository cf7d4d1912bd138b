"""Recipes are read strictly and told off in words."""

import shutil
from pathlib import Path

import pytest
import yaml

from flows.errors import RecipeError
from flows.recipe import find_inputs, load_recipe
from tasks.artifacts.resource import ResourceError
from tasks.benchmarks import KINDS
from tests.flows.conftest import BASE_MODEL, RECIPE


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
            "name: a\nbase_model: x\nsources: [{name: s, uri: u}]\ntraining: {group_by_length: true}\n",
            "group_by_length is for rows of one sample each, and tokenization.packing makes rows of several",
        ),
        (
            "name: a\nbase_model: x\nsources: [{name: s, uri: u, heldout: true}]\n",
            "every source is held out, so nothing is left to train on; add a source that is not",
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
            "micro_batch_size is 2 and each process has 5 rows of a batch",
        ),
    ],
)
def test_faults_are_named_with_their_place(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(written(tmp_path, text))
    assert words in str(caught.value)


def test_each_of_several_faults_is_named_and_none_that_only_follows_from_another(tmp_path: Path) -> None:
    text = """
        name: Fancy Name
        sources: [{name: s, uir: u}, {name: t, uri: v, role: poetry}]
        evaluation: {benchmarks: [{name: b, uri: w, kind: essay}]}
        training: {method: {kind: lora, rnk: 2}, epochs: many}
        """
    path = written(tmp_path, text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert str(caught.value).splitlines() == [
        f"{path} cannot be used:",
        "  name: String should match pattern '^[a-z0-9][a-z0-9-]*$' (it is 'Fancy Name')",
        "  base_model: is missing; it has no default",
        "  sources.0.uri: is missing; it has no default",
        "  sources.0.uir: there is no such field; did you mean uri?",
        # Sources that cannot be read are there all the same: nothing is said of a list too short.
        "  sources.1.role: Input should be 'general', 'domain', 'code' or 'safety' (it is 'poetry')",
        "  training.method.rnk: there is no such field; did you mean rank?",
        "  training.epochs: Input should be a valid number, unable to parse string as a number (it is 'many')",
        "  evaluation.benchmarks.0.kind: Input should be "
        f"{', '.join(map(repr, [*KINDS][:-1]))} or {[*KINDS][-1]!r} (it is 'essay')",
    ]
    with pytest.raises(RecipeError) as caught:
        load_recipe(written(tmp_path, "name: a\nsources: []\n"))
    assert [fault.split(": ")[0].strip() for fault in str(caught.value).splitlines()[1:]] == ["base_model", "sources"]


def test_a_chat_template_is_named_by_its_file_or_written_out(workplace: Path) -> None:
    (workplace / "plain.jinja").write_text("{{ messages }}\n")
    given = [f"tokenization.chat_template={each}" for each in ("plain.jinja", "'{{ messages }}'", "gone.jinja")]
    named, written_out = (load_recipe(workplace / "recipe.yaml", [each]) for each in given[:2])
    assert named.tokenization.chat_template == "{{ messages }}\n"
    assert written_out.tokenization.chat_template == "{{ messages }}"
    with pytest.raises(RecipeError, match=r"chat_template is gone\.jinja, which cannot be read: .*No such file"):
        load_recipe(workplace / "recipe.yaml", given[2:])


def test_base_model_must_be_safe_and_there(workplace: Path, tmp_path: Path) -> None:
    model = tmp_path / "unsafe"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "pytorch_model.bin").write_bytes(b"anything may run from here")
    document = {**RECIPE, "base_model": str(model)}
    recipe = load_recipe(written(workplace, yaml.safe_dump(document)))
    with pytest.raises(ResourceError, match="holds no safetensors"):
        find_inputs(recipe)


def test_a_model_with_an_adapter_beside_it_is_refused_before_any_work(workplace: Path, tmp_path: Path) -> None:
    model = tmp_path / "adapted"
    shutil.copytree(BASE_MODEL, model)
    given = [f"base_model={model}", f"evaluation.judge={{model: {model}}}"]
    find_inputs(load_recipe(workplace / "recipe.yaml", given))
    (model / "adapter_config.json").write_text("{}")
    words = r"is .*adapted, which holds adapter_config\.json beside the model, by which an adapter would be loaded"
    for setting, field in zip(given, ("base_model", r"evaluation\.judge\.model"), strict=True):
        recipe = load_recipe(workplace / "recipe.yaml", [setting])
        for to_run in (True, False):
            with pytest.raises(ResourceError, match=f"{field} {words}"):
                find_inputs(recipe, to_run=to_run)


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
