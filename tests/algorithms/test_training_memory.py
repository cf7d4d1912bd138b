"""The formula of training's memory against what autograd, torch's allocator and the optimiser really hold."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from tasks.algorithms.training.memory import (
    Load,
    largest_that_fits,
    micro_batches,
    peak_memory,
    saved_bytes,
    weight_bytes,
)
from tasks.methods import Dora, Elastic, FirstLayersFrozen, Full, LastLayers, Lora, Method, Qlora
from tasks.trainer.head import patch, trained_loss
from tasks.trainer.shapes import learning_of, read_shapes

# peft and transformers' own checkpointing ask for a name that transformers is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:`(is_)?gradient_checkpointing:FutureWarning")

TOKENS, VOCABULARY = 256, 128
METHODS: list[Method] = [
    Full(),
    Lora(rank=8),
    Lora(rank=4, target_modules=["q_proj", "v_proj"]),
    Dora(rank=4),
    LastLayers(layers=1),
    FirstLayersFrozen(layers=1),
]
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 176,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A Llama with a head of its own, and a Qwen2 whose head is the embedding."""
    folder = tmp_path_factory.mktemp("models")
    LlamaForCausalLM(LlamaConfig(**SIZES)).save_pretrained(folder / "llama")
    Qwen2ForCausalLM(Qwen2Config(**SIZES, tie_word_embeddings=True)).save_pretrained(folder / "qwen2")
    return {name: folder / name for name in ("llama", "qwen2")}


class Subject:
    """A small model as a method makes it ready, with two samples in a flat batch."""

    def __init__(self, folder: Path, method: Method, compute_bytes: int) -> None:
        import tasks.trainer.attention  # noqa: F401  # makes the attention known

        self.half = compute_bytes == 2
        held = torch.bfloat16 if self.half and not method.trains_base else torch.float32
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=held)
        model.set_attn_implementation("varlen")
        self.model = method.prepare(model)
        patch(self.model)
        self.model.train()
        sizes = [TOKENS // 2, TOKENS - TOKENS // 2]
        bounds = torch.tensor([0, sizes[0], TOKENS], dtype=torch.int32)
        ids = torch.arange(TOKENS)[None] % VOCABULARY
        self.batch = {
            "input_ids": ids,
            "labels": ids,
            "position_ids": torch.cat([torch.arange(size) for size in sizes])[None],
            "cu_seq_lens_q": bounds,
            "cu_seq_lens_k": bounds,
            "max_length_q": max(sizes),
            "max_length_k": max(sizes),
        }

    def loss(self) -> Any:
        """Differentiable; torch leaves `backward` untyped."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            return trained_loss(self.model, self.batch)

    def kept(self) -> int:
        """Bytes of the distinct storages that autograd keeps for the backward pass, weights aside."""
        weights = {weight.untyped_storage().data_ptr() for weight in self.model.parameters()}
        held: dict[int, torch.UntypedStorage] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                held[storage.data_ptr()] = storage
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            self.loss()
        return sum(storage.nbytes() for storage in held.values())

    def peak(self) -> int:
        """Most bytes that a forward and backward pass has allocated at a time, by torch's own records."""
        self.loss().backward()
        self.model.zero_grad(set_to_none=True)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
            self.loss().backward()
        profiler: Any = profile.profiler
        events = [event for event in profiler.kineto_results.events() if event.name() == "[memory]"]
        held = most = 0
        for event in sorted(events, key=lambda event: event.start_ns()):
            held += event.nbytes()
            most = max(most, held)
        return most


def load(compute_bytes: Any, **changes: Any) -> Load:
    settings = {"compute_bytes": compute_bytes, "checkpointing": False, "accumulates": False, "device": "cpu"}
    return Load(**{"tokens": TOKENS} | settings | changes)


@pytest.mark.parametrize("compute_bytes", [4, 2], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["llama", "qwen2"])
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.kind)
def test_blocks_keep_what_the_formula_says(
    folders: dict[str, Path], name: str, method: Method, compute_bytes: int
) -> None:
    base = read_shapes(folders[name])
    model, learning = base.dimensions, learning_of(method, base)
    said = TOKENS * saved_bytes(model, learning, compute_bytes) * (model.layers - learning.first_block)
    casts = compute_bytes * learning.learned_products if compute_bytes == 2 else 0
    stream = TOKENS * model.hidden * (4 if learning.trains_base else compute_bytes)
    last_norm = TOKENS * model.hidden * (8 if learning.trains_base else 4)
    head = 4 * model.head if learning.head_learns else 0
    kept = Subject(folders[name], method, compute_bytes).kept()
    assert said + casts + stream + last_norm + head == pytest.approx(kept, rel=0.15)


@pytest.mark.parametrize("compute_bytes", [4, 2], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.kind)
def test_weights_gradients_and_optimiser_are_exact(
    folders: dict[str, Path], method: Method, compute_bytes: int
) -> None:
    base = read_shapes(folders["qwen2"])
    learning = learning_of(method, base)
    subject = Subject(folders["qwen2"], method, compute_bytes)
    weights = list(subject.model.parameters())
    assert sum(each.nbytes for each in weights) == weight_bytes(base.dimensions, learning, compute_bytes)
    learned = [each for each in weights if each.requires_grad]
    optimizer = torch.optim.AdamW(learned, fused=True)
    subject.loss().backward()
    optimizer.step()
    memory = peak_memory(base.dimensions, learning, load(compute_bytes, accumulates=True))
    assert sum(each.grad.nbytes for each in learned if each.grad is not None) == memory.gradients
    states = [state for each in learned for state in (optimizer.state[each][key] for key in ("exp_avg", "exp_avg_sq"))]
    assert sum(state.nbytes for state in states) == memory.optimiser


@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "computed twice"])
@pytest.mark.parametrize("compute_bytes", [4, 2], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("method", [Full(), Lora(rank=8)], ids=lambda method: method.kind)
def test_a_forward_and_backward_pass_peaks_where_the_formula_says(
    folders: dict[str, Path], method: Method, compute_bytes: int, checkpointing: bool
) -> None:
    base = read_shapes(folders["llama"])
    subject = Subject(folders["llama"], method, compute_bytes)
    if checkpointing:
        subject.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    said = peak_memory(base.dimensions, learning_of(method, base), load(compute_bytes, checkpointing=checkpointing))
    assert said.activations + said.gradients == pytest.approx(subject.peak(), rel=0.15)


def test_what_takes_more_and_what_takes_less(folders: dict[str, Path]) -> None:
    base = read_shapes(folders["llama"])
    model = base.dimensions

    def total(method: Method, **changes: Any) -> int:
        return peak_memory(model, learning_of(method, base), load(2, **changes)).total

    assert total(Qlora(rank=4)) < total(Lora(rank=4)) < total(Dora(rank=4))
    assert total(LastLayers(layers=1)) < total(FirstLayersFrozen(layers=1)) < total(Full())
    assert total(Elastic()) == total(Full()) + 8 * model.parameters
    assert total(Full(), checkpointing=True) < total(Full())
    assert total(Full(), accumulates=True) > total(Full())
    assert total(Lora(dropout=0.1)) > total(Lora())
    assert total(Full(), processes=8, sharded=True) < total(Full(), processes=8)


def test_the_largest_micro_batch_without_checkpointing_goes_before_all_with_it(folders: dict[str, Path]) -> None:
    base = read_shapes(folders["llama"])
    model, learning = base.dimensions, learning_of(Full(), base)
    loads = [
        load(2, rows=rows, tokens=rows * TOKENS, checkpointing=checkpointing)
        for checkpointing in (False, True)
        for rows in micro_batches(12, TOKENS, "cpu", most=8)
    ]
    assert [each.rows for each in loads] == [6, 4, 3, 2, 1] * 2
    peaks = [peak_memory(model, learning, each).total for each in loads]
    for room, expected in ((peaks[0], loads[0]), (peaks[3], loads[3]), (peaks[4], loads[4])):
        found = largest_that_fits(model, learning, loads, round(room / 0.92) + 1)
        assert found is not None
        assert found[0] == expected
    last = largest_that_fits(model, learning, loads, round(peaks[9] / 0.92) + 1)
    assert last is not None
    assert last[0].checkpointing
    assert largest_that_fits(model, learning, loads, peaks[9]) is None
    assert micro_batches(16, 5000, "cuda") == [2, 1]
