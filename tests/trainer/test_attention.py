"""Variable-length attention gives each sample what it gets alone, forward and backward, in real architectures."""

import random
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    GptOssConfig,
    Llama4TextConfig,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    Qwen2Config,
    Qwen3Config,
    Qwen3MoeConfig,
)

from tasks.trainer.attention import VARLEN, candidates
from tasks.trainer.grouping import plan

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")  # peft asks for it

VOCABULARY = 60
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": 2,
}
WITHOUT_GQA = {name: value for name, value in SIZES.items() if name not in ("head_dim", "num_key_value_heads")}
WINDOW = 8
MIXED = ["sliding_attention", "full_attention"]
NO_DROPOUT: dict[str, Any] = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}
MODELS: dict[str, Callable[[], Any]] = {
    "llama": lambda: LlamaConfig(**SIZES),
    "qwen2": lambda: Qwen2Config(**SIZES),
    "qwen2-window": lambda: Qwen2Config(**SIZES, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=1),
    "qwen3": lambda: Qwen3Config(**SIZES),
    "qwen3-moe": lambda: Qwen3MoeConfig(**SIZES, moe_intermediate_size=16, num_experts=4, num_experts_per_tok=2),
    "mistral-window": lambda: MistralConfig(**SIZES, sliding_window=WINDOW),
    "phi3": lambda: Phi3Config(**WITHOUT_GQA, sliding_window=WINDOW),
    "gemma3-window": lambda: Gemma3TextConfig(**SIZES, sliding_window=WINDOW, layer_types=MIXED),
    "cohere": lambda: CohereConfig(**SIZES),
    "gpt2": lambda: GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=256, **NO_DROPOUT),
    "gpt-neox": lambda: GPTNeoXConfig(**WITHOUT_GQA),
}
LENGTHS = {
    "mixed": [5, 1, 30, 7, 7, 1, 19],
    "one": [17],
    "single tokens": [1, 1, 1],
    "hundred": [1 + number * 7 % 23 for number in range(100)],
}


def made(config: Any, attention: str = VARLEN) -> Any:
    torch.manual_seed(0)
    create: Any = AutoModelForCausalLM.from_config
    model = create(config, attn_implementation=attention)
    for weight in model.parameters():  # initial weights are so small that attention would be all but uniform
        weight.data += 0.1 * torch.randn_like(weight)
    return model


def texts(lengths: Sequence[int]) -> list[torch.Tensor]:
    chosen = torch.Generator().manual_seed(1)
    return [torch.randint(3, VOCABULARY, (1, length), generator=chosen) for length in lengths]


def flat(samples: Sequence[torch.Tensor]) -> dict[str, Any]:
    lengths = [sample.shape[1] for sample in samples]
    bounds = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)
    longest = max(lengths)
    return {
        "input_ids": torch.cat(list(samples), 1),
        "position_ids": torch.cat([torch.arange(length) for length in lengths])[None],
        "cu_seq_lens_q": bounds,
        "cu_seq_lens_k": bounds,
        "max_length_q": longest,
        "max_length_k": longest,
    }


def differentiate(loss: Any) -> None:
    """Typed, which torch's own method is not."""
    loss.backward()


def gradients(model: Any) -> torch.Tensor:
    found = torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])
    model.zero_grad(set_to_none=True)
    return found


def weighed(logits: torch.Tensor) -> torch.Tensor:
    """A number that depends on every logit."""
    return (logits * torch.linspace(-1, 1, logits.shape[-1])).sum()


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
@pytest.mark.parametrize("name", MODELS)
def test_every_sample_gets_the_logits_and_gradients_that_it_has_alone(name: str, lengths: list[int]) -> None:
    packed, alone = made(MODELS[name]()), made(MODELS[name](), "sdpa")
    samples = texts(lengths)
    together = packed(**flat(samples), use_cache=False).logits
    differentiate(weighed(together))
    apart = [alone(input_ids=sample, use_cache=False).logits for sample in samples]
    differentiate(weighed(torch.cat(apart, 1)))
    torch.testing.assert_close(together, torch.cat(apart, 1), atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(gradients(packed), gradients(alone), atol=2e-4, rtol=1e-3)


def test_a_changed_sample_moves_no_bit_of_another() -> None:
    model = made(LlamaConfig(**SIZES)).eval()
    samples = texts([5, 30, 7, 19])
    changed = [samples[0], (samples[1] + 1) % VOCABULARY, *samples[2:]]
    with torch.no_grad():
        before, after = (model(**flat(each), use_cache=False).logits for each in (samples, changed))
    assert torch.equal(before[:, :5], after[:, :5])
    assert torch.equal(before[:, 35:], after[:, 35:])
    assert not torch.equal(before[:, 5:35], after[:, 5:35])


def test_the_same_batch_gives_the_same_bits() -> None:
    found = []
    for _ in range(2):
        plan.cache_clear()
        model = made(LlamaConfig(**SIZES))
        logits = model(**flat(texts(LENGTHS["hundred"])), use_cache=False).logits
        differentiate(weighed(logits))
        found.append((logits.detach(), gradients(model)))
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_positions_that_restart_keep_samples_apart_without_bounds() -> None:
    model = made(LlamaConfig(**SIZES)).eval()
    given = flat(texts([5, 1, 30]))
    short = {name: given[name] for name in ("input_ids", "position_ids")}
    assert torch.equal(model(**short, use_cache=False).logits, model(**given, use_cache=False).logits)


@pytest.mark.parametrize("name", ["llama", "mistral-window", "gpt2"])
def test_without_bounds_it_is_sdpa(name: str) -> None:
    ours, theirs = made(MODELS[name]()).eval(), made(MODELS[name](), "sdpa").eval()
    ids = torch.cat(texts([20, 20]))
    mask = torch.ones_like(ids)
    mask[0, :6] = 0
    for given in ({"input_ids": ids[:1]}, {"input_ids": ids}, {"input_ids": ids, "attention_mask": mask}):
        torch.testing.assert_close(ours(**given).logits[-1:], theirs(**given).logits[-1:], atol=2e-5, rtol=1e-4)
    options = {"attention_mask": mask, "max_new_tokens": 12, "do_sample": False}
    assert torch.equal(ours.generate(ids, **options), theirs.generate(ids, **options))


def test_gradient_checkpointing_changes_no_gradient() -> None:
    found = []
    for checkpointed in (False, True):
        model = made(LlamaConfig(**SIZES)).train()
        if checkpointed:
            model.activation_checkpointing_enable()
        differentiate(weighed(model(**flat(texts(LENGTHS["mixed"])), use_cache=False).logits))
        found.append(gradients(model))
    assert torch.equal(*found)


def test_adapters_learn_what_they_learn_from_samples_alone() -> None:
    samples = texts(LENGTHS["mixed"])
    found = []
    for attention in (VARLEN, "sdpa"):
        torch.manual_seed(0)
        base = made(LlamaConfig(**SIZES), attention)
        model = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False))
        batches = [flat(samples)] if attention == VARLEN else [{"input_ids": sample} for sample in samples]
        differentiate(weighed(torch.cat([model(**batch, use_cache=False).logits for batch in batches], 1)))
        found.append(gradients(model))
    torch.testing.assert_close(*found, atol=2e-4, rtol=1e-3)


def test_dropout_drops() -> None:
    model = made(LlamaConfig(**SIZES, attention_dropout=0.5)).train()
    batch = flat(texts([9, 12]))
    assert not torch.equal(model(**batch, use_cache=False).logits, model(**batch, use_cache=False).logits)
    assert torch.isfinite(model(**batch, use_cache=False).logits).all()


@pytest.mark.parametrize(
    ("config", "meaning"),
    [(Gemma2Config(**SIZES), "scores are capped"), (GptOssConfig(**SIZES, num_local_experts=2), "attention sinks")],
    ids=["gemma2", "gpt-oss"],
)
def test_what_torchs_kernels_cannot_compute_is_refused(config: Any, meaning: str) -> None:
    with pytest.raises(ValueError, match=f"{meaning}.*Set training.attention to eager"):
        made(config)(**flat(texts([4, 5])), use_cache=False)


def test_attention_in_chunks_is_refused() -> None:
    config = Llama4TextConfig(**SIZES, intermediate_size_mlp=48, num_local_experts=2, attention_chunk_size=8)
    with pytest.raises(ValueError, match=r"it attends in chunks.*Set training\.attention to sdpa"):
        made(config)(**flat(texts([4, 5])), use_cache=False)


def test_bounds_of_several_rows_are_refused() -> None:
    given = flat(texts([4, 5]))
    given |= {name: given[name].expand(2, -1) for name in ("input_ids", "position_ids")}
    with pytest.raises(ValueError, match="given sample bounds for 2 rows of 9 tokens"):
        made(LlamaConfig(**SIZES))(**given, use_cache=False)


@pytest.mark.parametrize("seed", range(5))
def test_a_plan_holds_every_token_once_and_samples_whole(seed: int) -> None:
    lengths = random.Random(seed).choices(range(1, 400), k=random.Random(seed).randint(1, 1500))
    planned = plan((0, *accumulate(lengths)))
    places = sum(samples * longest for samples, longest in planned.shapes)
    assert len(planned.there) == places == sum(lengths) + len(planned.padding)
    assert torch.equal(planned.there[planned.back], torch.arange(sum(lengths)))
    assert set(planned.back.tolist()).isdisjoint(planned.padding.tolist())
    assert sum(samples for samples, _ in planned.shapes) == len(lengths)
    assert places < 1.5 * sum(lengths)


def test_auto_tries_the_fastest_first_and_a_named_one_stays_alone() -> None:
    assert candidates("auto", "cpu", torch.float32) == (VARLEN, "sdpa", "eager")
    assert candidates("auto", "cuda", torch.bfloat16)[-3:] == (VARLEN, "sdpa", "eager")
    assert candidates("auto", "cuda", torch.float32) == (VARLEN, "sdpa", "eager")
    assert candidates("eager", "cpu", torch.float32) == ("eager",)
