"""Where artifacts come from, and how two differ."""

from tasks.artifacts.lineage import ancestors, changed_fields, differences, tree
from tasks.artifacts.manifest import Artifact, Identity
from tasks.artifacts.resource import Resource
from tasks.artifacts.store import Store
from tests.artifacts.samples import identity, make, rows

DATA = Resource(uri="data/a.jsonl", files={"a.jsonl": "0" * 64}, paths={"a.jsonl": "data/a.jsonl"})


def ingest(store: Store, data: Resource = DATA, number: int = 5) -> Artifact:
    made = Identity(stage="ingestion", version=1, config={"heldout": 0.1}, parents=(data.as_parent("sources[0]"),))
    return make(store, made, {"conversations": rows(number)})


def test_tree_leads_down_to_the_files_a_pipeline_began_with(store: Store) -> None:
    ingested = ingest(store)
    curated = make(store, identity("curation", {"ingested": ingested}))
    mixed = make(store, identity("mixing", {"deduplicated": curated, "ingested": ingested}))
    node = tree(store, mixed.address)
    assert (node.name, node.label, node.address) == ("mixing", mixed.address, mixed.address)
    assert [(parent.name, parent.label) for parent in node.parents] == [
        ("deduplicated", curated.address),
        ("ingested", ingested.address),
    ]
    leaf = node.parents[0].parents[0].parents[0]
    assert (leaf.name, leaf.label, leaf.address, leaf.content) == ("sources[0]", "data/a.jsonl", None, DATA.content)
    assert node.counts is not None
    assert node.counts.dropped == {"short": 1}
    assert list(ancestors(store, mixed.address)) == [mixed.address, curated.address, ingested.address]


def test_ancestor_that_was_swept_ends_its_branch(store: Store) -> None:
    ingested = ingest(store)
    curated = make(store, identity("curation", {"ingested": ingested}))
    store.files.delete(ingested.address)
    (parent,) = tree(store, curated.address).parents
    assert parent.label == f"{ingested.address} (no longer stored)"
    assert parent.parents == ()
    assert list(ancestors(store, curated.address)) == [curated.address]


def test_differences_name_settings_files_counts_and_content(store: Store) -> None:
    other = DATA.model_copy(update={"files": {"a.jsonl": "1" * 64}})
    before, after = store.manifest(ingest(store)), store.manifest(ingest(store, other, 6))
    assert differences(before, before) == []
    assert {change.place for change in differences(before, after)} == {"parents.sources[0].files.a.jsonl", "content"}


def test_changed_fields_are_told_with_their_paths() -> None:
    before = {"length": {"min": 3}, "names": ["a"], "rate": 1, "same": None}
    after = {"length": {"min": 4}, "names": ["a", "b"], "rate": 1.0, "same": None, "new": True}
    assert [(c.place, c.before, c.after) for c in changed_fields(before, after)] == [
        ("length.min", 3, 4),
        ("names", ["a"], ["a", "b"]),
        ("new", None, True),
        # Equal in Python, but not in a fingerprint.
        ("rate", 1, 1.0),
    ]
