"""How many items would decide a case that too few left open."""

from collections.abc import Callable

from tasks.algorithms.gate.distributions import upper_z
from tasks.algorithms.gate.paired import Changes, drop

POWER = 0.8
"""How often the suggested number of items decides, if the models differ as they were seen to."""

MOST_ITEMS = 1_000_000
"""A case that more items than this would have to decide counts as one that items do not decide."""


def needed_items(changes: Changes, comparisons: int, *, investigate: float, fail: float) -> int | None:
    """The smallest number of items, of those seen included, that decides in four runs of five.

    Taken as true are the mean and the disagreement that were seen. Decided means: passed, or accused. None where that
    takes too many, as for a drop that lies exactly on the limit.
    """
    luck = upper_z(1 - POWER)

    def decides(items: int) -> bool:
        found = drop(changes.over(items), comparisons)
        unlucky = luck * found.standard_error
        accused = found.low > unlucky and found.mean > investigate + unlucky
        return accused or (found.high + unlucky <= fail and found.surest_high + unlucky <= fail + investigate)

    return _smallest(decides, changes.items)


def _smallest(decides: Callable[[int], bool], items: int) -> int | None:
    too_few, enough = items - 1, items
    while not decides(enough):
        too_few, enough = enough, 2 * enough
        if enough > MOST_ITEMS:
            return None
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        too_few, enough = (too_few, middle) if decides(middle) else (middle, enough)
    return enough
