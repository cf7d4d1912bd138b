"""Places in texts: how far two of them agree, where tokens and pieces end, what lies within a range."""

import re
from collections.abc import Sequence

Span = tuple[int, int]

_HALF_TOKEN = re.compile(r"<[^<>]*$|\[[^\[\]]*$")
"""What two different tokens behind an answer have in common: the `<|` of `<|user|>` and `<|endoftext|>`."""


def shared(left: str, right: str) -> int:
    """How many characters two texts have in common at their beginning."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def whole_tokens(text: str, begin: int, end: int) -> int:
    """The end of a range of a text, less what may be the beginning of a token such as `<|user|>`."""
    return begin + len(_HALF_TOKEN.sub("", text[begin:end]))


def ends(pieces: Sequence[str], limit: int) -> set[int]:
    """Where each of the pieces of a text ends, up to a place."""
    found, place = set(), 0
    for piece in pieces:
        place += len(piece)
        if place > limit:
            break
        found.add(place)
    return found


def clipped(spans: Sequence[Span], begin: int, end: int) -> list[Span]:
    """What of some spans lies within a range."""
    inside = ((max(first, begin), min(last, end)) for first, last in spans)
    return [(first, last) for first, last in inside if first < last]
