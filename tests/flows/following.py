"""Where every input row went, read from the artifacts of a run."""

from collections import Counter

from tasks.artifacts.store import Store

Origin = tuple[str, str, int]


def fates(store: Store) -> tuple[set[Origin], dict[str, set[Origin]]]:
    """All rows read, and the rows of each fate; the store must hold one artifact of each data stage."""
    stages = {address.split("/")[0]: store.manifest(address).artifact for address in store.addresses()}

    def origins(stage: str, table: str) -> set[Origin]:
        columns = ["source", "file", "line"]
        rows = [(r["source"], r["file"], r["line"]) for r in store.rows(stages[stage], table, columns)]
        assert not [row for row, count in Counter(rows).items() if count > 1]
        return set(rows)

    trained = {i for row in store.rows(stages["tokenization"], "sequences", ["row_ids"]) for i in row["row_ids"]}
    mixture = store.rows(stages["mixing"], "mixture", ["id", "source", "file", "line"])
    found = {
        f"dropped by {stage}": origins(stage, "dropped")
        for stage in ("curation", "deduplication", "mixing", "tokenization")
    }
    found["rejected"] = origins("ingestion", "rejected")
    found["held out"] = origins("mixing", "heldout") - found["dropped by tokenization"]
    found["trained"] = {(row["source"], row["file"], row["line"]) for row in mixture if row["id"] in trained}
    return origins("ingestion", "conversations") | found["rejected"], found


def assert_every_row_is_followed(store: Store) -> None:
    """Every row read has one fate, and every stage's counts add up."""
    read, found = fates(store)
    assert set.union(*found.values()) == read
    assert sum(map(len, found.values())) == len(read)
    for address in store.addresses():
        counts = store.manifest(address).counts
        assert counts.read == counts.kept + sum(counts.dropped.values())
