"""The loss of a flat batch from the hidden states that predict a trained token; no other logits are ever computed.

Logits come in chunks of tokens, and their gradients with them, so that a chunk is gone before the next one comes. As
in Liger's fused linear cross-entropy (arXiv:2410.10989) that takes three products with the head's weight; recomputing
the logits in the backward pass takes four.
"""

import math
from functools import wraps
from types import MethodType
from typing import Any

import torch
from torch.nn.functional import cross_entropy, linear
from torch.utils.checkpoint import checkpoint

from tasks.algorithms.training.memory import LOGITS_AT_ONCE
from tasks.trainer.batches import UNTRAINED

LEAST_TOKENS = 256
"""Of a chunk, however large the vocabulary: each reads the whole weight, and adds to the whole of its gradient."""

MULTIPLIERS = ("logit_scale", "output_multiplier", "lm_head_multiplier")
"""What families call the number that their logits are multiplied by."""


def trained_loss(model: Any, batch: dict[str, Any]) -> torch.Tensor:
    """Summed negative log-likelihood of a batch's trained tokens in nats; float32, differentiable, never averaged.

    The model is one that was given to `patch`, wrapped by peft, DDP or FSDP2 or not. Of the batch, `labels` and
    `position_ids` (1, tokens) tell which tokens are trained, or `trained_at` does, as `trained_places` gives it: a
    collator that adds it on the CPU saves a GPU the wait. All else is for the model.
    """
    inputs = {name: value for name, value in batch.items() if name not in ("labels", "trained_at")}
    places = batch["trained_at"] if "trained_at" in batch else trained_places(batch["labels"], batch["position_ids"])
    loss: torch.Tensor = model(**inputs, targets=batch["labels"].view(-1)[places], predicted_at=places - 1)
    return loss


def trained_places(labels: torch.Tensor, position_ids: torch.Tensor) -> torch.Tensor:
    """Where in a flattened batch tokens carry loss: labelled, and not the first of their sample; int64, ascending."""
    return ((labels != UNTRAINED) & (position_ids != 0)).view(-1).nonzero()[:, 0]


@torch.no_grad()
def heldout_loss(model: Any, batch: dict[str, Any]) -> tuple[torch.Tensor, int]:
    """As `trained_loss`, without gradients, and how many tokens it is summed over."""
    places = batch["trained_at"] if "trained_at" in batch else trained_places(batch["labels"], batch["position_ids"])
    return trained_loss(model, batch | {"trained_at": places}), len(places)


def patch(model: Any) -> None:
    """Teach a causal language model of transformers, bare or within peft, to give `trained_loss`.

    Its forward stays as it is but for `targets` and `predicted_at`. A model whose logits are made in a way unknown
    here is found out by a short forward pass, and computes all of its own logits.
    """
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    original = causal.forward
    scale, cap = scaling_of(causal.config.get_text_config())

    def loss_of(self: Any, targets: torch.Tensor, at: torch.Tensor, *args: Any, **named: Any) -> torch.Tensor:
        hidden = self.base_model(*args, **named, use_cache=False).last_hidden_state
        # peft and FSDP2 replace the head after patching, so it is looked up on each call.
        return head_loss(hidden.flatten(0, 1)[at], self.get_output_embeddings(), targets, scale, cap)

    def loss_of_own_logits(_: Any, targets: torch.Tensor, at: torch.Tensor, *args: Any, **named: Any) -> torch.Tensor:
        logits = original(*args, **named, use_cache=False).logits.flatten(0, 1)[at]
        return cross_entropy(logits.float(), targets, reduction="sum")

    known = _agree(causal, loss_of, loss_of_own_logits)

    @wraps(type(causal).forward)  # generation looks its arguments up there
    def forward(
        self: Any,
        *args: Any,
        targets: torch.Tensor | None = None,
        predicted_at: torch.Tensor | None = None,
        **named: Any,
    ) -> Any:
        if targets is None or predicted_at is None:
            return original(*args, **named)
        return (loss_of if known else loss_of_own_logits)(self, targets, predicted_at, *args, **named)

    causal.forward = MethodType(forward, causal)


def scaling_of(config: Any) -> tuple[float, float | None]:
    """By what a model's logits are multiplied, and to what they are then capped (None = not), by its configuration."""
    scale = next((value for name in MULTIPLIERS if (value := getattr(config, name, None)) is not None), 1.0)
    if divisor := getattr(config, "logits_scaling", None):
        scale = scale / divisor
    return float(scale), getattr(config, "final_logit_softcapping", None)


def head_loss(
    hidden: torch.Tensor, head: Any, targets: torch.Tensor, scale: float = 1.0, cap: float | None = None
) -> torch.Tensor:
    """Summed negative log-likelihood, float32, of targets (tokens,) by hidden states (tokens, width) and a head."""
    tokens = max(LEAST_TOKENS, LOGITS_AT_ONCE.get(hidden.device.type, LOGITS_AT_ONCE["cuda"]) // head.weight.shape[0])
    if type(head) is torch.nn.Linear:
        arguments = (hidden, head.weight, head.bias, targets, tokens, scale, cap, torch.is_grad_enabled())
        loss: torch.Tensor = _HeadLoss.apply(*arguments)  # type: ignore[no-untyped-call]
        return loss
    # A head that peft adapts, FSDP2 shards or a quantiser made computes its logits itself, again in the backward pass.
    total = (hidden.sum() * 0).float()
    for states, wanted in zip(torch.split(hidden, tokens), torch.split(targets, tokens), strict=True):
        total = total + checkpoint(_chunk_loss, head, states, wanted, scale, cap, use_reentrant=False)
    return total


def _chunk_loss(
    head: torch.nn.Module, hidden: torch.Tensor, targets: torch.Tensor, scale: float, cap: float | None
) -> torch.Tensor:
    logits = head(hidden).float() * scale
    if cap is not None:
        logits = torch.tanh(logits / cap) * cap
    return cross_entropy(logits, targets, reduction="sum")


class _HeadLoss(torch.autograd.Function):
    """The loss, and its gradients in the same pass; the backward pass only weighs them."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        tokens: int,
        scale: float,
        cap: float | None,
        differentiate: bool,
    ) -> torch.Tensor:
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
        needed = [
            torch.zeros_like(each, dtype=torch.float32) if each is not None and needs and differentiate else None
            for each, needs in zip((hidden, weight, bias), ctx.needs_input_grad, strict=False)
        ]
        loss = torch.zeros((), dtype=torch.float32, device=hidden.device)
        with torch.autocast(device, enabled=False):
            product, offset = weight.to(dtype), None if bias is None else bias.to(dtype)
            for begin in range(0, len(hidden), tokens):
                part = slice(begin, begin + tokens)
                states = hidden[part].to(dtype)
                logits = linear(states, product, offset)
                loss += _fold(logits, targets[part], scale, cap, differentiate)
                _add_gradients(needed, part, logits, states, product)
        given = [hidden.dtype, weight.dtype, weight.dtype]
        kept = (each if each is None else each.to(one) for each, one in zip(needed, given, strict=True))
        ctx.save_for_backward(*kept)
        return loss

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        weighed = (None if each is None else each * gradients[0] for each in ctx.saved_tensors)
        return (*weighed, None, None, None, None, None)


def _fold(
    logits: torch.Tensor, targets: torch.Tensor, scale: float, cap: float | None, differentiate: bool
) -> torch.Tensor:
    """The loss of a chunk (tokens, vocabulary), whose raw logits become the loss's gradient by them where asked to."""
    scaled = logits if scale == 1 else logits.float() * scale
    if cap is not None:
        scaled = torch.tanh(scaled.float() / cap)
    chances = torch.log_softmax(scaled if cap is None else scaled * cap, -1, dtype=torch.float32)
    wanted = chances.gather(1, targets[:, None])
    if differentiate:
        if scale == 1 and cap is None:
            torch.exp(chances, out=logits)
            logits.scatter_(1, targets[:, None], wanted.expm1().to(logits.dtype))
        else:
            slope = chances.exp_().scatter_(1, targets[:, None], wanted.expm1()).mul_(scale)
            logits.copy_(slope if cap is None else slope.mul_(1 - scaled.square()))
    return -wanted.sum()


def _add_gradients(
    needed: list[torch.Tensor | None], part: slice, slope: torch.Tensor, states: torch.Tensor, weight: torch.Tensor
) -> None:
    by_hidden, by_weight, by_bias = needed
    if by_hidden is not None:
        by_hidden[part] = slope @ weight
    if by_weight is not None and slope.dtype == by_weight.dtype:
        by_weight.addmm_(slope.T, states)
    elif by_weight is not None:
        by_weight += slope.T @ states
    if by_bias is not None:
        by_bias += slope.sum(0, dtype=torch.float32)


@torch.no_grad()
def _agree(causal: Any, one: Any, other: Any) -> bool:
    """Whether two ways to the loss of a few tokens give the same."""
    weight = causal.get_output_embeddings().weight
    ids = torch.arange(min(8, weight.shape[0]), device=weight.device)[None]
    was_training = causal.training
    causal.eval()
    expected = float(other(causal, ids[0, 1:], ids[0, :-1], input_ids=ids))
    try:
        found = float(one(causal, ids[0, 1:], ids[0, :-1], input_ids=ids))
    except (AttributeError, TypeError, ValueError):  # an architecture that is put together in another way
        found = math.nan
    causal.train(was_training)
    return abs(found - expected) <= max(1e-3, 4 * torch.finfo(weight.dtype).eps) * abs(expected)
