"""How full packed rows are, against TRL's packing; and the time that a million samples take."""

import os
import tarfile
import time
from functools import cache, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset
from tokenizers import Tokenizer
from trl import pack_dataset

from tasks.algorithms.tokens.packing import pack
from tests.speed.figure import Measurement, figure, require
from tests.speed.instructions import corpus

DATA = Path(os.environ.get("FETTLE_REAL_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
BUDGET_SECONDS = 10.0
MILLION = 1_000_000
_MADE_ROWS = {"alpaca": 18_731, "oasst": 953}
Lengths = npt.NDArray[np.int64]


def _fill(scratch: Path, name: str, capacity: int) -> Measurement:
    """Share of the rows' places that hold a token."""
    known, told = _lengths(name, scratch)
    lengths = known.clip(1, capacity)
    tokens = int(lengths.sum())
    packed = pack(lengths, capacity)
    rows = len(packed.offsets) - 1
    sums = np.add.reduceat(lengths[packed.order], packed.offsets[:-1])
    require(int(sums.max()) <= capacity and int(sums.sum()) == tokens, "our rows are too long or lost tokens")
    require(np.array_equal(np.sort(packed.order), np.arange(len(lengths))), "a sample is missing or stands twice")
    theirs = pack_dataset(_dataset(lengths), capacity, "bfd")
    peer_sums = np.array([sum(row) for row in theirs["seq_lengths"]])
    require(int(peer_sums.max()) <= capacity and int(peer_sums.sum()) == tokens, "TRL's rows hold other tokens")
    least = -(-tokens // capacity)
    return Measurement(
        ours=tokens / (rows * capacity),
        peer=tokens / (len(theirs) * capacity),
        peer_name="TRL pack_dataset, bfd",
        unit="fill",
        checked=f"{told}: {len(lengths):,} samples, all {tokens:,} tokens in both; {rows:,} rows against "
        f"{len(theirs):,}; no packing takes fewer than {least:,} (fill {tokens / (least * capacity):.4f})",
        more_is_better=True,
    )


alpaca_2048 = figure("pack.fill.alpaca_2048")(partial(_fill, name="alpaca", capacity=2048))
alpaca_8192 = figure("pack.fill.alpaca_8192")(partial(_fill, name="alpaca", capacity=8192))
oasst_2048 = figure("pack.fill.oasst_2048")(partial(_fill, name="oasst", capacity=2048))
oasst_8192 = figure("pack.fill.oasst_8192")(partial(_fill, name="oasst", capacity=8192))


@figure("pack.million")
def million(scratch: Path) -> Measurement:
    """Processor time in which a million samples of 300 tokens on average are packed into rows of 8,192."""
    lengths = np.random.default_rng(0).geometric(1 / 300, MILLION).clip(1, 8192)
    pack(lengths[:10], 8192)  # compiles the loop
    began = time.process_time()
    packed = pack(lengths, 8192)
    seconds = time.process_time() - began
    rows = len(packed.offsets) - 1
    require(np.array_equal(np.sort(packed.order), np.arange(MILLION)), "a sample is missing or stands twice")
    return Measurement(
        ours=seconds,
        peer=BUDGET_SECONDS,
        peer_name="budget",
        unit="CPU-s",
        checked=f"each of {MILLION:,} samples in one of {rows:,} rows, fill {lengths.sum() / (rows * 8192):.5f}",
    )


def _dataset(lengths: Lengths) -> Dataset:
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(np.zeros(offsets[-1], dtype=np.int32)))
    return Dataset(pa.table({"input_ids": ids}))


@cache
def _lengths(name: str, scratch: Path) -> tuple[Lengths, str]:
    """Token counts of the samples, in ChatML with Qwen's vocabulary where the real rows are there."""
    if not DATA.is_dir():
        texts = corpus(_MADE_ROWS[name]).texts
        return np.array([len(text.split()) for text in texts]), "made rows counted in words (no real data here)"
    with tarfile.open(DATA / "tokenizers" / "qwen_151k.tar.gz") as archive:
        archive.extractall(scratch, filter="data")
    tokenizer = Tokenizer.from_file(str(scratch / "qwen_151k" / "tokenizer.json"))
    tokenizer.no_truncation()
    encodings = tokenizer.encode_batch_fast(_chats(name), add_special_tokens=False)
    return np.array([len(each) for each in encodings]), f"real {name} rows in ChatML, Qwen's vocabulary"


def _chats(name: str) -> list[str]:
    if name == "alpaca":
        rows = pq.read_table(DATA / "instruction/alpaca_original_subset.parquet").to_pylist()
        turns = [[("user", f"{row['instruction']}\n\n{row['input']}"), ("assistant", row["output"])] for row in rows]
    else:
        rows = pq.read_table(DATA / "conversations/oasst1_validation_via_qlora.parquet").to_pylist()
        turns = [[(message["role"], message["content"]) for message in row["messages"]] for row in rows]
    return ["".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in each) for each in turns]
