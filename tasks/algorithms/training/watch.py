"""Judging a run while it goes on: has it diverged, may it stop, and what is wrong with it."""

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from tasks.algorithms.training.diagnoses import RULES
from tasks.algorithms.training.history import Course, Diagnosis, Facts, History

__all__ = ["Diagnosis", "Facts", "History", "diagnose", "divergence", "should_stop"]

EXPLODED = 4.0
"""A loss above this many times ln(vocabulary), the loss of a uniform guess, and above twice the first loss, has
learned worse than nothing. (A base that never saw such text may well start above ln(vocabulary).)"""
EXPLODED_STEPS = 3
"""So many such steps in a row are no outlier."""
SPIKE_STEPS = 10
"""Spikes that Adam recovers from last a few steps; one that lasts for so many has lost what was learned."""
SPIKE_WINDOW, FEWEST_BEFORE = 50, 10
"""Steps before a spike that tell what the loss was like, and the fewest that can."""
SPIKE_DEVIATIONS = 6.0
"""Robust standard deviations (1.4826 × the median absolute deviation) above the median; ten steps in a row so far off
are no noise of small batches."""
_ADVICE = "Lower the learning rate, or look at the rows of that step."


def divergence(history: History, vocabulary: int) -> Diagnosis | None:
    """The run is lost: a loss or gradient that is not finite, a loss that has exploded, or a spike that stays.

    Looks at the latest steps alone, so it may be called after each.
    """
    if not history:
        return None
    latest = history[-1]
    for name, what in (("loss", "loss"), ("heldout_loss", "held-out loss"), ("grad_norm", "gradient")):
        value = latest.get(name)
        if value is not None and not math.isfinite(value):
            sentence = f"the {what} is {value} at step {latest['step']}"
            return _diverged(sentence, {"step": float(latest["step"])})
    return _exploded(history, vocabulary) or _spike(history)


def _exploded(history: History, vocabulary: int) -> Diagnosis | None:
    recent = _latest_losses(history, EXPLODED_STEPS)
    if len(recent) < EXPLODED_STEPS:
        return None
    first, guess = _first_loss(history), math.log(max(vocabulary, 2))
    limit = max(EXPLODED * guess, 2 * first)
    if min(recent) <= limit:
        return None
    step = history[-1]["step"]
    return _diverged(
        f"the loss is {recent[-1]:.4g} at step {step}, above {limit:.4g} for {EXPLODED_STEPS} steps; a uniform guess "
        f"has {guess:.4g}",
        {"step": float(step), "loss": recent[-1], "limit": limit, "uniform_guess": guess},
    )


def _spike(history: History) -> Diagnosis | None:
    """A loss that jumped above all that came before, and above where the run began, and does not come back."""
    losses = _latest_losses(history, SPIKE_WINDOW + SPIKE_STEPS)
    before, after = losses[:-SPIKE_STEPS], losses[-SPIKE_STEPS:]
    if len(before) < FEWEST_BEFORE:
        return None
    level = median(before)
    deviation = 1.4826 * median(abs(loss - level) for loss in before)
    limit = max(level + SPIKE_DEVIATIONS * deviation, 1.2 * _first_loss(history))
    if min(after) <= limit:
        return None
    begun = history[-SPIKE_STEPS]["step"]
    return _diverged(
        f"the loss jumped from {level:.4g} to {median(after):.4g} at step {begun} and has stayed above {limit:.4g} for "
        f"{SPIKE_STEPS} steps",
        {"step": float(begun), "before": level, "after": median(after), "limit": limit},
    )


def _diverged(sentence: str, evidence: dict[str, float]) -> Diagnosis:
    finite = {name: value for name, value in evidence.items() if math.isfinite(value)}
    return Diagnosis(name="divergence", sentence=sentence, evidence=finite, advice=_ADVICE)


def _latest_losses(history: History, most: int) -> list[float]:
    # Evaluations share the row of their step, so all rows but the base's have a loss.
    return [loss for row in history[-most:] if (loss := _loss(row)) is not None]


def _first_loss(history: History) -> float:
    return next(loss for row in history if (loss := _loss(row)) is not None)


def _loss(row: Mapping[str, Any]) -> float | None:
    loss: float | None = row.get("loss")
    return loss if loss is not None and math.isfinite(loss) else None


def diagnose(history: History, facts: Facts) -> tuple[Diagnosis, ...]:
    """What the course so far shows, the gravest first; nothing where all is well or too little is known.

    Called after an evaluation, and at the end or after a divergence, whose cause it then names.
    """
    course = Course.of(history)
    if course is None:
        return ()
    found = (rule(course, facts) for rule in RULES)
    return tuple(each for each in found if each is not None)


def should_stop(heldout_losses: Sequence[float], patience: int, min_delta: float) -> bool:
    """Whether none of the latest `patience` evaluations is lower than the best before them by `min_delta` or more.

    Improvements smaller than that add up: each is compared with the last that counted (Prechelt, "Early Stopping –
    But When?", 1998). The first loss may be the base's.
    """
    if not heldout_losses:
        return False
    reference, since = heldout_losses[0], 0
    for loss in heldout_losses[1:]:
        improved = loss <= reference - min_delta and loss < reference
        reference, since = (loss, 0) if improved else (reference, since + 1)
    return since >= patience
