"""Layers, norms, embeddings and heads are found in architectures that name and order them differently."""

from typing import Any

import pytest
import torch
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    GemmaConfig,
    GemmaForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from tasks.methods import FirstLayersFrozen, LastLayers, Lora
from tasks.methods.anatomy import anatomy

pytestmark = [
    # peft still uses these names itself; transformers calls them deprecated.
    pytest.mark.filterwarnings("ignore:`(is_)?gradient_checkpointing` is deprecated:FutureWarning"),
]

SHAPE: dict[str, Any] = {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
TOKENS: dict[str, Any] = {"bos_token_id": 1, "eos_token_id": 2}
LLAMA: dict[str, Any] = {**SHAPE, "intermediate_size": 64, "num_key_value_heads": 2}


def llama(**more: Any) -> Any:
    return LlamaForCausalLM(LlamaConfig(**LLAMA, **more))


MODELS = [
    (llama, ["model.embed_tokens"], "model.norm", "model.layers"),
    (lambda: Qwen2ForCausalLM(Qwen2Config(**LLAMA)), ["model.embed_tokens"], "model.norm", "model.layers"),
    (
        lambda: GemmaForCausalLM(GemmaConfig(**LLAMA, head_dim=8)),
        ["model.embed_tokens"],
        "model.norm",
        "model.layers",
    ),
    (
        lambda: GPT2LMHeadModel(GPT2Config(vocab_size=99, n_embd=32, n_layer=3, n_head=4, **TOKENS)),
        ["transformer.wte", "transformer.wpe"],
        "transformer.ln_f",
        "transformer.h",
    ),
    (
        lambda: OPTForCausalLM(OPTConfig(**SHAPE, **TOKENS, ffn_dim=64, word_embed_proj_dim=32)),
        ["model.decoder.embed_tokens", "model.decoder.embed_positions"],
        "model.decoder.final_layer_norm",  # made before the layers, called behind them
        "model.decoder.layers",
    ),
    (
        lambda: BloomForCausalLM(BloomConfig(vocab_size=99, hidden_size=32, n_layer=3, n_head=4)),
        ["transformer.word_embeddings", "transformer.word_embeddings_layernorm"],
        "transformer.ln_f",
        "transformer.h",
    ),
]


@pytest.mark.parametrize(
    ("make", "before", "norm", "layers"), MODELS, ids=["llama", "qwen2", "gemma", "gpt2", "opt", "bloom"]
)
def test_the_parts_are_found_and_frozen(make: Any, before: list[str], norm: str, layers: str) -> None:
    model = make()
    names = {id(module): name for name, module in model.named_modules()}
    parts = anatomy(model)
    assert [names[id(each)] for each in parts.before] == before
    assert [names[id(each)] for each in parts.layers] == [f"{layers}.{number}" for number in range(3)]
    assert [names[id(each)] for each in parts.after] == [norm]
    FirstLayersFrozen(layers=2).prepare(model)
    learning = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert {name.rsplit(".", 1)[0] for name in learning if not name.startswith(layers)} == (
        {norm} if parts.tied else {norm, "lm_head"}
    )
    assert {name for name in learning if name.startswith(layers)} == {
        name for name, _ in model.named_parameters() if name.startswith(f"{layers}.2.")
    }
    LastLayers(layers=1).prepare(model)
    learning = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert all(name.startswith((f"{layers}.2.", f"{norm}.", "lm_head.")) for name in learning)
    assert "lm_head.weight" in learning
    assert not model.get_input_embeddings().weight.requires_grad


@pytest.mark.parametrize("tie", [True, False])
def test_a_tied_head_gets_weights_of_its_own_that_survive_saving(tie: bool, tmp_path: Any) -> None:
    model = LastLayers(layers=0).prepare(llama(tie_word_embeddings=tie))
    embedding = model.get_input_embeddings().weight
    before = embedding.detach().clone()
    with torch.no_grad():
        model.lm_head.weight += 1
    model.save_pretrained(tmp_path)
    again = LlamaForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(again.get_input_embeddings().weight, before)
    assert torch.equal(again.lm_head.weight, model.lm_head.weight)
    assert not torch.equal(again.lm_head.weight, before)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (FirstLayersFrozen(layers=3), "method.layers is 3, but the model has 3 layers, .* freeze at most 2"),
        (LastLayers(layers=4), "method.layers is 4, but the model has 3 layers"),
        (Lora(target_modules=["q_proj", "qkv"]), "names qkv, but the model has no such layer; it has .*down_proj"),
    ],
)
def test_parts_that_the_model_has_not_are_refused_with_the_number(method: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        method.prepare(llama())


def test_a_model_without_a_list_of_layers_is_refused() -> None:
    model = llama()
    model.config.num_hidden_layers = 7
    with pytest.raises(ValueError, match="LlamaForCausalLM has no list of 7 layers"):
        LastLayers().prepare(model)


@pytest.mark.parametrize("targets", ["all-linear", ["c_attn"]])
def test_layers_that_hold_their_weights_transposed_get_adapters_without_a_word(targets: Any) -> None:
    model = GPT2LMHeadModel(GPT2Config(vocab_size=99, n_embd=32, n_layer=3, n_head=4, **TOKENS))
    prepared = Lora(rank=4, target_modules=targets).prepare(model)
    learning = {name.split(".lora_")[0] for name, weight in prepared.named_parameters() if weight.requires_grad}
    assert len(learning) == (12 if targets == "all-linear" else 3)
