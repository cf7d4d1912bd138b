"""Which learning rates suit AdamW, by how much of the model learns and how large it is.

Larger models take lower rates. The anchors are the settings of published runs, widened to both sides: every weight of
Alpaca 7B and Llama 2 2e-5, Tülu 3 5e-6 at 8B and 2e-6 at 70B, SmolLM2 3e-4 at 1.7B and 1e-3 at 135M; adapters in
QLoRA (arXiv 2305.14314) 2e-4 up to 13B and 1e-4 above. An adapter wants about ten times the rate of full fine-tuning,
nearly whatever its rank (Schulman et al., "LoRA Without Regret", 2025). Models of a few million parameters: measured
on this project's own.
"""

import bisect
import math
from typing import Literal, NamedTuple

Learning = Literal["every weight", "some weights", "an adapter"]


class Rates(NamedTuple):
    """The lowest and the highest rate that is usual."""

    low: float
    high: float


_SIZES = (1e6, 1e8, 1e9, 7e9, 7e10)
_FULL = (Rates(5e-5, 5e-3), Rates(2e-5, 1e-3), Rates(1e-5, 2e-4), Rates(5e-6, 3e-5), Rates(1e-6, 2e-5))
_ADAPTER = (Rates(5e-4, 5e-2), Rates(2e-4, 5e-3), Rates(1e-4, 1e-3), Rates(1e-4, 5e-4), Rates(5e-5, 4e-4))
_HEAD_FACTOR = 10
"""A new head, or a few layers alone, cannot pull the rest of the model along, and so bear rates up to an adapter's."""


def usual_rates(learning: Learning, parameters: int) -> Rates:
    """The range for a model of so many parameters, between the anchors on logarithmic scales."""
    low, high = _between(_ADAPTER if learning == "an adapter" else _FULL, parameters)
    return Rates(low, high * _HEAD_FACTOR if learning == "some weights" else high)


def _between(anchors: tuple[Rates, ...], parameters: int) -> Rates:
    size = min(max(parameters, _SIZES[0]), _SIZES[-1])
    right = max(1, bisect.bisect_left(_SIZES, size))
    begin, end = _SIZES[right - 1], _SIZES[right]
    share = math.log(size / begin) / math.log(end / begin)
    (low, high), (lower, higher) = anchors[right - 1], anchors[right]
    return Rates(low * (lower / low) ** share, high * (higher / high) ** share)
