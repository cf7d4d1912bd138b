"""Copies by words or by meaning, settled in one pass, against a comparison of every pair."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.algorithms.semantic_join import Meaning, SemanticIndex, Vectors
from tasks.algorithms.similarity_join import NONE, Ranking, near_copies
from tests.algorithms.test_semantic import cosine, unit
from tests.algorithms.test_similarity_join import of_members, ranking

Found = dict[int, tuple[int, float, bool]]
"""Of each row that goes the kept one, how alike it is, and whether only by meaning."""


def settled(rows: list[set[int]], threshold: float, vectors: Vectors, meant: float, given: Ranking) -> Found:
    kept: list[tuple[int, int]] = []
    found: Found = {}
    for place, row in enumerate(given.order.tolist()):
        rivals = [other for at, other in kept if not given.protected[row] or at < given.guarded <= place]
        # A row of the same group comes before any that is only as alike.
        rivals.sort(key=lambda other: not is_of_one_group(row, other, given))
        words = ((other, jaccard(rows, row, other, given), False) for other in rivals)
        rivals_by_place = sorted(rivals, key=[each for _, each in kept].index)
        means = ((other, cosine(vectors[row], vectors[other]), True) for other in rivals_by_place)
        hit = next((each for each in words if each[1] >= threshold), None)
        hit = hit or next((each for each in means if each[1] >= meant), None)
        kin = [other for _, other in kept if NONE != given.families[row] == given.families[other]]
        if hit is None and given.most and len(kin) >= given.most and not given.protected[row]:
            hit = kin[0], -1.0, False
        if hit is None:
            kept.append((place, row))
        else:
            found[row] = hit
    return found


def is_of_one_group(row: int, other: int, given: Ranking) -> bool:
    return bool(NONE != given.groups[row] == given.groups[other])


def jaccard(rows: list[set[int]], row: int, other: int, given: Ranking) -> float:
    if is_of_one_group(row, other, given):
        return 1.0
    union = len(rows[row] | rows[other])
    return len(rows[row] & rows[other]) / union if union else 0.0


@given(data=st.data(), threshold=st.sampled_from([0.5, 0.8]), meant=st.sampled_from([0.6, 0.96, 1.0]))
def test_each_row_goes_for_the_first_kept_one_of_its_words_or_else_of_its_meaning(
    data: st.DataObject, threshold: float, meant: float
) -> None:
    rows = data.draw(st.lists(st.sets(st.integers(0, 14), max_size=8), min_size=1, max_size=30))
    numbers, contents = range(len(rows)), [sorted(each) for each in rows]
    vectors = unit([data.draw(st.tuples(*[st.integers(-3, 3)] * 3)) for _ in rows])
    given = ranking(
        len(rows),
        guarded=data.draw(st.integers(0, len(rows))),
        order=data.draw(st.permutations(numbers)),
        groups=[contents.index(each) if data.draw(st.booleans()) else NONE for each in contents],
        protected=data.draw(st.lists(st.sampled_from(numbers), max_size=8)),
        families=[data.draw(st.integers(NONE, 4)) for _ in rows],
        most=[data.draw(st.integers(0, 3))],
    )
    sets = of_members([np.array(each, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) for each in contents])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SemanticIndex, "rows_per_step", data.draw(st.integers(1, 40)))
        copies = near_copies(sets, threshold, given, meaning=Meaning(vectors, meant))
    gone = np.flatnonzero(copies.of >= 0).tolist()
    found = {row: (int(copies.of[row]), float(copies.similarity[row]), bool(copies.semantic[row])) for row in gone}
    assert found == settled(rows, threshold, vectors, meant, given)


def test_what_is_kept_stands_for_all_that_go() -> None:
    """A row that copies one which goes by its meaning is looked at by itself."""
    sets = of_members([np.array(each, dtype=np.uint64) for each in ([1, 2, 3], [7, 8, 9], [7, 8, 9, 10])])
    vectors = unit([(1, 0), (1, 0), (0, 1)])
    copies = near_copies(sets, 0.7, ranking(3), meaning=Meaning(vectors, 0.9))
    assert copies.of.tolist() == [-1, 0, -1]
