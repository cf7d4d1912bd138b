"""What real public data is known to hold, through the stages."""

import os
from itertools import pairwise
from pathlib import Path

import pytest

from tasks.artifacts.manifest import Artifact
from tasks.artifacts.resource import read_resource
from tasks.artifacts.store import Store
from tasks.classification.curation import LabelledCurationConfig, curate
from tasks.classification.deduplication import COPY_OF, LabelledDeduplicationConfig, deduplicate
from tasks.classification.ingestion import LabelledIngestionConfig, LabelledSource, ingest
from tasks.classification.mixing import LabelledMixingConfig, mix
from tasks.conversation import words
from tasks.labelled_text import SIDES
from tests.classification.making import facts, rows

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data"
DATA = Path(os.environ.get("FETTLE_REAL_DATA", BESIDE))
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data: {DATA} is absent")


def prepared(store: Store, name: str) -> list[Artifact]:
    """What each stage makes of a set, from its sources to the sides of its rows."""
    declared = LabelledSource(name="bank", uri=str(DATA / "classification" / f"{name}.parquet"))
    ingested = ingest(store, LabelledIngestionConfig(), [read_resource(declared.uri, facts=declared.reading())])
    curated = curate(store, LabelledCurationConfig(), ingested)
    deduplicated = deduplicate(store, LabelledDeduplicationConfig(), curated, ["bank"])
    return [
        ingested,
        curated,
        deduplicated,
        mix(store, LabelledMixingConfig(suspicious="ignore"), deduplicated, [], False),
    ]


def test_banking_messages_of_the_test_split_are_kept_out_of_training(store: Store) -> None:
    ingested, curated, deduplicated, mixed = prepared(store, "banking77")
    given = rows(store, ingested)
    said = {side: {tuple(words(row["text"])) for row in given if row["split"] == side} for side in ("train", "test")}
    known = said["train"] & said["test"]
    asked = [row for row in given if row["split"] == "test"]
    assert sum(tuple(words(row["text"])) in known for row in asked) == 25
    # Their copies in training are found, whichever stage takes them out, and none is learnt from or chosen by.
    gone = {
        tuple(words(row["text"]))
        for stage in (curated, deduplicated)
        for dropped in rows(store, stage, "dropped")
        for row in [given[dropped["line"] - 1]]
        if dropped["split"] == "train" and dropped["reason"] in (*COPY_OF.values(), "contradicting labels")
    }
    assert known <= gone
    for side in ("train", "validation"):
        assert not known & {tuple(words(row["text"])) for row in rows(store, mixed, side)}
    # What measures stays as it was given.
    assert len(rows(store, mixed, "test")) == len(asked) == 3080
    assert len(rows(store, mixed, "labels")) == 77
    assert any("copies of rows on a given test" in warning for warning in deduplicated.warnings)


@pytest.mark.parametrize(
    ("name", "labels", "read"),
    [
        ("financial_phrasebank_50agree", ["negative", "neutral", "positive"], 4846),
        ("sst2_sentences", ["0", "1"], 9613),
    ],
)
def test_public_sets_are_read_as_they_are(store: Store, name: str, labels: list[str], read: int) -> None:
    made = prepared(store, name)
    assert (made[0].counts.read, made[0].counts.dropped) == (read, {})
    for before, after in pairwise(made):
        assert after.counts.read == before.counts.kept
    mixed = made[-1]
    assert [row["name"] for row in rows(store, mixed, "labels")] == labels
    said = [[tuple(words(row["text"])) for row in rows(store, mixed, side)] for side in SIDES]
    # Texts of fewer words than an n-gram may differ in a mark.
    train, validation, test = [{each for each in texts if len(each) >= 5} for texts in said]
    assert all(each["train"] and each["validation"] and each["test"] for each in facts(store, mixed)["labels"])
    assert len(train) > 3000
    assert not train & (validation | test)
