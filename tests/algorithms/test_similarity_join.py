"""Near copies against a comparison of every pair."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.algorithms.shingles import Hashes, WordHasher, jaccard, ngrams, shingles
from tasks.algorithms.similarity_join import NearCopy, near_copies
from tasks.conversation import words

_HASHER = WordHasher()


def sets_of(*texts: str, size: int = 5) -> list[Hashes]:
    return [shingles(_HASHER(words(text)), size) for text in texts]


def greedy(sets: list[Hashes], threshold: float) -> list[NearCopy]:
    """What near_copies promises, by comparing each row with every kept one before it."""
    kept: list[int] = []
    found = []
    for row, members in enumerate(sets):
        alike = ((other, jaccard(members, sets[other])) for other in kept if len(members))
        copy = next(((other, similarity) for other, similarity in alike if similarity >= threshold), None)
        if copy is None:
            kept.append(row)
        else:
            found.append(NearCopy(row, *copy))
    return found


_SETS = st.lists(
    st.frozensets(st.integers(0, 14), max_size=12).map(lambda each: np.array(sorted(each), dtype=np.uint64)),
    max_size=40,
)


@given(sets=_SETS, threshold=st.sampled_from([0.3, 0.5, 2 / 3, 0.75, 0.8, 0.9, 1.0]))
def test_exactly_the_rows_go_that_a_comparison_of_all_pairs_drops(sets: list[Hashes], threshold: float) -> None:
    assert sorted(near_copies(sets, threshold)) == greedy(sets, threshold)


@pytest.mark.parametrize("threshold", [0.5, 0.8])
def test_edited_texts_over_many_blocks(threshold: float) -> None:
    random = np.random.default_rng(3)
    vocabulary = np.array([f"w{number}" for number in range(400)])
    texts: list[list[str]] = []
    for number in range(1500):
        text = list(random.choice(vocabulary, 30)) if number % 3 == 0 else list(texts[random.integers(len(texts))])
        for _ in range(random.integers(0, 4)):
            text[random.integers(len(text))] = str(random.choice(vocabulary))
        texts.append(text)
    sets = sets_of(*map(" ".join, texts), size=3)
    found = sorted(near_copies(sets, threshold))
    assert len(found) > 100
    assert found == greedy(sets, threshold)


@pytest.mark.parametrize(("share", "spread"), [(0.85, 0), (0.85, 20), (0.95, 0), (0.5, 10)])
def test_formulaic_rows_do_not_explode(share: float, spread: int) -> None:
    random = np.random.default_rng(0)
    template = random.integers(0, 2**63, int(100 * share), dtype=np.uint64)
    extra = [100 - len(template) + int(random.integers(spread + 1)) for _ in range(8000)]
    sets = [np.unique(np.r_[template, random.integers(0, 2**63, count, dtype=np.uint64)]) for count in extra]
    began = time.monotonic()
    found = list(near_copies(sets, 0.8))
    assert time.monotonic() - began < 10
    assert len(found) == (7999 if share == 0.95 else 0)


@pytest.mark.parametrize("text", ["Yes.", "Paris", "42", "No way", "Sure, go on", "I do not know", "!!!", "…", "😀"])
def test_the_shortest_texts_are_alike_only_to_themselves(text: str) -> None:
    others = [
        "Yes.",
        "Paris",
        "42",
        "No way",
        "Sure, go on",
        "I do not know",
        "Yes, Paris",
        "42 Paris",
        "No",
        "?",
        "😀 😀",
    ]
    sets = sets_of(text, *(other for other in others if other != text))
    assert list(near_copies(sets, 0.8)) == []


def test_nothing_to_compare() -> None:
    assert list(near_copies([], 0.8)) == []
    assert list(near_copies(sets_of("", "", "?!"), 0.8)) == []


def test_progress_reaches_the_end() -> None:
    seen: list[tuple[int, int]] = []
    list(near_copies(sets_of(*("a b c d e f",) * 300), 0.8, lambda done, total: seen.append((done, total))))
    assert seen[-1] == (300, 300)


def test_jaccard_of_shingles_is_that_of_the_word_runs() -> None:
    left, right = sets_of("a b c d e f g", "a b c d e f x")
    assert jaccard(left, right) == 2 / 4
    assert jaccard(*sets_of("", "")) == 1.0
    assert len(ngrams(_HASHER(["a", "b", "a", "b", "a", "b"]), 2)) == 5
