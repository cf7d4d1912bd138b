"""From single verdicts to a score for each prompt, and what they say of the judge itself."""

from collections.abc import Iterable, Sequence
from typing import Literal

Verdict = Literal["first", "second", "tie"]
"""Which of two answers was better, by the place in which the judge saw it."""

WORTH: dict[Verdict, float] = {"first": 0.0, "tie": 0.5, "second": 1.0}
"""What a verdict is worth to the answer shown second."""


def contest_score(forward: Verdict, backward: Verdict) -> float:
    """What the right answer of a pair won, from 0 to 1: the mean of two orders, in the second of which it stood first.

    A judge who always prefers the same place gives every pair one half, as it should be.
    """
    return (WORTH[forward] + 1 - WORTH[backward]) / 2


def first_position_rate(verdicts: Iterable[Verdict]) -> float | None:
    """Of the verdicts that name a winner, the share that name the answer shown first; none where nobody won."""
    decided = [verdict for verdict in verdicts if verdict != "tie"]
    return sum(verdict == "first" for verdict in decided) / len(decided) if decided else None


def consistency(orders: Sequence[tuple[Verdict, Verdict]]) -> float | None:
    """The share of pairs for which both orders named the same answer, or both a tie."""
    if not orders:
        return None
    return sum(WORTH[forward] == 1 - WORTH[backward] for forward, backward in orders) / len(orders)
