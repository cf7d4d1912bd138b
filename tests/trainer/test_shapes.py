"""Sizes of a model without its weights, and what each method would make of it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from tasks.methods import Dora, Elastic, FirstLayersFrozen, Full, LastLayers, Lora, Method
from tasks.trainer.shapes import learning_of, read_shapes

pytestmark = pytest.mark.filterwarnings("ignore:`(is_)?gradient_checkpointing:FutureWarning")

SIZES: dict[str, Any] = {
    "vocab_size": 90,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
METHODS: list[Method] = [
    Full(),
    Elastic(),
    Lora(rank=3),
    Lora(rank=3, target_modules=["q_proj", "down_proj"]),
    Dora(rank=3),
    LastLayers(layers=0),
    LastLayers(layers=2),
    FirstLayersFrozen(layers=1),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    LlamaForCausalLM(LlamaConfig(**SIZES)).save_pretrained(folder / "llama", max_shard_size="20KB")
    Qwen2ForCausalLM(Qwen2Config(**SIZES, tie_word_embeddings=True)).save_pretrained(folder / "qwen2")
    gpt2: Any = GPT2Config  # its constructor has no annotations
    GPT2LMHeadModel(gpt2(vocab_size=90, n_embd=32, n_layer=2, n_head=4)).save_pretrained(folder / "gpt2")
    return {name: folder / name for name in ("llama", "qwen2", "gpt2")}


@pytest.mark.parametrize("name", ["llama", "qwen2", "gpt2"])
def test_headers_and_a_configuration_alone_give_the_models_own_shapes(
    models: dict[str, Path], tmp_path: Path, name: str
) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(models[name])
    shapes = {key: tuple(weight.shape) for key, weight in model.named_parameters()}
    read = read_shapes(models[name])
    assert read.has_weights
    assert sorted(read.shapes.values()) == sorted(shapes.values())
    assert read.dimensions.parameters == model.num_parameters()
    (tmp_path / "config.json").write_bytes((models[name] / "config.json").read_bytes())
    built = read_shapes(tmp_path)
    assert not built.has_weights
    assert built.dimensions == read.dimensions


def test_dimensions_are_those_of_the_configuration(models: dict[str, Path]) -> None:
    found = read_shapes(models["qwen2"]).dimensions
    assert (found.layers, found.hidden, found.intermediate, found.vocabulary, found.tied) == (3, 32, 48, 90, True)
    assert (found.heads, found.kv_heads, found.head_dim, found.queries, found.keys) == (4, 2, 8, 32, 16)
    assert found.block_products == 3 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 48)
    assert not read_shapes(models["llama"]).dimensions.tied
    assert read_shapes(models["gpt2"]).dimensions.intermediate == 4 * 32


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("name", ["llama", "qwen2"])
def test_as_many_parameters_learn_as_the_method_itself_says(models: dict[str, Path], name: str, method: Method) -> None:
    model: Any = method.prepare(AutoModelForCausalLM.from_pretrained(models[name]))
    learned = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    base = read_shapes(models[name])
    learning = learning_of(method, base)
    assert learning.trainable == learned
    assert base.dimensions.parameters + learning.added == sum(weight.numel() for weight in model.parameters())


def test_weights_of_a_model_are_read_without_torch(models: dict[str, Path]) -> None:
    code = (
        "import sys, pathlib; from tasks.trainer.shapes import read_shapes; "
        f"read_shapes(pathlib.Path({str(models['llama'])!r})); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"hidden_size": 8, "num_attention_heads": 2}, "does not tell num_hidden_layers"),
        ({"num_local_experts": 8}, "a mixture of 8 experts"),
    ],
)
def test_sizes_that_cannot_be_told_are_named(
    models: dict[str, Path], tmp_path: Path, settings: dict[str, int], words: str
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(settings))
    (tmp_path / "model.safetensors").write_bytes((models["qwen2"] / "model.safetensors").read_bytes())
    with pytest.raises(ValueError, match=words):
        read_shapes(tmp_path)


def test_a_folder_without_a_configuration_or_with_a_broken_file_is_named(
    models: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"has no config\.json that can be read"):
        read_shapes(tmp_path)
    (tmp_path / "config.json").write_bytes((models["llama"] / "config.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{no header")
    with pytest.raises(ValueError, match=r"model\.safetensors has no header of a safetensors file"):
        read_shapes(tmp_path)


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (Lora(target_modules=["nowhere"]), "names nowhere, but the model has no such layer"),
        (LastLayers(layers=4), "method.layers is 4, but the model has 3 layers"),
        (FirstLayersFrozen(layers=3), "of which one must learn"),
    ],
)
def test_methods_that_do_not_fit_the_model_are_refused(models: dict[str, Path], method: Method, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        learning_of(method, read_shapes(models["llama"]))
