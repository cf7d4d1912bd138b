"""Rows by what decides which of two copies stays, however they come: some bytes a row."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

COLUMNS = ["id", "split", "source", "file", "line", "quality", "refusal"]


class Rows:
    """What is known of all rows of a table, in the order in which they came."""

    def __init__(self) -> None:
        self._batches: list[pa.RecordBatch] = []

    def add(self, batch: pa.RecordBatch) -> None:
        """Take in more rows."""
        chosen = batch.select(COLUMNS)
        for name in ("split", "source", "file"):
            place = COLUMNS.index(name)
            chosen = chosen.set_column(place, name, pc.dictionary_encode(chosen.column(place)))
        self._batches.append(chosen)

    def table(self) -> pa.Table:
        """All rows: `COLUMNS`, with one dictionary for each of the texts that repeat."""
        columns = {"id": pa.string(), "line": pa.int64(), "quality": pa.float64(), "refusal": pa.bool_()}
        kinds = [(name, columns.get(name, pa.dictionary(pa.int32(), pa.string()))) for name in COLUMNS]
        return pa.Table.from_batches(self._batches, pa.schema(kinds)).unify_dictionaries().combine_chunks()


def numbered(column: pa.ChunkedArray, names: Sequence[str] = ()) -> tuple[npt.NDArray[np.int32], list[str]]:
    """A repeating text as a number a row, and the text of each number: the names given, then others by themselves."""
    encoded = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    encoded = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) and encoded.num_chunks else encoded
    held = encoded.dictionary.to_pylist() if len(encoded) else []
    every = [*names, *sorted(set(held) - set(names))]
    ranks = np.array([every.index(name) for name in held] or [0], dtype=np.int32)
    return ranks[encoded.indices.to_numpy()] if len(encoded) else np.empty(0, np.int32), every


def declared_order(rows: pa.Table, sources: Sequence[str]) -> npt.NDArray[np.int64]:
    """The held-out side first; then sources as they are named; the better quality; answers before refusals; ids.

    Rows of one id are the same conversation; of these the first file and line goes first.
    """
    keys = pa.table(
        {
            "side": pc.not_equal(rows["split"].cast(pa.string()), "heldout").cast(pa.int8()),
            "source": numbered(rows["source"], sources)[0],
            "quality": rows["quality"],
            "refusal": rows["refusal"].cast(pa.int8()),
            "id": rows["id"],
            "file": numbered(rows["file"])[0],
            "line": rows["line"],
        }
    )
    direction = {"quality": "descending"}
    order = pc.sort_indices(keys, sort_keys=[(name, direction.get(name, "ascending")) for name in keys.column_names])
    return np.asarray(order, dtype=np.int64)
