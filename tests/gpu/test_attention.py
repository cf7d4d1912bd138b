"""The variable-length kernel of torch gives each sample what it gets alone, and needs no flash-attn package.

Run by hand on a machine with a CUDA device: `make gpu`. Elsewhere these tests skip.
"""

from itertools import accumulate
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig

from tasks.trainer.attention import VARLEN

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.filterwarnings("ignore"),  # the libraries tell of their own future there
]

LENGTHS = [5, 130, 1, 64, 300]
SIZES: dict[str, Any] = {
    "vocab_size": 500,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
CONFIGS = {"llama": LlamaConfig(**SIZES), "mistral-window": MistralConfig(**SIZES, sliding_window=32)}


def made(config: Any, attention: str, dtype: torch.dtype) -> Any:
    torch.manual_seed(0)
    create: Any = AutoModelForCausalLM.from_config
    return create(config, attn_implementation=attention, dtype=dtype).to("cuda")


def texts() -> list[torch.Tensor]:
    chosen = torch.Generator().manual_seed(1)
    return [torch.randint(3, 500, (1, length), generator=chosen).to("cuda") for length in LENGTHS]


def flat(samples: list[torch.Tensor]) -> dict[str, Any]:
    bounds = torch.tensor([0, *accumulate(LENGTHS)], dtype=torch.int32, device="cuda")
    return {
        "input_ids": torch.cat(samples, 1),
        "position_ids": torch.cat([torch.arange(length) for length in LENGTHS])[None].to("cuda"),
        "cu_seq_lens_q": bounds,
        "cu_seq_lens_k": bounds,
        "max_length_q": max(LENGTHS),
        "max_length_k": max(LENGTHS),
    }


def gradients(logits: torch.Tensor, model: Any) -> torch.Tensor:
    loss: Any = (logits.float() * torch.linspace(-1, 1, logits.shape[-1], device="cuda")).mean()
    loss.backward()
    return torch.cat([weight.grad.flatten().float() for weight in model.parameters()])


@pytest.mark.parametrize("autocast", [False, True], ids=["weights in bfloat16", "autocast"])
@pytest.mark.parametrize("name", CONFIGS)
def test_every_sample_gets_in_half_precision_what_it_has_alone(name: str, autocast: bool) -> None:
    dtype = torch.float32 if autocast else torch.bfloat16
    packed, alone = made(CONFIGS[name], VARLEN, dtype), made(CONFIGS[name], "sdpa", dtype)
    with torch.autocast("cuda", dtype=torch.bfloat16, enabled=autocast):
        together = packed(**flat(texts()), use_cache=False).logits
        apart = torch.cat([alone(input_ids=sample, use_cache=False).logits for sample in texts()], 1)
    assert (together - apart).norm() < 0.02 * apart.norm()
    ours, theirs = gradients(together, packed), gradients(apart, alone)
    assert (ours - theirs).norm() < 0.03 * theirs.norm()


@pytest.mark.parametrize("name", CONFIGS)
def test_every_sample_gets_in_full_precision_what_it_has_alone(name: str) -> None:
    packed, alone = made(CONFIGS[name], VARLEN, torch.float32), made(CONFIGS[name], "sdpa", torch.float32)
    together = packed(**flat(texts()), use_cache=False).logits
    apart = torch.cat([alone(input_ids=sample, use_cache=False).logits for sample in texts()], 1)
    torch.testing.assert_close(together, apart, atol=1e-3, rtol=1e-3)


def test_dropout_is_refused() -> None:
    model = made(LlamaConfig(**SIZES, attention_dropout=0.1), VARLEN, torch.bfloat16).train()
    with pytest.raises(ValueError, match=r"knows no dropout.*Set training\.attention to sdpa"):
        model(**flat(texts()), use_cache=False)
