"""The held-out rows that a trainer or scorer process measures loss on."""

from pathlib import Path

import pyarrow.parquet as pq

from tasks.artifacts.fingerprint import digest
from tasks.artifacts.manifest import Artifact
from tasks.artifacts.store import Store


def write_heldout(store: Store, tokenized: Artifact, most_rows: int, folder: Path) -> list[Path]:
    """A file with at most so many held-out rows, chosen by a hash of their ids; no file where there are none."""
    table = store.table(tokenized, "heldout")
    ids = [row[0] for row in table["row_ids"].to_pylist()]
    chosen = sorted(sorted(range(len(ids)), key=lambda index: digest(ids[index]))[:most_rows])
    if not chosen:
        return []
    path = folder / "heldout.parquet"
    pq.write_table(table.take(chosen), path)
    return [path]
