"""The memory that a plan states against what a 7B model takes on a GPU: a configuration, random weights, real steps.

Run by hand on a machine with a CUDA device that has the room: `make gpu`. Elsewhere these tests skip.
"""

import gc
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from tasks.algorithms.training.memory import Load, peak_memory
from tasks.methods import Full, Lora, Method
from tasks.trainer.head import patch, trained_loss
from tasks.trainer.shapes import learning_of, read_shapes
from tests.configurations import QWEN_7B

ROOM = 60 * 2**30
"""Bytes that the largest of these needs."""

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available() or torch.cuda.get_device_properties(0).total_memory < ROOM,
        reason="no CUDA device of 60 GiB",
    ),
    # The libraries tell of their own future there; what is asked here is how much memory they take.
    pytest.mark.filterwarnings("ignore"),
]

QWEN_HALF = QWEN_7B | {
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
}
SAMPLES = 4
"""In the flat row."""


@pytest.mark.parametrize(
    ("settings", "method", "tokens", "checkpointing"),
    [
        (QWEN_7B, Lora(rank=16), 4096, False),
        (QWEN_7B, Lora(rank=16), 8192, True),
        (QWEN_HALF, Full(), 8192, False),
        (QWEN_HALF, Full(), 8192, True),
    ],
    ids=["7b-lora", "7b-lora-checkpointed", "0.5b-full", "0.5b-full-checkpointed"],
)
def test_a_step_takes_the_memory_that_the_plan_states(
    tmp_path: Path, settings: dict[str, Any], method: Method, tokens: int, checkpointing: bool
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(settings))
    base = read_shapes(tmp_path)
    load = Load(tokens=tokens, compute_bytes=2, checkpointing=checkpointing, accumulates=True)
    said = peak_memory(base.dimensions, learning_of(method, base), load)
    measured = measured_peak(tmp_path, method, tokens, checkpointing=checkpointing)
    print(
        f"\n{method.kind} of {base.dimensions.parameters:,}, {tokens:,} tokens, checkpointing {checkpointing}: ", end=""
    )
    print(f"stated {(said.total - said.context) / 2**30:.2f}, measured {measured / 2**30:.2f} GiB", said)
    assert said.total - said.context == pytest.approx(measured, rel=0.15)


def measured_peak(folder: Path, method: Method, tokens: int, *, checkpointing: bool) -> int:
    """Most bytes allocated in the second of two steps of two micro-batches each."""
    import tasks.trainer.attention  # noqa: F401  # makes the attention known

    gc.collect()
    torch.cuda.empty_cache()
    held = torch.float32 if method.trains_base else torch.bfloat16
    make: Any = AutoModelForCausalLM.from_config  # transformers leaves it untyped
    with torch.device("cuda"):
        model = make(AutoConfig.from_pretrained(folder), dtype=held, attn_implementation="varlen")
    model = method.prepare(model).to("cuda")
    patch(model)
    model.train()
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], fused=True)
    batch = flat(tokens)
    for _ in range(2):
        torch.cuda.reset_peak_memory_stats()
        for _ in range(2):
            with torch.autocast("cuda", torch.bfloat16):
                loss = trained_loss(model, batch)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
        optimizer.zero_grad()
    return torch.cuda.max_memory_allocated()


def flat(tokens: int) -> dict[str, Any]:
    """A row of samples of one length, behind one another, all of it trained."""
    length = tokens // SAMPLES
    ids = torch.randint(0, 1000, (1, tokens), device="cuda")
    bounds = torch.arange(0, tokens + 1, length, dtype=torch.int32, device="cuda")
    return {
        "input_ids": ids,
        "labels": ids,
        "position_ids": torch.arange(length, device="cuda").repeat(SAMPLES)[None],
        "cu_seq_lens_q": bounds,
        "cu_seq_lens_k": bounds,
        "max_length_q": length,
        "max_length_k": length,
    }
