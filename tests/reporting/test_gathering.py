"""What a report tells of a run is that run's: its stages in their order, its time, its rows, each told once."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tasks.artifacts.errors import CorruptArtifactError
from tasks.artifacts.lineage import tree
from tasks.artifacts.manifest import Artifact, Counts, Identity
from tasks.artifacts.store import Store
from tasks.gathering import About, gather, in_order, lineage_facts, source_facts
from tasks.reporting.facts import LineageFacts

DROPPED = pa.schema([("source", pa.string()), ("split", pa.string()), ("reason", pa.string())])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


def made(store: Store, stage: str, config: dict[str, Any] | None = None, **parents: Artifact) -> Artifact:
    told = tuple(artifact.as_parent(name) for name, artifact in parents.items())
    identity = Identity(stage=stage, version=1, config=config or {}, parents=told)
    with store.attempt(identity) as attempt:
        attempt.write_file("config", repr(config).encode())
        attempt.counts = Counts(read=1, kept=1)
        return attempt.commit({})


def trained(store: Store, name: str) -> tuple[Artifact, Artifact]:
    """A training, and the tokenized rows it learnt from."""
    above = made(store, "ingestion", {"of": name})
    for stage in ("curation", "deduplication", "mixing", "tokenization"):
        above = made(store, stage, {"of": name}, rows=above)
    return made(store, "training", {"of": name}, tokenized=above), above


def evaluated(store: Store) -> Artifact:
    model, tokenized = trained(store, "this run")
    rival, _ = trained(store, "an earlier run")
    sides = {
        "base": made(store, "measurement", {"of": "base"}, tokenized=tokenized),
        "tuned": made(store, "measurement", {"of": "tuned"}, model=model, tokenized=tokenized),
        "production": made(store, "measurement", {"of": "production"}, model=rival, tokenized=tokenized),
    }
    return made(store, "evaluation", **sides)


def test_stages_stand_in_their_order_and_how_the_rival_was_made_is_left_out(store: Store) -> None:
    found = in_order(store, evaluated(store), None)
    assert [each.identity.stage for each in found] == [
        "ingestion", "curation", "deduplication", "mixing", "tokenization", "training",
        "measurement", "measurement", "measurement", "evaluation",
    ]  # fmt: skip
    assert found[0].identity.config == {"of": "this run"}
    assert [each.identity.config["of"] for each in found[6:9]] == ["tuned", "base", "production"]


def test_lineage_unfolds_each_artifact_once(store: Store) -> None:
    def nodes(node: LineageFacts) -> list[LineageFacts]:
        return [node, *(below for child in node.children for below in nodes(child))]

    found = nodes(lineage_facts(tree(store, evaluated(store).address), set()))
    unfolded = [node.address for node in found if node.children]
    assert len(unfolded) == len(set(unfolded))
    again = [node for node in found if node.address.endswith(", as above")]
    assert [(node.label, node.children) for node in again] == [("tokenized", ())] * 3


def test_a_report_of_what_was_swept_says_so(store: Store) -> None:
    base, tuned = (made(store, "measurement", {"of": side}) for side in ("base", "tuned"))
    swept = made(store, "evaluation", base=base, tuned=tuned)
    with pytest.raises(CorruptArtifactError, match="no longer all there: no ingestion; `fettle gc` keeps it only"):
        gather(store, About(name="m", base_model="b"), tuned, swept)


def stage_of_rows(store: Store, stage: str, dropped: list[tuple[str, str, str]], **facts: Any) -> Artifact:
    with store.attempt(Identity(stage=stage, version=1, config={"epochs": 4.0}, parents=())) as attempt:
        rows = [dict(zip(DROPPED.names, row, strict=True)) for row in dropped]
        attempt.write("dropped", pa.Table.from_pylist(rows, DROPPED))
        attempt.facts |= facts
        attempt.counts = Counts(read=0, kept=0)
        return attempt.commit({})


def test_rows_kept_are_counted_where_they_were_mixed_and_what_got_lost_shows(store: Store) -> None:
    audit = {"source": "support", "role": "domain", "files": 1, "read": 20, "rejected": 2, "heldout": 3}
    share = {"source": "support", "rows": 9, "copies": 2.0, "requested": 0.5, "achieved": 0.5, "tokens": 70}
    stages = [
        stage_of_rows(store, "ingestion", [], audit=[audit]),
        stage_of_rows(store, "curation", [("support", "train", "empty"), ("support", "heldout", "empty")]),
        stage_of_rows(store, "deduplication", [("support", "train", "near duplicate")] * 2),
        stage_of_rows(store, "mixing", [], shares=[share]),
        stage_of_rows(store, "tokenization", [("support", "train", "unproven")]),
        stage_of_rows(store, "training", [], steps=30, planned_steps=40),
    ]
    (found,) = source_facts(store, {artifact.address.split("/")[0]: store.manifest(artifact) for artifact in stages})
    assert found.dropped == {"empty": 1, "near duplicate": 2, "unproven": 1}
    assert found.kept == 8
    assert found.unaccounted == 3, "20 read, and only 17 have a fate"
    assert found.epochs == 6.0, "training stopped after three quarters of its four epochs of two copies"
