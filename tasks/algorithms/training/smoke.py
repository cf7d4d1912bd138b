"""Judging the first steps of a run, before the rest is paid for: are its losses sound, and does it still write text?"""

import math
from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import NamedTuple, TypedDict

from tasks.algorithms.training.history import History

FEWEST_STEPS = 10
"""Fewer steps prove nothing against a rate that is still warming up."""
MUCH_WORSE = 1.2
"""A held-out loss above so many times the base's, and training no better than at first, is no passing unrest."""
FEWEST_TOKENS = 8
"""A shorter answer may well be one word again and again."""


class Generation(TypedDict):
    """What the model writes to a held-out prompt."""

    text: str
    """The answer without special tokens."""
    ended: bool
    """Whether it ended by an end-of-turn token, and not by the limit of its length."""
    tokens: int
    """How many tokens it has, without the end's."""


class Verdict(NamedTuple):
    """Sentences: what forbids to go on, and what should be known."""

    fatal: tuple[str, ...]
    warnings: tuple[str, ...]


def judge(
    history: History, base_heldout: float | None, heldout: float | None, generations: Sequence[Generation]
) -> Verdict:
    """The verdict on the steps so far; held-out losses are none where nothing is held out.

    Only what cannot become well is fatal: a loss that is not finite, one that rose far and does not fall, and answers
    that are all empty or all one token of a model that has not begun to learn. Many a sound run writes endless answers
    after 100 steps, so that is a warning.
    """
    fatal = [*_not_finite(history, heldout), *_risen(history, base_heldout, heldout)]
    broken = list(_broken(generations))
    learns = base_heldout is not None and heldout is not None and heldout < base_heldout
    if not learns and len(history) > FEWEST_STEPS:
        fatal += broken
    warnings = [] if fatal else [*_not_fallen(base_heldout, heldout), *broken, *_endless(generations)]
    return Verdict(tuple(fatal), tuple(warnings))


def _not_finite(history: History, heldout: float | None) -> Iterator[str]:
    for row in history:
        loss = row.get("loss")
        if loss is not None and not math.isfinite(loss):
            yield f"the loss is {loss} at step {row['step']}; lower the learning rate, or look at the rows of that step"
            return
    if heldout is not None and not math.isfinite(heldout):
        yield f"the held-out loss is {heldout}; lower the learning rate, or look at the held-out rows"


def _risen(history: History, base: float | None, heldout: float | None) -> Iterator[str]:
    losses = [loss for row in history if (loss := row.get("loss")) is not None]
    if base is None or heldout is None or len(losses) < FEWEST_STEPS or not heldout > MUCH_WORSE * base:
        return
    third = len(losses) // 3
    first, last = fmean(losses[:third]), fmean(losses[-third:])
    if max(losses[0], base) < last or first < last:
        yield (
            f"the held-out loss rose from {base:.3f} to {heldout:.3f} in {len(losses)} steps, and the training loss is "
            f"at {last:.3f} after {first:.3f}; the learning rate is too high, or the labels do not belong to their rows"
        )


def _broken(generations: Sequence[Generation]) -> Iterator[str]:
    if not generations:
        return
    if not any(each["text"].strip() for each in generations):
        yield (
            f"all {len(generations)} answers to held-out prompts are empty; see in `masks.html` what is trained, and "
            "whether the chat template is the base model's"
        )
    elif all(_is_one_token(each) for each in generations):
        text = generations[0]["text"].strip()[:40]
        yield (
            f"all {len(generations)} answers to held-out prompts are one token again and again ({text!r}); lower the "
            "learning rate"
        )


def _is_one_token(generation: Generation) -> bool:
    """True for a text that repeats a piece of the length which a token of it has on average."""
    text, tokens = generation["text"].strip(), generation["tokens"]
    if tokens < FEWEST_TOKENS or not text:
        return False
    longest = math.ceil(len(text) / tokens) + 1  # the first may have lost its space
    return any(text[period:] == text[:-period] for period in range(1, min(longest, len(text) - 1) + 1))


def _not_fallen(base: float | None, heldout: float | None) -> Iterator[str]:
    if base is not None and heldout is not None and heldout > base:
        yield f"the held-out loss is {heldout:.3f}, and the base's was {base:.3f}; it may fall yet, or the rate is high"


def _endless(generations: Sequence[Generation]) -> Iterator[str]:
    endless = sum(not each["ended"] for each in generations)
    if 2 * endless > len(generations):
        yield (
            f"{endless} of {len(generations)} answers to held-out prompts do not end by themselves; if that stays so, "
            "see whether the end-of-turn token is trained (`masks.html`)"
        )
