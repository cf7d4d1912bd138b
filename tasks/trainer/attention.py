"""Attention of a flat batch: samples behind one another in one row, each seeing itself only, and no mask at all.

transformers calls it under the name `VARLEN` and passes on where samples begin (`cu_seq_lens_q`, `max_length_q`). On
GPUs in half precision torch's own variable-length kernel computes it (`torch.nn.attention.varlen`). Elsewhere samples
of similar length are put under one another, padded on the right, which under causality no sample sees, and go through
`scaled_dot_product_attention`: work grows with the samples' lengths squared, not with the row's.

Whatever comes without `cu_seq_lens_q` (one text, a padded batch, generation with a cache) is computed as by sdpa.
"""

from typing import Any, cast

import torch
from torch.nn.functional import pad
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask
from transformers.utils.import_utils import is_flash_attn_2_available

from tasks.trainer.grouping import by_groups, plan

VARLEN = "varlen"
"""The name under which transformers knows this attention, once this module is imported."""

HALF = (torch.bfloat16, torch.float16)

WIDEST_HEAD = 256
"""Of the variable-length kernel."""

REFUSED = {"softcap": "scores are capped", "s_aux": "there are attention sinks", "position_bias": "scores are biased"}
"""Arguments of other attentions that torch's kernels cannot follow, and what each means."""


def candidates(asked: str, device_type: str, dtype: torch.dtype) -> tuple[str, ...]:
    """The attentions to try, best first; only the one asked for, unless that is auto."""
    if asked != "auto":
        return (asked,)
    flash = device_type == "cuda" and dtype in HALF and is_flash_attn_2_available()
    return (*(["flash_attention_2"] if flash else []), VARLEN, "sdpa", "eager")


def varlen_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **named: Any,
) -> tuple[torch.Tensor, None]:
    """From (rows, heads, tokens, width) to (rows, tokens, heads, width); keys and values may have fewer heads.

    Raises `ValueError` for what torch's kernels cannot compute; `scaled_dot_product_attention` has the formula.
    """
    for name, meaning in REFUSED.items():
        if named.get(name) is not None:
            raise ValueError(
                f"attention {VARLEN} cannot compute this model: {meaning} ({name}). Set training.attention to eager."
            )
    bounds = named.pop("cu_seq_lens_q", None)
    if bounds is None and attention_mask is None and len(query) == 1 and key.shape[2] == query.shape[2]:
        bounds = _bounds(query, named.get("position_ids"), sliding_window)
    if bounds is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **named
        )
    _refuse_unpacked(module, query, key, attention_mask, named)
    flat = [states[0].transpose(0, 1) for states in (query, key, value)]
    if query.is_cuda and (half := _half(query)) is not None:
        longest = named.get("max_length_q") or int(bounds.diff().max())
        out = _by_kernel([states.to(half) for states in flat], bounds, longest, dropout, scaling, sliding_window)
    else:
        out = by_groups(flat, plan(tuple(bounds.tolist())), dropout, scaling, sliding_window)
    return out[None], None


def _by_kernel(
    states: list[torch.Tensor],
    bounds: torch.Tensor,
    longest: int,
    dropout: float,
    scaling: float | None,
    window: int | None,
) -> torch.Tensor:
    """As `_by_groups`, by the variable-length kernel, which CPU builds of torch lack."""
    from torch.nn.attention.varlen import varlen_attn

    query, key, value = states
    width = query.shape[-1]
    if dropout or width > WIDEST_HEAD:
        raise ValueError(
            f"attention {VARLEN} on GPUs knows no dropout and no head wider than {WIDEST_HEAD}; this model has dropout "
            f"{dropout:g} and heads of {width}. Set training.attention to sdpa."
        )
    value = pad(value, [0, width - value.shape[-1]])  # the kernel wants all of one width
    out = varlen_attn(
        query,
        key,
        value,
        bounds,
        bounds,
        longest,
        longest,
        scale=scaling,
        window_size=(-1 if window is None or longest <= window else window - 1, 0),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return cast(torch.Tensor, out)[..., : states[2].shape[-1]]  # it gives more only where asked to


def _half(query: torch.Tensor) -> torch.dtype | None:
    """The half precision to compute in, if any: under autocast, rotary embeddings have made float32 of it."""
    dtype = query.dtype
    if dtype == torch.float32 and torch.is_autocast_enabled(query.device.type):
        dtype = torch.get_autocast_dtype(query.device.type)
    return dtype if dtype in HALF else None


def _bounds(query: torch.Tensor, position_ids: torch.Tensor | None, window: int | None) -> torch.Tensor | None:
    """Where samples begin in one row without a mask, by restarting positions; None where sdpa computes it as well."""
    tokens = query.shape[2]
    begins = torch.empty(0, dtype=torch.int64, device=query.device)
    if position_ids is not None and position_ids.numel() == tokens:
        begins = (position_ids.view(-1).diff() != 1).nonzero()[:, 0] + 1
    if not len(begins) and (window is None or tokens <= window):
        return None
    return torch.cat([begins.new_tensor([0]), begins, begins.new_tensor([tokens])]).to(torch.int32)


def _refuse_unpacked(
    module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None, named: dict[str, Any]
) -> None:
    causal = named.get("is_causal")
    if not (getattr(module, "is_causal", True) if causal is None else causal):
        raise ValueError(f"attention {VARLEN} is causal, and this model looks ahead. Set training.attention to sdpa.")
    if mask is not None or query.shape[0] > 1 or key.shape[2] != query.shape[2]:
        raise ValueError(
            f"attention {VARLEN} was given sample bounds for {query.shape[0]} rows of {query.shape[2]} tokens with "
            f"{key.shape[2]} keys{'' if mask is None else ' and a mask'}; bounds belong to one flat row without mask "
            "or cache. Drop cu_seq_lens_q or flatten the batch."
        )


def varlen_mask(*args: Any, **named: Any) -> torch.Tensor | None:
    """No mask for one row without padding or cache; what sdpa takes for all else."""
    if getattr(named["config"], "attention_chunk_size", None) is not None:
        raise ValueError(
            f"attention {VARLEN} cannot compute this model: it attends in chunks (attention_chunk_size). "
            "Set training.attention to sdpa."
        )
    alone = named["batch_size"] == 1 and named["q_length"] == named["kv_length"] and not named["q_offset"]
    if alone and named.get("attention_mask") is None and not named.get("use_vmap", False):
        return None
    mask: torch.Tensor | None = sdpa_mask(*args, **named)
    return mask


AttentionInterface.register(VARLEN, varlen_attention)
AttentionMaskInterface.register(VARLEN, varlen_mask)
