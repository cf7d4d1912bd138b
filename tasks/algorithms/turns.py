"""The turns of a table of conversations as columns, so that a batch of rows is looked at in one go."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Turns:
    """All turns of all rows, in order."""

    rows: int
    """How many conversations there are."""
    row: Numbers
    """Which of them each turn belongs to; never falls."""
    role: npt.NDArray[np.object_]
    content: pa.Array
    length: Numbers
    """Characters of each turn's content."""
    calls: Mask
    """Which turns call tools."""

    @classmethod
    def of(cls, messages: pa.ChunkedArray) -> Self:
        """The turns of a `messages` column, as `CONVERSATIONS` has it."""
        column = messages.combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = pa.concat_arrays(column.chunks)
        flat = column.flatten()
        content = pc.fill_null(flat.field("content"), "")
        return cls(
            rows=len(column),
            row=pc.list_parent_indices(column).to_numpy().astype(np.int64),
            role=flat.field("role").to_numpy(zero_copy_only=False),
            content=content,
            length=pc.utf8_length(content).to_numpy().astype(np.int64),
            calls=flat.field("tool_calls").is_valid().to_numpy(zero_copy_only=False),
        )

    def count(self, chosen: Mask) -> Numbers:
        """How many of the chosen turns each row has."""
        return np.bincount(self.row[chosen], minlength=self.rows)

    def characters(self, chosen: Mask) -> Numbers:
        """How many characters the chosen turns of each row hold together."""
        return np.bincount(self.row[chosen], self.length[chosen], minlength=self.rows).astype(np.int64)

    def first(self, chosen: Mask) -> pa.Array:
        """What the first of the chosen turns of each row says; nothing where there is none."""
        places = np.flatnonzero(chosen)
        rows, firsts = np.unique(self.row[places], return_index=True)
        found = np.full(self.rows, -1, dtype=np.int64)
        found[rows] = places[firsts]
        return pc.fill_null(self.content.take(pa.array(found, mask=found < 0)), "")
