"""Packed rows from Parquet, and batches in which packed samples cannot see each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import torch
from datasets import Dataset

UNTRAINED = -100
"""Label of a token that carries no loss."""

COLUMNS = ["input_ids", "labels", "position_ids"]
NAMES = ["row_ids", "roles"]
"""Columns of the samples' names, which rows may have."""


def read_rows(paths: Sequence[Path], cache: Path) -> Dataset:
    """Rows with `COLUMNS`, and those of `NAMES` that all files have, memory-mapped from Arrow files in `cache`.

    Every path must exist and hold the columns.
    """
    schemas = {path: set(pq.read_schema(path).names) for path in paths}
    for path, names in schemas.items():
        if missing := sorted(set(COLUMNS) - names):
            raise ValueError(f"{path} has no column {missing}. Sequence files hold {COLUMNS}.")
    filled = [str(path) for path in paths if pq.read_metadata(path).num_rows]  # datasets cannot read empty files
    if not filled:
        raise ValueError(f"{[str(path) for path in paths]} hold no rows. Give at least one file with rows.")
    named = [name for name in NAMES if all(name in names for names in schemas.values())]
    rows = Dataset.from_parquet(filled, columns=[*COLUMNS, *named], cache_dir=str(cache))
    return rows.with_format("numpy", columns=COLUMNS)


def names_of(rows: Dataset, number: int, column: str) -> list[str]:
    """The ids or roles of a row's samples; empty where the rows have no such column."""
    if column not in rows.column_names:
        return []
    return [str(each) for each in rows.select_columns([column]).with_format(None)[number][column]]


def trained_positions(labels: np.ndarray, position_ids: np.ndarray) -> np.ndarray:
    """True where a token carries loss: labelled, and not the first of its sample, which nothing predicts."""
    positions: np.ndarray = (labels != UNTRAINED) & (position_ids != 0)
    return positions


@dataclass(frozen=True)
class Extent:
    """Facts about a set of rows, read in one pass before training."""

    lengths: npt.NDArray[np.int64]
    """Tokens of each row."""
    trained: npt.NDArray[np.int64]
    """Trained tokens of each row."""
    longest_sample: int
    highest_id: int
    packed_row: int | None
    """The first row that holds several samples of at least two tokens; None where no row does."""

    @property
    def rows(self) -> int:
        return len(self.lengths)

    @property
    def tokens(self) -> int:
        return int(self.lengths.sum())

    @property
    def trained_tokens(self) -> int:
        return int(self.trained.sum())


def measure(rows: Dataset) -> Extent:
    """Sizes of the rows; refuses rows whose columns differ in length."""
    lengths, trained = (np.zeros(len(rows), dtype=np.int64) for _ in range(2))
    longest = highest = 0
    packed = None
    for number, row in enumerate(rows):
        sizes = {name: len(row[name]) for name in COLUMNS}
        if len(set(sizes.values())) > 1 or not len(row["input_ids"]):
            raise ValueError(f"sequence row {number} has columns of lengths {sizes}; they must be equal and not 0.")
        lengths[number] = len(row["input_ids"])
        trained[number] = trained_positions(row["labels"], row["position_ids"]).sum()
        longest = max(longest, int(row["position_ids"].max()) + 1)
        highest = max(highest, int(row["input_ids"].max()))
        if packed is None and int((row["position_ids"] == 1).sum()) > 1:
            packed = number
    return Extent(lengths, trained, longest, highest, packed)


class Batch(NamedTuple):
    """One forward pass."""

    inputs: dict[str, Any]
    """What the model takes: int64 tensors (rows, longest row), or (1, all tokens) with `cu_seq_lens_q` and its kin; and
    `trained_at`, the places of trained tokens in the flattened batch."""
    tokens: int
    """How many tokens are no padding."""
    counts: bool = True
    """Whether its loss counts; a filler's does not."""

    def on(self, device: torch.device) -> "Batch":
        """The same on a device."""
        moved = {
            name: value.to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value
            for name, value in self.inputs.items()
        }
        return self._replace(inputs=moved)


@dataclass(frozen=True)
class PackedCollator:
    """Puts rows behind one another, or under one another, padded to one length; never with an attention mask.

    Behind one another nothing is padded, and variable-length attention is given the cumulative lengths of the samples.
    Under one another, without a mask or a cache, and with position ids that restart, transformers builds the
    block-diagonal causal mask for sdpa and eager attention (`masking_utils.find_packed_sequence_indices`). With a mask,
    even one of ones, or with a cache, it does not look at the position ids and samples leak into each other, as with
    TRL's own collator (trl issues 805, 1230, 3067). Padding restarts at position 0 as well: one more sample, without
    labels.
    """

    padding_id: int
    flat: bool = False
    """One row without padding, with `cu_seq_lens_q` and its kin, for variable-length attention."""

    def __call__(self, rows: Sequence[dict[str, Any]]) -> Batch:
        """The rows as one batch."""
        tokens = sum(len(row["input_ids"]) for row in rows)
        if self.flat:
            columns = {name: np.concatenate([row[name] for row in rows]).astype(np.int64) for name in COLUMNS}
            merged = self._padded([columns])
            return Batch(merged | _cumulative(merged["position_ids"][0]), tokens)
        return Batch(self._padded(rows), tokens)

    def filler(self) -> Batch:
        """Two tokens whose loss does not count, for a process that has no row left while others have."""
        ids, places = np.full(2, self.padding_id), np.arange(2)
        return self([{"input_ids": ids, "labels": ids, "position_ids": places}])._replace(tokens=0, counts=False)

    def _padded(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
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
        batch: dict[str, np.ndarray] = {"input_ids": input_ids, "labels": labels, "position_ids": position_ids}
        # Found here, so that a GPU need not wait to be told how many there are.
        batch["trained_at"] = np.flatnonzero(labels != UNTRAINED)
        return {name: torch.from_numpy(values) for name, values in batch.items()}


def _cumulative(position_ids: torch.Tensor) -> dict[str, Any]:
    """Where samples begin in a row, in the words of variable-length attention."""
    begins = (position_ids == 0).nonzero()[:, 0]
    bounds = torch.cat([begins, torch.tensor([len(position_ids)])]).to(torch.int32)
    longest = int(bounds.diff().max())
    return {"cu_seq_lens_q": bounds, "cu_seq_lens_k": bounds, "max_length_q": longest, "max_length_k": longest}
