"""The loss from the trained positions' hidden states equals that of all logits, and so do its gradients."""

from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import distributed
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma2Config,
    GPTNeoXConfig,
    GraniteConfig,
    LlamaConfig,
    PhiConfig,
    Qwen2Config,
)

from tasks.trainer import head
from tasks.trainer.attention import VARLEN
from tasks.trainer.head import head_loss, heldout_loss, patch, trained_loss, trained_places

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")  # peft asks for it

LENGTHS = [5, 1, 12, 7, 2]
SIZES: dict[str, Any] = {
    "vocab_size": 90,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "bos_token_id": 2,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
MODELS: dict[str, Callable[[], Any]] = {
    "llama": lambda: LlamaConfig(**SIZES),
    "tied": lambda: Qwen2Config(**SIZES, num_key_value_heads=2, tie_word_embeddings=True),
    "softcap": lambda: Gemma2Config(
        **SIZES, num_key_value_heads=2, head_dim=8, final_logit_softcapping=0.5, attn_logit_softcapping=None
    ),
    "granite": lambda: GraniteConfig(**SIZES, logits_scaling=0.25),
    "cohere": lambda: CohereConfig(**SIZES, logit_scale=3.0),
    "bias": lambda: PhiConfig(**SIZES),
    "gpt-neox": lambda: GPTNeoXConfig(**SIZES),
}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several chunks, the last of them not full."""
    monkeypatch.setattr(head, "LOGITS_AT_ONCE", {"cpu": 1, "cuda": 1})
    monkeypatch.setattr(head, "LEAST_TOKENS", 4)


def made(config: Any) -> Any:
    torch.manual_seed(0)
    create: Any = AutoModelForCausalLM.from_config
    model = create(config, attn_implementation=VARLEN)
    for weight in model.parameters():  # heads of random models give all tokens nearly the same chance
        weight.data += 0.2 * torch.randn_like(weight)
    return model


@pytest.fixture
def batch() -> dict[str, Any]:
    chosen = torch.Generator().manual_seed(1)
    ids = torch.randint(3, 90, (1, sum(LENGTHS)), generator=chosen)
    bounds = torch.tensor([0, *accumulate(LENGTHS)], dtype=torch.int32)
    labels = ids.clone()
    labels[0, 7:11] = -100
    return {
        "input_ids": ids,
        "labels": labels,
        "position_ids": torch.cat([torch.arange(length) for length in LENGTHS])[None],
        "cu_seq_lens_q": bounds,
        "cu_seq_lens_k": bounds,
        "max_length_q": max(LENGTHS),
        "max_length_k": max(LENGTHS),
    }


def by_all_logits(model: Any, batch: dict[str, Any]) -> torch.Tensor:
    logits = model(**{name: value for name, value in batch.items() if name != "labels"}).logits[0]
    labels = batch["labels"][0].masked_fill(batch["position_ids"][0] == 0, -100)
    return cross_entropy(logits[:-1].float(), labels[1:], reduction="sum")


def differentiate(loss: Any) -> None:
    """Typed, which torch's own method is not."""
    loss.backward()


def gradients(model: Any) -> torch.Tensor:
    found = torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])
    model.zero_grad(set_to_none=True)
    return found


def require_equal(model: Any, plain: Any, batch: dict[str, Any]) -> None:
    loss, wanted = trained_loss(model, batch), by_all_logits(plain, batch)
    assert (loss.dtype, loss.shape) == (torch.float32, ())
    torch.testing.assert_close(loss, wanted, rtol=1e-5, atol=1e-5)
    differentiate(loss / 7)
    differentiate(wanted / 7)
    torch.testing.assert_close(gradients(model), gradients(plain), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_loss_and_gradients_equal_those_of_all_logits(name: str, batch: dict[str, Any]) -> None:
    model, plain = made(MODELS[name]()), made(MODELS[name]())
    patch(model)
    require_equal(model, plain, batch)


def test_logits_that_are_made_in_an_unknown_way_are_all_computed(
    batch: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head, "MULTIPLIERS", ())
    model, plain = made(CohereConfig(**SIZES, logit_scale=3.0)), made(CohereConfig(**SIZES, logit_scale=3.0))
    patch(model)
    require_equal(model, plain, batch)


def test_other_calls_of_a_patched_model_are_as_before(batch: dict[str, Any]) -> None:
    model, plain = made(LlamaConfig(**SIZES)), made(LlamaConfig(**SIZES))
    patch(model)
    assert torch.equal(model(batch["input_ids"]).logits, plain(batch["input_ids"]).logits)
    tokens = [each.generate(batch["input_ids"][:, :5], max_new_tokens=5, do_sample=False) for each in (model, plain)]
    assert torch.equal(*tokens)


@pytest.mark.parametrize("targets", [["q_proj", "down_proj"], ["q_proj", "lm_head"]], ids=["body", "head, too"])
def test_adapters_learn_as_by_all_logits(batch: dict[str, Any], targets: list[str]) -> None:
    def adapted(patched: bool) -> Any:
        model = made(LlamaConfig(**SIZES))
        if patched:
            patch(model)
        torch.manual_seed(1)
        return get_peft_model(model, LoraConfig(r=4, target_modules=targets, init_lora_weights=False))

    require_equal(adapted(True), adapted(False), batch)


def test_a_head_that_peft_trains_whole_learns(batch: dict[str, Any]) -> None:
    model = made(LlamaConfig(**SIZES))
    patch(model)
    wrapped = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj"], modules_to_save=["lm_head"]))
    differentiate(trained_loss(wrapped, batch))
    head_gradients = [
        weight.grad for name, weight in wrapped.named_parameters() if "lm_head" in name and weight.requires_grad
    ]
    assert head_gradients
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in head_gradients)


def test_gradient_checkpointing_changes_nothing(batch: dict[str, Any]) -> None:
    model, plain = made(LlamaConfig(**SIZES)), made(LlamaConfig(**SIZES))
    patch(model)
    model.activation_checkpointing_enable()
    model.train()
    require_equal(model, plain, batch)


def test_the_places_may_come_with_the_batch(batch: dict[str, Any]) -> None:
    model = made(LlamaConfig(**SIZES))
    patch(model)
    marked = batch | {"trained_at": trained_places(batch["labels"], batch["position_ids"])}
    assert torch.equal(trained_loss(model, marked), trained_loss(model, batch))


def test_heldout_loss_is_the_same_sum_and_its_count(batch: dict[str, Any]) -> None:
    model = made(LlamaConfig(**SIZES))
    patch(model)
    loss, tokens = heldout_loss(model, batch)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, by_all_logits(model, batch), rtol=1e-5, atol=1e-5)
    assert tokens == sum(LENGTHS) - len(LENGTHS) - 4


def test_a_batch_without_trained_tokens_gives_zero_and_gradients_of_zero(batch: dict[str, Any]) -> None:
    model = made(LlamaConfig(**SIZES))
    patch(model)
    loss = trained_loss(model, batch | {"labels": torch.full_like(batch["labels"], -100)})
    differentiate(loss)
    assert loss.item() == 0
    assert gradients(model).abs().sum() == 0


def test_autocast_computes_in_half_precision_and_gives_gradients_in_full(batch: dict[str, Any]) -> None:
    model, plain = made(LlamaConfig(**SIZES)), made(LlamaConfig(**SIZES))
    patch(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, wanted = trained_loss(model, batch), by_all_logits(plain, batch)
    differentiate(loss)
    differentiate(wanted)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, wanted, rtol=0.01, atol=0)
    ours, theirs = gradients(model), gradients(plain)
    assert ours.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(ours, theirs, dim=0) > 0.995


@pytest.mark.parametrize("vocabulary", [1_000, 151_936])
def test_large_vocabularies_give_the_same_in_chunks(vocabulary: int) -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(16, vocabulary)
    hidden = torch.randn(9, 16, requires_grad=True)
    targets = torch.randint(0, vocabulary, (9,))
    for loss in (head_loss(hidden, layer, targets), cross_entropy(layer(hidden), targets, reduction="sum")):
        differentiate(loss)
    assert hidden.grad is not None
    both = [each.clone() for each in (hidden.grad, layer.weight.grad, layer.bias.grad) if each is not None]
    hidden.grad = None
    layer.zero_grad()
    differentiate(head_loss(hidden, layer, targets))
    ours = [each.clone() for each in (hidden.grad, layer.weight.grad, layer.bias.grad) if each is not None]
    for one, other in zip(both, ours, strict=True):
        torch.testing.assert_close(one, 2 * other, rtol=1e-4, atol=1e-5)


@pytest.fixture
def single_process(tmp_path: Any) -> Iterator[None]:
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.usefixtures("single_process")
@pytest.mark.parametrize("wrapper", ["ddp", "fsdp", "fsdp with a head of its own"])
def test_wrapped_models_give_the_same_loss_and_gradients(batch: dict[str, Any], wrapper: str) -> None:
    from torch.distributed.fsdp import fully_shard

    model, plain = made(LlamaConfig(**SIZES)), made(LlamaConfig(**SIZES))
    patch(model)
    if wrapper == "ddp":
        wrapped: Any = DistributedDataParallel(model)
    else:
        for layer in [*model.model.layers, *([model.lm_head] if "own" in wrapper else [])]:
            fully_shard(layer)
        wrapped = fully_shard(model)
    loss, wanted = trained_loss(wrapped, batch), by_all_logits(plain, batch)
    torch.testing.assert_close(loss, wanted, rtol=1e-5, atol=1e-5)
    differentiate(loss)
    differentiate(wanted)
    for ours, theirs in zip(wrapped.parameters(), plain.parameters(), strict=True):
        gradient = ours.grad.full_tensor() if hasattr(ours.grad, "full_tensor") else ours.grad
        torch.testing.assert_close(gradient, theirs.grad, rtol=1e-4, atol=1e-5)
