"""Trees of choices and groups of questions: what is shared is there once, and nothing else changes."""

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tasks.trainer.prompts import Continuation
from tasks.trainer.shared_prefixes import LEAST_SHARED, Tree, groups, tree_of


def continuation(ids: Sequence[int], start: int) -> Continuation:
    return Continuation(np.array(ids, np.int32), start)


def question(*context: int) -> Tree:
    """Two choices behind a context."""
    return tree_of([continuation([*context, choice, 7], len(context)) for choice in (1, 2)])


def test_choices_share_a_trunk_and_what_they_begin_with() -> None:
    tree = tree_of([continuation(ids, 2) for ids in ([5, 6, 1, 2, 3], [5, 6, 1, 4], [5, 6, 8, 2])])
    assert tree.trunk == 2
    assert tree.ids.tolist() == [5, 6, 1, 2, 8]
    assert tree.parents.tolist() == [-1, 0, 1, 2, 1]
    assert tree.depths.tolist() == [0, 1, 2, 3, 3 - 1]
    assert [each.nodes.tolist() for each in tree.wanted] == [[1, 2, 3], [1, 2], [1, 4]]
    assert [each.targets.tolist() for each in tree.wanted] == [[1, 2, 3], [1, 4], [8, 2]]
    assert tree.shareable.tolist() == [5]
    assert tree.visible(1).astype(int).tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 0, 1]]


def test_letters_need_no_branch() -> None:
    tree = tree_of([continuation([5, 6, 7, letter], 3) for letter in (1, 2, 3, 4)])
    assert tree.ids.tolist() == [5, 6, 7]
    assert [each.nodes.tolist() for each in tree.wanted] == [[2]] * 4


_SEQUENCES = st.lists(st.lists(st.integers(0, 2), min_size=2, max_size=8), min_size=1, max_size=6)


@given(_SEQUENCES, st.data())
def test_every_sequence_is_in_the_tree_and_every_node_is_in_a_sequence(
    rows: list[list[int]], data: st.DataObject
) -> None:
    given_rows = [continuation(row, data.draw(st.integers(1, len(row) - 1))) for row in rows]
    tree = tree_of(given_rows)
    for number, row in enumerate(given_rows):
        alone = tree.sequence(number)
        assert (alone.ids.tolist(), alone.start) == (row.ids.tolist(), row.start)
    assert len(tree.ids) == len({tuple(row[:end]) for row in rows for end in range(1, len(row))})
    seen = tree.visible(0)
    for node in range(len(tree.ids)):
        path, at = [], node
        while at >= 0:
            path.append(at)
            at = int(tree.parents[at])
        assert np.flatnonzero(seen[node]).tolist() == sorted(path)
        assert tree.depths[node] == len(path) - 1


def test_questions_with_the_same_examples_are_a_group() -> None:
    about, left, right = [9] * 20, [8] * LEAST_SHARED, [6] * LEAST_SHARED
    trees = [
        question(*about, *left, 1, 3),
        question(*about, *right, 1),
        question(1, 2, 3),
        question(*about, *left, 2, 4),
        question(*about, *right, 2),
        question(*about, 5),
    ]
    found = list(groups(trees))
    assert [(sorted(group.members), group.prefix.tolist()) for group in found[:-1]] == [
        ([1, 4], about + right),
        ([0, 3], about + left),
    ]
    assert (found[-1].members, len(found[-1].prefix)) == ([2, 5], 0)


def test_one_large_group_is_better_than_few_small_ones() -> None:
    """Six questions share 100 tokens; only two of them share 80 more."""
    shared = [9] * 100
    trees = [question(*shared, *([8] * 80 if number < 2 else [10 + number]), number, 3) for number in range(6)]
    [group] = groups(trees)
    assert (sorted(group.members), group.prefix.tolist()) == ([0, 1, 2, 3, 4, 5], shared)


def test_a_prefix_ends_before_the_first_prediction() -> None:
    trees = [question(*[9] * 100) for _ in range(3)]
    [group] = groups(trees)
    assert len(group.prefix) == 99


@given(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=300), max_size=6))
def test_every_question_is_in_one_group_and_begins_with_its_prefix(contexts: list[list[int]]) -> None:
    trees = [question(*[1] * 70, *context) for context in contexts]
    found = list(groups(trees))
    assert sorted(number for group in found for number in group.members) == list(range(len(trees)))
    for group in found:
        for number in group.members:
            assert trees[number].shareable[: len(group.prefix)].tolist() == group.prefix.tolist()


def test_nothing_makes_no_group() -> None:
    assert list(groups([])) == []
