"""Labels from character spans: one tokenisation of the whole text decides, so nothing can shift."""

from collections.abc import Sequence

from tasks.algorithms.rendering import Span

NOT_TRAINED = -100
"""The label that the loss ignores."""


def labels(ids: Sequence[int], offsets: Sequence[Span], trained: Sequence[Span]) -> list[int]:
    """The id of each token that shares a character with a trained span, −100 for all others.

    Offsets and spans are half-open character ranges of one text, both in order.
    """
    made = [NOT_TRAINED] * len(ids)
    current = 0
    for index, (begin, end) in enumerate(offsets):
        while current < len(trained) and trained[current][1] <= begin:
            current += 1
        if current < len(trained) and end > trained[current][0] and begin < end:
            made[index] = ids[index]
    return made
