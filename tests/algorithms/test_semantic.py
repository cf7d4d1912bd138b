"""Semantic duplicates: vectors of a real static model, and neighbours against a comparison of every pair."""

import itertools
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.algorithms import semantic_join
from tasks.algorithms.embedding import EMBEDDING_FILES, Embedder, EmbeddingError
from tasks.algorithms.semantic_join import (
    Meaning,
    SemanticIndex,
    TooManyRowsError,
    Vectors,
    first_neighbour,
    require_few,
)
from tasks.artifacts.resource import Resource, ResourceError, read_resource
from tests.algorithms.static_model import save_static_model

Found = list[tuple[int, float]]
"""Of each row the kept row that means the same and how alike it is; -1 and 0 for a row that is kept."""


def unit(rows: Sequence[Sequence[float]]) -> Vectors:
    vectors = np.array(rows, dtype=np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0).astype(np.float32)


def cosine(left: Vectors, right: Vectors) -> float:
    a, b = left.astype(float).tolist(), right.astype(float).tolist()
    product, length = 0.0, 0.0
    other = 0.0
    for x, y in zip(a, b, strict=True):
        product, length, other = product + x * y, length + x * x, other + y * y
    return min(1.0, product / math.sqrt(length * other)) if length * other else 0.0


def greedy(vectors: Vectors, threshold: float, order: Sequence[int]) -> Found:
    """What is promised, by comparing each row with every kept one before it."""
    found, kept = [(-1, 0.0)] * len(vectors), list[int]()
    for row in order:
        alike = ((other, cosine(vectors[row], vectors[other])) for other in kept)
        hit = next((each for each in alike if each[1] >= threshold), None)
        if hit is None:
            kept.append(row)
        else:
            found[row] = hit
    return found


def joined(vectors: Vectors, threshold: float, order: Sequence[int], step: int) -> Found:
    """The same by blocks of some rows."""
    places = np.array(order, dtype=np.int64)
    index, of = SemanticIndex(Meaning(vectors, threshold), places), np.full(len(vectors), -1, dtype=np.int64)
    similarity = np.zeros(len(vectors))
    for begin in range(0, len(places), step):
        end = min(begin + step, len(places))
        near = index.neighbours(begin, end)
        for place in range(begin, end):
            first, alike = first_neighbour(place, begin, places, of, near)
            if first >= 0:
                of[places[place]], similarity[places[place]] = places[first], alike
        index.keep(begin + np.flatnonzero(of[places[begin:end]] < 0))
    return list(zip(of.tolist(), similarity.tolist(), strict=True))


_VECTORS = st.lists(st.tuples(*[st.integers(-4, 4)] * 3), max_size=25).map(lambda rows: unit(rows or [(0, 0, 0)]))


@given(
    vectors=_VECTORS,
    threshold=st.sampled_from([0.3, 0.6, 0.8, 0.96, 1.0]),
    step=st.integers(1, 30),
    block=st.integers(1, 9),
    data=st.data(),
)
def test_exactly_the_rows_go_that_a_comparison_of_all_pairs_drops(
    vectors: Vectors, threshold: float, step: int, block: int, data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(vectors))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(semantic_join, "_KEPT_PER_BLOCK", block)
        assert joined(vectors, threshold, order, step) == greedy(vectors, threshold, order)


@given(vectors=_VECTORS, data=st.data())
def test_the_numbering_of_rows_is_nothing_to_the_declared_order(vectors: Vectors, data: st.DataObject) -> None:
    numbering = data.draw(st.permutations(range(len(vectors))))
    found = joined(vectors, 0.8, range(len(vectors)), 7)
    renumbered = np.empty_like(vectors)
    renumbered[numbering] = vectors
    again = joined(renumbered, 0.8, numbering, 4)
    assert [again[row] for row in numbering] == [(numbering[of] if of >= 0 else -1, alike) for of, alike in found]


@pytest.mark.parametrize(("step", "block"), itertools.product([1, 64, 300], [1, 50, 4096]))
def test_no_block_turns_a_decision_at_the_threshold(step: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(semantic_join, "_KEPT_PER_BLOCK", block)
    random = np.random.default_rng(5)
    vectors = unit(random.standard_normal((200, 256)) + random.standard_normal(256))
    for row in (1, 77, 199):
        nearest = max(cosine(vectors[row], vectors[other]) for other in range(200) if other != row)
        order = [*(other for other in range(200) if other != row), row]
        for threshold, gone in ((nearest, True), (math.nextafter(nearest, 2), False)):
            # Only this row is looked at: what others do to one another is no part of it.
            found = joined_last(vectors, threshold, order, step)
            assert (found[0] >= 0) is gone


def joined_last(vectors: Vectors, threshold: float, order: Sequence[int], step: int) -> tuple[int, float]:
    """What becomes of the last row of an order where all others are kept."""
    places = np.array(order, dtype=np.int64)
    index, of = SemanticIndex(Meaning(vectors, threshold), places), np.full(len(vectors), -1, dtype=np.int64)
    begin = max(0, len(order) - step)
    index.keep(np.arange(begin))
    return first_neighbour(len(order) - 1, begin, places, of, index.neighbours(begin, len(order)))


def test_equal_vectors_are_alike_at_one_and_zeros_never() -> None:
    vectors = unit([*np.random.default_rng(1).standard_normal((5, 33)).tolist() * 2, [0.0] * 33, [0.0] * 33])
    found = joined(vectors, 1.0, range(len(vectors)), 4)
    assert found == [(-1, 0.0)] * 5 + [(row, 1.0) for row in range(5)] + [(-1, 0.0)] * 2


def test_more_rows_than_allowed_are_refused() -> None:
    require_few(1000, 1000)
    with pytest.raises(TooManyRowsError, match=r"there are 1,001 rows.*max_rows is 1,000.*Raise max_rows"):
        require_few(1001, 1000)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Resource:
    pytest.importorskip("model2vec")
    folder = tmp_path_factory.mktemp("embedding")
    save_static_model(folder)
    return read_resource(str(folder), patterns=EMBEDDING_FILES)


def test_paraphrases_are_near_and_other_matters_are_not(model: Resource) -> None:
    texts = [
        "How do I freeze my card?",
        "how can i block my card",
        "Which train goes to the airport?",
        "what bus goes to the station",
    ]
    freeze, block, train, bus = Embedder(model)(pa.array(texts))
    assert min(cosine(freeze, block), cosine(train, bus)) > 0.9
    assert max(cosine(freeze, train), cosine(block, bus)) < 0.6


def test_blank_texts_and_unknown_words_have_no_direction(model: Resource) -> None:
    vectors = Embedder(model)(pa.array(["", " \n\t", "xyzzy plugh", "freeze"]))
    assert not vectors[:3].any()
    assert np.linalg.norm(vectors[3]) == pytest.approx(1)
    assert Embedder(model)(pa.array([], pa.string())).shape == (0, vectors.shape[1])


def test_a_vector_is_the_same_whatever_comes_with_it(model: Resource) -> None:
    random = np.random.default_rng(2)
    vocabulary = ["how", "do", "i", "freeze", "my", "card", "which", "train", "goes", "airport", "?"]
    texts = [" ".join(random.choice(vocabulary, random.integers(1, 9))) for _ in range(300)]
    embed = Embedder(model)
    alone = np.concatenate([embed(pa.array([text])) for text in texts])
    assert embed(pa.array(texts)).tobytes() == alone.tobytes()


def test_long_texts_are_read_to_the_end(model: Resource) -> None:
    begin = "how do i freeze my card " * 200
    here, there = Embedder(model)(pa.array([begin, begin + "which train goes to the airport " * 200]))
    assert cosine(here, there) < 0.95


def test_a_folder_that_is_no_embedding_model_is_named(model: Resource, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(EmbeddingError, match=r"is no static embedding model of model2vec \(tokenizer.json"):
        Embedder(read_resource(str(tmp_path), patterns=EMBEDDING_FILES))


def test_a_model_that_changed_since_it_was_digested_is_not_used(tmp_path: Path) -> None:
    pytest.importorskip("model2vec")
    save_static_model(tmp_path)
    found = read_resource(str(tmp_path), patterns=EMBEDDING_FILES)
    save_static_model(tmp_path, seed=1)
    with pytest.raises(ResourceError, match="changed while the run was under way"):
        Embedder(found)


def test_without_the_package_the_error_names_the_extra(model: Resource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "model2vec", None)
    with pytest.raises(EmbeddingError, match=r"pip install 'fettle\[semantic\]'"):
        Embedder(model)
