"""Near copies against a comparison of every pair of texts, as sets of word runs."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.algorithms.shingles import BITS, Hashes, ShingleSets, jaccard
from tasks.algorithms.similarity_join import NONE, Copies, Ranking, near_copies

Found = dict[int, tuple[int, float]]


def ranking(rows: int, guarded: int = 0, **given: list[int]) -> Ranking:
    """The rows in their order, none of them special where nothing is given."""
    return Ranking(
        order=np.array(given.get("order", range(rows)), dtype=np.int64),
        groups=np.array(given.get("groups", [NONE] * rows), dtype=np.int64),
        protected=np.isin(np.arange(rows), given.get("protected", [])),
        guarded=guarded,
        families=np.array(given.get("families", [NONE] * rows), dtype=np.int64),
        most=given.get("most", [0])[0],
    )


def of_members(rows: list[Hashes]) -> ShingleSets:
    """Sets of given members in place of the n-grams of texts."""
    made = ShingleSets(1)
    made.hashes = np.concatenate([np.empty(0, dtype=np.uint64), *rows]) & np.uint64((1 << BITS) - 1)
    made.offsets = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    return made


def of_texts(texts: list[str], words: int = 5) -> ShingleSets:
    made = ShingleSets(words)
    made.add(pa.array(texts, pa.string()))
    return made


def told(copies: Copies) -> Found:
    return {row: (int(copies.of[row]), copies.similarity[row]) for row in np.flatnonzero(copies.of >= 0).tolist()}


def settled(rows: list[set[int]], threshold: float, given: Ranking) -> Found:
    """What near_copies promises, by comparing each row with every kept one before it."""
    kept: list[tuple[int, int]] = []
    found: Found = {}
    for place, row in enumerate(given.order.tolist()):
        copies = []
        for before, other in kept:
            union = len(rows[row] | rows[other])
            same = NONE != given.groups[row] == given.groups[other]
            alike = 1.0 if same else len(rows[row] & rows[other]) / max(1, union)
            if alike >= threshold and (not given.protected[row] or before < given.guarded <= place):
                copies.append((not same, before, other, alike))
        # A row of the same group comes before any that is only as alike.
        copied = min(copies)[2:] if copies else None
        kin = [other for _, other in kept if NONE != given.families[row] == given.families[other]]
        if copied is None and given.most and len(kin) >= given.most and not given.protected[row]:
            copied = kin[0], -1.0
        if copied is None:
            kept.append((place, row))
        else:
            found[row] = copied
    return found


@given(data=st.data(), threshold=st.sampled_from([0.3, 0.5, 2 / 3, 0.75, 0.8, 0.9, 1.0]))
def test_exactly_the_rows_go_that_a_comparison_of_all_pairs_drops(data: st.DataObject, threshold: float) -> None:
    rows = data.draw(st.lists(st.sets(st.integers(0, 14), max_size=12), max_size=40))
    numbers = range(len(rows))
    contents = [sorted(each) for each in rows]
    given = ranking(
        len(rows),
        guarded=data.draw(st.integers(0, len(rows))),
        order=data.draw(st.permutations(numbers)),
        groups=[contents.index(each) if data.draw(st.booleans()) else NONE for each in contents],
        protected=data.draw(st.lists(st.sampled_from(numbers), max_size=8)) if rows else [],
        families=[data.draw(st.integers(NONE, 4)) for _ in rows],
        most=[data.draw(st.integers(0, 3))],
    )
    spread = np.uint64(0x9E3779B97F4A7C15)
    found = near_copies(of_members([np.array(each, dtype=np.uint64) * spread for each in contents]), threshold, given)
    assert told(found) == settled(rows, threshold, given)


def edited_texts(count: int) -> list[str]:
    random = np.random.default_rng(3)
    texts: list[list[str]] = []
    for number in range(count):
        text = [f"w{each}" for each in random.integers(400, size=30)]
        if number % 3:
            text = list(texts[random.integers(len(texts))])
        for _ in range(random.integers(0, 4)):
            text[random.integers(len(text))] = f"w{random.integers(400)}"
        texts.append(text)
    return [" ".join(text) for text in texts]


@pytest.mark.parametrize("threshold", [0.5, 0.8])
def test_edited_texts_against_their_word_runs(threshold: float) -> None:
    texts = edited_texts(600)
    words = [text.split() for text in texts]
    numbers: dict[tuple[str, ...], int] = {}
    rows = [{numbers.setdefault(tuple(each[n : n + 3]), len(numbers)) for n in range(len(each) - 2)} for each in words]
    found = told(near_copies(of_texts(texts, 3), threshold, ranking(len(texts))))
    assert len(found) > 100
    assert found == settled(rows, threshold, ranking(len(texts)))


@pytest.mark.parametrize(("share", "spread"), [(0.85, 0), (0.85, 20), (0.85, 200), (0.95, 0), (0.5, 10)])
def test_formulaic_rows_are_hardly_compared(share: float, spread: int) -> None:
    random = np.random.default_rng(0)
    template = random.integers(0, 2**63, int(100 * share), dtype=np.uint64)
    extra = [100 - len(template) + int(random.integers(spread + 1)) for _ in range(30_000)]
    sets = of_members([np.r_[template, random.integers(0, 2**63, count, dtype=np.uint64)] for count in extra])
    # With each pair compared this would be 450 million comparisons, some minutes of them.
    found = told(near_copies(sets, 0.8, ranking(len(sets))))
    if share == 0.95:
        assert found.keys() == set(range(1, len(sets)))
    else:
        assert found == {}


def test_rows_that_share_a_template_in_part_are_hardly_compared() -> None:
    random = np.random.default_rng(0)
    template = random.integers(0, 2**63, 300, dtype=np.uint64)
    lengths = random.integers(50, 300, 20_000).tolist()
    own = (random.integers(0, 2**63, int(0.18 * length), dtype=np.uint64) for length in lengths)
    sets = of_members([np.r_[template[:length], each] for length, each in zip(lengths, own, strict=True)])
    assert told(near_copies(sets, 0.8, ranking(len(sets)))) == {}


def test_a_large_group_of_copies_is_compared_with_its_first_only() -> None:
    words = [f"w{number}" for number in range(60)]
    texts = [" ".join([*words, f"end{number}"]) for number in range(50_000)]
    assert {kept for kept, _ in told(near_copies(of_texts(texts), 0.8, ranking(len(texts)))).values()} == {0}


@pytest.mark.parametrize("text", ["Yes.", "Paris", "42", "No way", "Sure, go on", "I do not know", "!!!", "…", "😀"])
def test_the_shortest_texts_are_like_no_other(text: str) -> None:
    others = ["Yes.", "Paris", "42", "No way", "Sure, go on", "I do not know", "Yes, Paris", "42 Paris", "No", "?", ""]
    assert told(near_copies(of_texts([text, *others]), 0.8, ranking(12))) == {}


def test_rows_that_take_no_part_are_neither_dropped_nor_copied() -> None:
    sets = of_texts(["a b c d e f"] * 4)
    assert told(near_copies(sets, 0.8, ranking(4, order=[3, 1]))) == {1: (3, 1.0)}


def test_nothing_to_compare() -> None:
    assert told(near_copies(of_texts([]), 0.8, ranking(0))) == {}
    assert told(near_copies(of_texts(["", "", "?!"]), 0.8, ranking(3))) == {}


def test_progress_reaches_the_end() -> None:
    seen: list[tuple[int, int]] = []
    near_copies(of_texts(["a b c d e f"] * 9000), 0.8, ranking(9000), lambda *told: seen.append(told))
    assert seen == [(8192, 9000), (9000, 9000)]


def test_sets_hold_each_run_of_words_once_and_grow_with_every_batch() -> None:
    sets = of_texts(["a b a b a b", "A, b. A!"], words=2)
    sets.add(pa.array(["b a"]))
    assert [len(sets[number]) for number in range(len(sets))] == [2, 2, 1]
    assert jaccard(sets[0], sets[1]) == 1.0
    assert jaccard(sets[0], sets[2]) == 0.5
    assert jaccard(sets[2][:0], sets[2][:0]) == 1.0


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=9), max_size=6), st.integers(1, 4))
def test_as_many_runs_as_there_are_different_ones(texts: list[list[str]], words: int) -> None:
    sets = of_texts([" ".join(text) for text in texts], words)
    runs = [{tuple(text[n : n + words]) for n in range(len(text) - words + 1)} for text in texts]
    assert [len(sets[number]) for number in range(len(texts))] == list(map(len, runs))
    for number, each in enumerate(runs):
        assert len(np.intersect1d(sets[0], sets[number])) == len(runs[0] & each)
