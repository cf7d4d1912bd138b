"""Planted errors are found, and what cannot be judged is left alone."""

import numpy as np
import pytest

from tasks.algorithms.classification.suspects import suspects
from tests.algorithms.classification.matrices import one_hot
from tests.algorithms.classification.topics import TOPICS, texts


def planted(rows: int, wrong: int) -> tuple[list[str], np.ndarray, list[int]]:
    """Texts of four topics, of which some bear another's label."""
    written, truth = texts(rows)
    places = np.random.default_rng(5).choice(rows, wrong, replace=False).tolist()
    given = truth.argmax(1)
    given[places] = (given[places] + 1) % 4
    return written, one_hot(given, 4), places


def test_planted_errors_come_first_with_what_they_should_be() -> None:
    written, given, places = planted(400, 12)
    found = suspects(written, given, TOPICS, seed=1)
    assert {each.place for each in found[:12]} == set(places)
    true = texts(400)[1].argmax(1)
    assert all(each.suggested == (TOPICS[true[each.place]],) for each in found[:12])
    assert all(each.given == (TOPICS[given[each.place].argmax()],) for each in found)
    assert [each.confidence for each in found] == sorted(each.confidence for each in found)
    assert all(0 <= each.confidence < 0.5 for each in found[:12])
    assert len(found) < 20


def test_clean_labels_raise_no_suspicion() -> None:
    assert suspects(*texts(400), TOPICS, seed=1) == []


def test_the_seed_decides_and_nothing_else() -> None:
    written, given, _ = planted(200, 10)
    assert suspects(written, given, TOPICS, seed=3) == suspects(written, given, TOPICS, seed=3)


@pytest.mark.parametrize("rare", [1, 2, 4])
def test_labels_of_few_rows_are_not_judged(rare: int) -> None:
    written, given, places = planted(400, 12)
    wide = np.zeros((400 + rare, 5), np.bool_)
    wide[:400, :4], wide[400:, 4] = given, True
    found = suspects([*written, *["card lost"] * rare], wide, [*TOPICS, "rare"], seed=1)
    # The rare rows say what those of another label say, and cost a little of what can be told of it.
    assert len({each.place for each in found[:12]} & set(places)) >= 10
    assert all(each.place < 400 for each in found)


def test_a_label_that_cannot_be_learnt_is_not_suspected_as_a_whole() -> None:
    written, truth = texts(400)
    wide = np.zeros((420, 5), np.bool_)
    wide[:400, :4], wide[400:, 4] = truth, True
    # "other" says what all say: every row of it looks like one of another label.
    found = suspects([*written, *texts(20)[0]], wide, [*TOPICS, "other"], seed=1)
    assert sum(each.place >= 400 for each in found) <= 10


def test_where_nothing_can_be_told_apart_nobody_is_suspected() -> None:
    assert suspects(["..."] * 40, one_hot([0] * 24 + [1] * 16, 2), ["a", "b"], seed=1) == []
    assert suspects(["same words"] * 40, one_hot([0] * 24 + [1] * 16, 2), ["a", "b"], seed=1) == []
    assert suspects(["one"] * 20, one_hot([0] * 20, 2), ["a", "b"], seed=1) == []
    assert suspects(["one", "two"], one_hot([0, 1], 2), ["a", "b"], seed=1) == []
    assert suspects([], np.empty((0, 2), np.bool_), ["a", "b"], seed=1) == []


def test_labels_too_many_and_too_few_are_found_among_several() -> None:
    written, truth = texts(400)
    both = [f"{one}\n\n{other}" for one, other in zip(written, written[1:] + written[:1], strict=True)]
    true = truth | np.roll(truth, -1, axis=0)
    given = true.copy()
    given[7] ^= [True, False, False, False]
    given[90] ^= [False, False, True, False]
    given[200] = False
    found = {each.place: each for each in suspects(both, given, TOPICS, seed=1)}
    assert {7, 90, 200} <= set(found)
    assert len(found) < 12
    for place in (7, 90, 200):
        assert found[place].given == tuple(np.array(TOPICS)[given[place]])
    assert found[7].suggested == tuple(np.array(TOPICS)[true[7]])
    assert found[90].suggested == tuple(np.array(TOPICS)[true[90]])
    assert {*found[200].suggested} <= {*np.array(TOPICS)[true[200]]}


def test_rare_labels_among_several_are_not_judged() -> None:
    written, truth = texts(200)
    wide = np.concatenate([truth, np.zeros((200, 1), np.bool_)], axis=1)
    wide[:3, 4] = True
    assert suspects(written, wide, [*TOPICS, "rare"], seed=1) == []
