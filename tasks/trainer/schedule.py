"""When the learning rate rises and falls, and when held-out loss is measured."""

import math
from collections.abc import Callable


def learning_rate_factor(scheduler: str, warmup_ratio: float, total_steps: int) -> Callable[[int], float]:
    """The share of the highest learning rate at each step, counted from 0; never 0 within `total_steps`.

    transformers' own schedules start at 0, so the first step learns nothing, and a run of one step nothing at all.
    """
    warmup = math.ceil(total_steps * warmup_ratio) if total_steps > 1 else 0

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        progress = min(1.0, (step - warmup) / max(1, total_steps - warmup))
        if scheduler == "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * progress))
        return 1.0 - progress if scheduler == "linear" else 1.0

    return factor


def evaluation_steps(total_steps: int, evaluations: int) -> set[int]:
    """At most `evaluations` steps, evenly spread, the last one among them; empty when none is wanted."""
    return {math.ceil(total_steps * share / evaluations) for share in range(1, evaluations + 1)} - {0}
