"""Labelled texts between stages: read whole, as columns, and written by place."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from tasks.artifacts.manifest import Artifact
from tasks.artifacts.store import Attempt, Store
from tasks.labelled_text import TEXTS, whole_text


def read_texts(store: Store, artifact: Artifact, table: str = "texts") -> pl.DataFrame:
    """All rows of a table of labelled texts."""
    return pl.DataFrame(store.table(artifact, table).cast(TEXTS))


def written(out: Attempt, name: str, rows: pl.DataFrame, places: Sequence[int]) -> None:
    """Write the rows at some places, in that order, as a table of an artifact."""
    out.write(name, as_texts(rows[list(places)]))


def as_texts(rows: pl.DataFrame) -> pa.Table:
    """Rows in the columns and types of the table on disk."""
    return rows.select(TEXTS.names).to_arrow().cast(TEXTS)


def whole_texts(rows: pl.DataFrame) -> list[str]:
    """Of each row its text, or both of them as one."""
    return [whole_text(*pair) for pair in rows.select("text", "text_pair").iter_rows()]


def indicator(labels_of_rows: Iterable[Iterable[str]], labels: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which labels each row has, as a matrix of rows by labels; names that are none of these are left out."""
    places = {label: place for place, label in enumerate(labels)}
    rows = [[places[name] for name in names if name in places] for names in labels_of_rows]
    truth = np.zeros((len(rows), len(labels)), dtype=np.bool_)
    for row, columns in enumerate(rows):
        truth[row, columns] = True
    return truth
