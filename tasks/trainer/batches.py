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
    packed_row: int | None
    """The first row that holds several samples of at least two tokens; None where no row does."""


def measure(rows: Dataset) -> Extent:
    """Sizes of the rows; refuses rows whose columns differ in length."""
    tokens = trained = longest = highest = 0
    packed = None
    for number, row in enumerate(rows):
        lengths = {name: len(row[name]) for name in COLUMNS}
        if len(set(lengths.values())) > 1 or not len(row["input_ids"]):
            raise ValueError(f"sequence row {number} has columns of lengths {lengths}; they must be equal and not 0.")
        tokens += len(row["input_ids"])
        trained += int(trained_positions(row["labels"], row["position_ids"]).sum())
        longest = max(longest, int(row["position_ids"].max()) + 1)
        highest = max(highest, int(row["input_ids"].max()))
        if packed is None and int((row["position_ids"] == 1).sum()) > 1:
            packed = number
    return Extent(len(rows), tokens, trained, longest, highest, packed)


@dataclass(frozen=True)
class PackedCollator:
    """Puts rows under one another, padded to one length, or behind one another; never with an attention mask.

    Without a mask or a cache, and with position ids that restart, transformers builds the block-diagonal causal mask
    for sdpa and eager attention alike (`masking_utils.find_packed_sequence_indices`). With a mask, even one of ones,
    or with a cache, it does not look at the position ids and samples leak into each other, as with TRL's own
    collator (trl issues 805, 1230, 3067). Padding restarts at position 0 as well: one more
    sample, without labels. Flash attention reads position ids in a batch of one row only, so there rows stand behind
    one another, and it is given the cumulative lengths of the samples.
    """

    padding_id: int
    flat: bool = False
    """One row without padding, with `cu_seq_lens_q` and its kin, for variable-length attention."""

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Tensors (rows, longest row), or (1, all tokens) when flat, of int64; `tokens`: how many are no padding."""
        if self.flat:
            columns = {name: np.concatenate([row[name] for row in rows]).astype(np.int64) for name in COLUMNS}
            merged = self._padded([columns])
            return merged | _cumulative(merged["position_ids"][0])
        return self._padded(rows)

    def _padded(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
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
        return tensors | {"tokens": torch.tensor(sum(lengths))}


def _cumulative(position_ids: torch.Tensor) -> dict[str, Any]:
    """Where samples begin in a row, in the words of variable-length attention."""
    begins = (position_ids == 0).nonzero()[:, 0]
    bounds = torch.cat([begins, torch.tensor([len(position_ids)])]).to(torch.int32)
    longest = int(bounds.diff().max())
    return {"cu_seq_lens_q": bounds, "cu_seq_lens_k": bounds, "max_length_q": longest, "max_length_k": longest}
