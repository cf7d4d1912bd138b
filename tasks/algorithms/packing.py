"""Best-fit decreasing bin packing (Johnson 1973): long samples first, each into the fullest row that holds it."""

from bisect import bisect_left, insort
from collections.abc import Sequence


def pack(lengths: Sequence[int], capacity: int, order: Sequence[int] | None = None) -> list[list[int]]:
    """Rows of sample indices, none longer than the capacity; samples of one length are taken in the given order.

    O(n log m) for n samples and m different free spaces.
    """
    order = range(len(lengths)) if order is None else order
    rows: list[list[int]] = []
    by_space: dict[int, list[int]] = {}
    spaces: list[int] = []
    for index in sorted(order, key=lambda each: -lengths[each]):
        length = lengths[index]
        if not 0 < length <= capacity:
            raise ValueError(f"sample {index} has {length} tokens; rows hold 1 to {capacity}")
        place = bisect_left(spaces, length)
        if place == len(spaces):
            row, space = len(rows), capacity
            rows.append([])
        else:
            space = spaces[place]
            row = by_space[space].pop()
            if not by_space[space]:
                spaces.pop(place)
        rows[row].append(index)
        left = space - length
        waiting = by_space.setdefault(left, [])
        if left and not waiting:
            insort(spaces, left)
        waiting.append(row)
    return rows
