"""How much device memory training takes, before anything is loaded: the peak of one process, in bytes.

Weights that learn are held in float32 and computed with in the run's precision (autocast); where only adapters learn,
the base is held in the precision of the computation. So a model of P parameters of which A learn takes

- weights: 4 P where the base learns, else 2 P in bfloat16; 0.516 a parameter in 4 bits (NF4, scales quantised too);
  adapters 4 each;
- gradients: 4 A, which share the peak with the activations only where a step has several micro-batches;
- AdamW: 8 A, in float32; weights held back elastically 8 A more;
- casts: 2 for each weight of a linear layer that learns, as autocast keeps its bfloat16 copy until the backward pass;
- activations: what autograd keeps, a token and block, of flat rows with variable-length attention (below);
- head: logits come in chunks that are gone before the next, so only one chunk and two gradients of it are there.

What a block of Llama's kind keeps for its backward pass, a token, was read off its operations: for each norm its
input and what it divides by in float32 (and its normalised output, where its weight learns); queries, keys, values and
the result of attention, and a float32 logarithm a head; gate, its activation, up, and their product. A linear layer
that learns keeps its input: autocast makes each a copy of its own of a float32 input. Adapters in bfloat16 each keep a
copy of their input and of their inner product. With checkpointing a block keeps only its input, and one block at a time
computes the rest anew. Mixtures of experts and attention with a mask of tokens by tokens take more.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Literal

from pydantic import Field

from tasks.algorithms.training.sizes import AdaptedLayer, Dimensions, Learning
from tasks.config import Config

LOGITS_AT_ONCE: Mapping[str, int] = MappingProxyType({"cpu": 2**22, "cuda": 2**28})
"""Most logits of one chunk of the head: on CPUs few enough to stay in the cache, on GPUs enough for large products."""

CONTEXT_BYTES = 600 * 2**20
"""CUDA's own context with its kernels, and the workspace of its matrix products."""

QUANTISED_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Of a weight in NF4: 4 bits, a scale of 8 bits for 64 of them, a float32 for 256 scales (QLoRA, section 3)."""

ENOUGH_TOKENS: Mapping[str, int] = MappingProxyType({"cpu": 4096, "cuda": 16384})
"""Tokens of a forward pass, above which a larger one is hardly faster."""

SPARE = 0.08
"""Share of a device's memory that is left free: fragments, and what other batches need more."""

FLOAT32 = 4
_ADAM_BYTES = 8
_ANCHOR_BYTES = 8


class Load(Config):
    """How a process computes its part of a step."""

    rows: int = Field(1, ge=1)
    """Packed rows of one forward pass."""
    tokens: int = Field(ge=1)
    """Of all of them."""
    compute_bytes: Literal[2, 4]
    """Of a number in the precision of the computation."""
    checkpointing: bool
    """Whether activations are computed twice."""
    accumulates: bool
    """Whether a step has several micro-batches."""
    processes: int = Field(1, ge=1)
    sharded: bool = False
    """Whether the processes share weights, gradients and optimiser (FSDP2), instead of having them each (DDP)."""
    device: Literal["cpu", "cuda"] = "cuda"


class Memory(Config):
    """Bytes at the peak of one process."""

    weights: int
    gradients: int
    optimiser: int
    activations: int
    """With the head's chunk and the casts of weights."""
    context: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.optimiser + self.activations + self.context


def peak_memory(model: Dimensions, learning: Learning, load: Load) -> Memory:
    """The fullest moment of a step: when the backward pass begins, or when it ends and all gradients are there."""
    share = load.processes if load.sharded else 1
    copies = 2 if load.processes > 1 and not load.sharded else 1  # DDP sends gradients from buckets of its own
    gradients = FLOAT32 * learning.trainable * copies // share
    state = (_ADAM_BYTES + _ANCHOR_BYTES * learning.anchored) * learning.trainable // share
    weights = weight_bytes(model, learning, load.compute_bytes) // share
    if load.sharded:
        weights += 2 * FLOAT32 * model.parameters // (model.layers + 2)  # a block is gathered while the next one comes
    begins = _memory(load, weights, gradients * load.accumulates, state, _at_its_height(model, learning, load))
    ends = _memory(load, weights, gradients, state, 0)
    return max(begins, ends, key=lambda memory: memory.total)


def micro_batches(share: int, row_tokens: int, device: Literal["cpu", "cuda"], most: int | None = None) -> list[int]:
    """Rows of a forward pass to try, the largest first; all divide the rows of a step that one process has."""
    limit = most if most is not None else max(1, ENOUGH_TOKENS[device] // row_tokens)
    return [size for size in range(min(limit, share), 0, -1) if share % size == 0]


def largest_that_fits(
    model: Dimensions, learning: Learning, loads: Iterable[Load], device_bytes: int
) -> tuple[Load, Memory] | None:
    """The first of some loads that a device has memory for, and its memory; none where it has for none."""
    for load in loads:
        memory = peak_memory(model, learning, load)
        if memory.total <= (1 - SPARE) * device_bytes:
            return load, memory
    return None


def weight_bytes(model: Dimensions, learning: Learning, compute_bytes: int) -> int:
    """Of all weights, as they are held."""
    if learning.trains_base:
        return FLOAT32 * (model.parameters + learning.added)
    held = compute_bytes * (model.parameters - learning.quantised) + QUANTISED_BYTES * learning.quantised
    return round(held) + FLOAT32 * learning.added


def saved_bytes(model: Dimensions, learning: Learning, compute_bytes: int) -> int:
    """What autograd keeps of one block, a token, without checkpointing."""
    norms = 2 * FLOAT32 * (model.hidden + 1)
    attention = compute_bytes * 2 * (model.queries + model.keys) + FLOAT32 * model.heads
    mlp = compute_bytes * 3 * model.intermediate
    if learning.trains_base:
        norms += 2 * FLOAT32 * model.hidden
        # In float32 the layers behind a norm share its output.
        inputs = compute_bytes * model.hidden * (5 if compute_bytes < FLOAT32 else 2)
        return norms + attention + mlp + inputs + compute_bytes * model.intermediate
    return norms + attention + mlp + _adapter_bytes(learning, compute_bytes)


def _adapter_bytes(learning: Learning, compute_bytes: int) -> int:
    if learning.adapters is None:
        return 0
    layers, inner = learning.adapters.layers, learning.adapters.rank * len(learning.adapters.layers)
    copied = compute_bytes < FLOAT32 and not learning.quantised
    kept = sum(layer.inputs for layer in (layers if copied else _readers(layers)))
    found = compute_bytes * (kept + inner)
    if learning.adapters.dropout:
        found += sum((1 + compute_bytes * (not copied)) * layer.inputs for layer in layers)
    if learning.adapters.magnitudes:
        found += compute_bytes * 2 * sum(layer.outputs for layer in layers)
    return found


def _readers(layers: Iterable[AdaptedLayer]) -> Iterable[AdaptedLayer]:
    """One layer for each input that is kept for the adapters alone; the attention keeps its result by itself."""
    others = {layer.reads: layer for layer in layers if layer.reads != "other"}
    others.pop("attention output", None)
    return [*others.values(), *(layer for layer in layers if layer.reads == "other")]


def _at_its_height(model: Dimensions, learning: Learning, load: Load) -> int:
    """Activations, casts and what the head or a block needs for a moment, when the backward pass begins."""
    tokens, reached = load.tokens, model.layers - learning.first_block
    block = tokens * saved_bytes(model, learning, load.compute_bytes)
    stream = tokens * model.hidden * (FLOAT32 if learning.trains_base else load.compute_bytes)
    casts = load.compute_bytes * learning.learned_products if load.compute_bytes < FLOAT32 else 0
    last_norm = tokens * FLOAT32 * model.hidden * (2 if learning.trains_base else 1)
    head = last_norm + _head_bytes(model, learning, load, stream)
    moment = _moment_bytes(model, learning, load)
    if not load.checkpointing:
        return reached * block + casts + max(head, moment)
    one_block = block + moment + casts // model.layers
    return model.layers * stream + max(casts + head, one_block)


def _head_bytes(model: Dimensions, learning: Learning, load: Load, stream: int) -> int:
    """The hidden states that predict, their gradient, a chunk of logits with its float32 chances, and the weight's."""
    logits = min(LOGITS_AT_ONCE[load.device], load.tokens * model.vocabulary) * (load.compute_bytes + FLOAT32)
    gradient = load.tokens * model.hidden * FLOAT32
    weight = (FLOAT32 + load.compute_bytes) * model.head if learning.head_learns else 0
    cast = load.compute_bytes * model.head if learning.trains_base and load.compute_bytes < FLOAT32 else 0
    return stream + gradient + logits + weight + cast


def _moment_bytes(model: Dimensions, learning: Learning, load: Load) -> int:
    """Gradients that a block's own backward pass has at a time: inside the MLP, and along the stream."""
    inside = load.compute_bytes * (3 if learning.trains_base else 2) + (0 if learning.trains_base else FLOAT32)
    found = load.tokens * (inside * model.intermediate + 2 * FLOAT32 * model.hidden)
    widest = model.hidden * model.intermediate
    if learning.quantised:
        found += load.compute_bytes * widest  # one matrix at a time is taken back from its 4 bits
    if learning.adapters is not None and learning.adapters.magnitudes:
        # The length of its columns is taken in float32, of an identity matrix that goes through the adapter.
        found += FLOAT32 * (3 * widest + model.intermediate**2)
    return found


def _memory(load: Load, weights: int, gradients: int, optimiser: int, activations: int) -> Memory:
    return Memory(
        weights=weights,
        gradients=gradients,
        optimiser=optimiser,
        activations=activations,
        context=CONTEXT_BYTES if load.device == "cuda" else 0,
    )
