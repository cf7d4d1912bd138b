"""Which rows train, which choose the checkpoint, and which measure: a stable draw by label."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Literal, NamedTuple

Split = Literal["train", "validation", "test"]

_TEST_FROM, _VALIDATION_FROM = 3, 4
"""Rows of a label from which at least one goes to the split."""


class Fractions(NamedTuple):
    """Shares of all rows, from 0 to 1; what is left trains."""

    validation: float
    test: float


def draw(ids: Sequence[str], labels: Sequence[Sequence[str]], fractions: Fractions) -> list[Split]:
    """The split of each row, drawn within the rows that share their rarest label, by the lowest sha256 of the id.

    So a row keeps its side when rows of other labels come, and mostly when rows of its own do. It depends on the set of
    rows alone, not on their order; rows of one id fall on one side.
    """
    if min(fractions) < 0 or sum(fractions) >= 1:
        raise ValueError(
            f"fractions {fractions.validation:g} for validation and {fractions.test:g} for the test; neither may be "
            "below 0, and together they must leave rows to train on: lower one of them"
        )
    strata = defaultdict(list)
    for row_id, label in _rarest(ids, labels).items():
        strata[label].append(row_id)
    sides: dict[str, Split] = {}
    for members in strata.values():
        test, validation = _sizes(len(members), fractions)
        members.sort(key=lambda each: hashlib.sha256(each.encode()).digest())
        sides |= dict.fromkeys(members, "train")
        sides |= dict.fromkeys(members[: test + validation], "validation")
        sides |= dict.fromkeys(members[:test], "test")
    return [sides[each] for each in ids]


def _rarest(ids: Sequence[str], labels: Sequence[Sequence[str]]) -> dict[str, str | None]:
    """Each id's rarest label; none where it bears none. Where rows of one id differ, the rarest of all of theirs."""
    borne: defaultdict[str, set[str]] = defaultdict(set)
    for row_id, names in zip(ids, labels, strict=True):
        borne[row_id].update(names)
    rows = Counter(name for names in borne.values() for name in names)
    return {row_id: min(names, key=lambda each: (rows[each], each), default=None) for row_id, names in borne.items()}


def _sizes(rows: int, fractions: Fractions) -> tuple[int, int]:
    """Rows for test and validation; one is always left to train on."""
    least_test = int(rows >= _TEST_FROM and fractions.test > 0)
    least_validation = int(rows >= _VALIDATION_FROM and fractions.validation > 0)
    test = min(max(round(rows * fractions.test), least_test), rows - 1 - least_validation)
    validation = min(max(round(rows * fractions.validation), least_validation), rows - 1 - test)
    return test, validation
