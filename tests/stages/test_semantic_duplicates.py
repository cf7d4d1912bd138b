"""Deduplicate: rows that say the same in other words."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.algorithms.embedding import EMBEDDING_FILES
from tasks.algorithms.semantic_join import TooManyRowsError
from tasks.artifacts.resource import Resource, read_resource
from tasks.artifacts.store import Store
from tasks.deduplication import DeduplicationConfig, Semantic, deduplicate
from tests.algorithms.static_model import save_static_model
from tests.stages.making import pair
from tests.stages.test_deduplication import Curated, reasons

pytest.importorskip("model2vec")

CARDS = [
    pair("How do I freeze my card?", "You can block the card."),
    pair("Which train goes to the airport?", "What bus runs to the station."),
    pair("When can we lock our account?", "I do freeze my card."),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Resource:
    folder = tmp_path_factory.mktemp("embedding")
    save_static_model(folder)
    return read_resource(str(folder), patterns=EMBEDDING_FILES)


@pytest.fixture
def curated(tmp_path: Path, store: Store, tokenizer: Resource) -> Curated:
    return Curated(tmp_path, store, tokenizer)


def configured(**settings: Any) -> DeduplicationConfig:
    return DeduplicationConfig(semantic=Semantic(**{"model": "wherever", "similarity": 0.9, **settings}))


def test_the_first_of_those_that_mean_the_same_stays_with_the_cosine_as_evidence(
    curated: Curated, model: Resource
) -> None:
    made = deduplicate(curated.store, configured(), curated(CARDS), [], embedding=model)
    dropped = list(curated.store.rows(made, "dropped"))
    assert [row["reason"] for row in dropped] == ["semantic duplicate"]
    (kept,) = [row for row in curated.store.rows(made, "conversations") if row["id"] in dropped[0]["evidence"]]
    assert kept["line"] != 2
    assert dropped[0]["line"] != 2
    assert "similarity 0.9" in dropped[0]["evidence"]
    assert made.counts.dropped == {"semantic duplicate": 1}
    (source,) = curated.store.manifest(made).facts["copies"]
    assert (source["semantic"], source["lost"]) == (1, 0.3333)


def test_without_it_other_words_are_other_rows(curated: Curated) -> None:
    assert deduplicate(curated.store, DeduplicationConfig(), curated(CARDS), []).counts.kept == 3


def test_protected_rows_stay_and_words_are_looked_at_before_meanings(curated: Curated, model: Resource) -> None:
    given = curated([CARDS[0]], [CARDS[2], CARDS[0]])
    config = configured().model_copy(update={"protected": ("s1",), "priority": ("s1",)})
    made = deduplicate(curated.store, config, given, [], embedding=model)
    assert reasons(curated, made) == {"s0:1": "exact duplicate"}


def test_the_model_counts_by_its_bytes_and_patience_not_at_all(
    curated: Curated, model: Resource, tmp_path: Path
) -> None:
    given = curated(CARDS)

    def address(config: DeduplicationConfig, embedding: Resource) -> str:
        return deduplicate.identity(config, given, [], [], embedding).address

    moved = read_resource(str(shutil.copytree(model.folder, tmp_path / "moved")), patterns=EMBEDDING_FILES)
    save_static_model(tmp_path / "other", seed=1)
    other = read_resource(str(tmp_path / "other"), patterns=EMBEDDING_FILES)
    assert address(configured(), model) == address(configured(model="elsewhere", max_rows=5), moved)
    assert address(configured(), model) != address(configured(), other)
    assert address(configured(), model) != address(configured(similarity=0.91), model)


def test_more_rows_than_one_would_wait_for_are_refused_at_once(curated: Curated, model: Resource) -> None:
    with pytest.raises(TooManyRowsError, match=r"there are 3 rows, and deduplication.semantic.max_rows is 2"):
        deduplicate(curated.store, configured(max_rows=2), curated(CARDS), [], embedding=model)


def test_the_same_rows_stay_however_they_come(
    curated: Curated, model: Resource, tmp_path: Path, tokenizer: Resource
) -> None:
    random = np.random.default_rng(4)
    words = [
        "how",
        "when",
        "do",
        "can",
        "freeze",
        "lock",
        "card",
        "account",
        "train",
        "tram",
        "goes",
        "airport",
        "oven",
    ]
    rows = [pair(" ".join(random.choice(words, 6)), " ".join(random.choice(words, 8))) for _ in range(150)]
    made = deduplicate(curated.store, configured(similarity=0.97), curated(rows), [], embedding=model)
    other = Store(str(tmp_path / "other"))
    other.probe()
    shuffled = Curated(tmp_path / "again", other, tokenizer)([rows[place] for place in random.permutation(150)])
    again = deduplicate(other, configured(similarity=0.97), shuffled, [], embedding=model)
    assert 20 < made.counts.dropped["semantic duplicate"] < 130
    kept, kept_again = (
        [row["id"] for row in store.rows(found, "conversations")]
        for store, found in ((curated.store, made), (other, again))
    )
    assert kept == kept_again
