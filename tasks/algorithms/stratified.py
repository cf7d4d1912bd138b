"""An order in which items are drawn: every beginning of it holds its share of each stratum.

After h draws a stratum of n among N items has given ⌊hn/N⌋ or ⌈hn/N⌉ of its own (Tijdeman, The chairman assignment
problem, Discrete Mathematics 32, 1980). Its r-th item (from 0) may therefore come from draw ⌊rN/n⌋ + 1 on and must
come by draw ⌈(r+1)N/n⌉; of those that may, the one with the nearest limit comes first (Steiner & Yeomans, Level
schedules for mixed-model, just-in-time processes, Management Science 39, 1993).
"""

import heapq
from collections import defaultdict
from collections.abc import Sequence

from tasks.artifacts.fingerprint import digest


def draw_order(ids: Sequence[str], strata: Sequence[str]) -> list[int]:
    """Places of all items as they are drawn; within a stratum, and between equals, a hash of the id decides."""
    hashes = [digest(each) for each in ids]
    members = defaultdict(list)
    for place in sorted(range(len(ids)), key=hashes.__getitem__):
        members[strata[place]].append(place)
    total = len(ids)
    released = defaultdict(list)
    for places in members.values():
        size = len(places)
        for rank, place in enumerate(places):
            limit = -(-(rank + 1) * total // size)
            released[rank * total // size + 1].append((limit, hashes[place], place))
    order: list[int] = []
    waiting: list[tuple[int, str, int]] = []
    for draw in range(1, total + 1):
        for each in released[draw]:
            heapq.heappush(waiting, each)
        order.append(heapq.heappop(waiting)[2])
    return order
