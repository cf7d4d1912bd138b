"""Attention of samples of unequal length without a mask: those of similar length go together, padded on the right."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch.nn.functional import scaled_dot_product_attention

GROUP_COST = 10_000
"""What one more group costs, in pairs of tokens that attention compares; four times as much changes little."""

MOST_GROUPED = 512
"""Samples are grouped in steps of their count over this, so that the search stays short in rows of very many."""


class Plan(NamedTuple):
    """How the tokens of a flat row are put into groups of padded samples, and back."""

    shapes: tuple[tuple[int, int], ...]
    """Samples and padded length of each group; groups lie behind one another."""
    there: torch.Tensor
    """Of each place in the groups, the token that stands there; padding repeats a token."""
    back: torch.Tensor
    """Of each token, its place in the groups."""
    padding: torch.Tensor
    """The places that hold padding."""


@lru_cache(maxsize=32)
def plan(bounds: tuple[int, ...]) -> Plan:
    """The cheapest grouping of samples with these bounds: padding against the cost of one more group."""
    lengths = [end - begin for begin, end in pairwise(bounds)]
    order = sorted(range(len(lengths)), key=lambda number: (lengths[number], number))
    shapes, there, padding = [], [], []
    back = torch.empty(bounds[-1], dtype=torch.long)
    filled = 0
    for first, last in _cuts([lengths[number] for number in order]):
        longest = lengths[order[last - 1]]
        shapes.append((last - first, longest))
        for number in order[first:last]:
            places = torch.arange(longest)
            back[bounds[number] : bounds[number + 1]] = filled + places[: lengths[number]]
            there.append(bounds[number] + places.clamp(max=lengths[number] - 1))
            padding.append(filled + places[lengths[number] :])
            filled += longest
    return Plan(tuple(shapes), torch.cat(there), back, torch.cat(padding))


def _cuts(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Consecutive ranges of ascending lengths with the least sum of `GROUP_COST + n · longest²`."""
    step = -(-len(lengths) // MOST_GROUPED)
    ends = [*range(step, len(lengths), step), len(lengths)]
    least: dict[int, tuple[int, int]] = {0: (0, 0)}
    """Of an end, the cost of all before it and where its last range begins."""
    for end in ends:
        squared = lengths[end - 1] ** 2
        least[end] = min(
            (cost + GROUP_COST + (end - begin) * squared, begin) for begin, (cost, _) in least.items()
        )  # fmt: skip
    found = []
    end = len(lengths)
    while end:
        begin = least[end][1]
        found.append((begin, end))
        end = begin
    return found[::-1]


class _Grouped(torch.autograd.Function):
    """Tokens (tokens, …) into the groups of a plan. Copies rows both ways, as adding up by index is slow on CPUs."""

    @staticmethod
    def forward(ctx: Any, tokens: torch.Tensor, there: torch.Tensor, back: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(back)
        return tokens.index_select(0, there)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (back,) = ctx.saved_tensors
        return gradients[0].index_select(0, back), None, None  # nothing flows back through padding


class _Ungrouped(torch.autograd.Function):
    """The way back from the groups of a plan; padding is dropped, and has no gradient."""

    @staticmethod
    def forward(
        ctx: Any, grouped: torch.Tensor, there: torch.Tensor, back: torch.Tensor, padding: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(there, padding)
        return grouped.index_select(0, back)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        there, padding = ctx.saved_tensors
        return gradients[0].index_select(0, there).index_fill_(0, padding, 0), None, None, None


def by_groups(
    states: list[torch.Tensor], planned: Plan, dropout: float, scaling: float | None, window: int | None
) -> torch.Tensor:
    """Of query, key and value (tokens, heads, width) each."""
    there, back, padding = (each.to(states[0].device) for each in planned[1:])
    sizes = [samples * longest for samples, longest in planned.shapes]
    columns = [_Grouped.apply(each.flatten(1), there, back).split(sizes) for each in states]  # type: ignore[no-untyped-call]
    outs = []
    for (samples, longest), *grouped in zip(planned.shapes, *columns, strict=True):
        query, key, value = (
            each.view(samples, longest, *whole.shape[1:]).transpose(1, 2)
            for each, whole in zip(grouped, states, strict=True)
        )
        mask = None if window is None or longest <= window else _band(longest, window, there.device)
        out = scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=mask,
            dropout_p=dropout,
            is_causal=mask is None,
            scale=scaling,
            enable_gqa=states[0].shape[1] != states[1].shape[1],
        )
        outs.append(out.transpose(1, 2).flatten(0, 1).flatten(1))
    found: torch.Tensor = _Ungrouped.apply(torch.cat(outs), there, back, padding)  # type: ignore[no-untyped-call]
    return found.view(len(back), states[0].shape[1], states[2].shape[2])


def _band(longest: int, window: int, device: torch.device) -> torch.Tensor:
    places = torch.arange(longest, device=device)
    ago = places[:, None] - places
    return (ago >= 0) & (ago < window)
