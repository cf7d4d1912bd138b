"""Packed rows from Parquet, and batches in which packed samples cannot see each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from datasets import Dataset

UNTRAINED = -100
"""Label of a token that carries no loss."""

COLUMNS = ["input_ids", "labels", "position_ids"]


def read_rows(paths: Sequence[Path], cache: Path) -> Dataset:
    """Rows with `COLUMNS`, memory-mapped from Arrow files in `cache`; every path must exist and hold the columns."""
    for path in paths:
        if missing := sorted(set(COLUMNS) - set(pq.read_schema(path).names)):
            raise ValueError(f"{path} has no column {missing}. Sequence files hold {COLUMNS}.")
    filled = [str(path) for path in paths if pq.read_metadata(path).num_rows]  # datasets cannot read empty files
    if not filled:
        raise ValueError(f"{[str(path) for path in paths]} hold no rows. Give at least one file with rows.")
    rows = Dataset.from_parquet(filled, columns=COLUMNS, cache_dir=str(cache))
    return rows.with_format("numpy")


def trained_positions(labels: np.ndarray, position_ids: np.ndarray) -> np.ndarray:
    """True where a token carries loss: labelled, and not the first of its sample, which nothing predicts."""
    positions: np.ndarray = (labels != UNTRAINED) & (position_ids != 0)
    return positions


@dataclass(frozen=True)
class Extent:
    """Facts about a set of rows, read in one pass before training."""

    rows: int
    tokens: int
    trained_tokens: int
    longest_sample: int
    highest_id: int


def measure(rows: Dataset) -> Extent:
    """Sizes of the rows; refuses rows whose columns differ in length."""
    tokens = trained = longest = highest = 0
    for number, row in enumerate(rows):
        lengths = {name: len(row[name]) for name in COLUMNS}
        if len(set(lengths.values())) > 1 or not len(row["input_ids"]):
            raise ValueError(f"sequence row {number} has columns of lengths {lengths}; they must be equal and not 0.")
        tokens += len(row["input_ids"])
        trained += int(trained_positions(row["labels"], row["position_ids"]).sum())
        longest = max(longest, int(row["position_ids"].max()) + 1)
        highest = max(highest, int(row["input_ids"].max()))
    return Extent(len(rows), tokens, trained, longest, highest)


@dataclass(frozen=True)
class PackedCollator:
    """Pads rows to one length, without an attention mask.

    Without a mask or a cache, and with position ids that restart, transformers builds the block-diagonal causal mask
    for sdpa and eager attention alike (`masking_utils.find_packed_sequence_indices`). With a mask, even one of ones,
    or with a cache, it does not look at the position ids and samples leak into each other, as with TRL's own
    collator (trl issues 805, 1230, 3067). Padding restarts at position 0 as well: one more
    sample, without labels.
    """

    padding_id: int

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Tensors (rows, longest row) of int64, and `lengths` (rows) without padding."""
        lengths = [len(row["input_ids"]) for row in rows]
        shape = (len(rows), max(lengths))
        input_ids = np.full(shape, self.padding_id, dtype=np.int64)
        labels = np.full(shape, UNTRAINED, dtype=np.int64)
        position_ids = np.zeros(shape, dtype=np.int64)
        for index, (row, length) in enumerate(zip(rows, lengths, strict=True)):
            trained = trained_positions(row["labels"], row["position_ids"])
            input_ids[index, :length] = row["input_ids"]
            labels[index, :length] = np.where(trained, row["labels"], UNTRAINED)
            position_ids[index, :length] = row["position_ids"]
            position_ids[index, length:] = np.arange(shape[1] - length)
        batch = {"input_ids": input_ids, "labels": labels, "position_ids": position_ids}
        tensors = {name: torch.from_numpy(values) for name, values in batch.items()}
        return tensors | {"lengths": torch.tensor(lengths)}
