"""What fills a batch changes nothing: padding is told by its place, never by its id; nor does the order of rows."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tasks.trainer.batches import UNTRAINED, Batch, PackedCollator, read_rows
from tasks.trainer.config import Watching
from tasks.trainer.job import TrainingJob
from tasks.trainer.models import load_model, load_tokenizer, padding_id
from tasks.trainer.train import train

pytestmark = [
    # TRL and peft still use these names themselves; transformers calls them deprecated.
    pytest.mark.filterwarnings("ignore:`(is_)?gradient_checkpointing` is deprecated:FutureWarning"),
]

Sample = tuple[list[int], int]
WriteRows = Callable[[Path, Sequence[Sequence[Sample]]], Path]
BOS, EOS = 0, 1
SIZES = [3, 40, 5, 38, 4, 42, 6, 41] * 8
ROWS: list[list[Sample]] = [[([BOS, *range(30, 30 + size), 60, 61, EOS], size)] for size in SIZES]
"""One sample a row; each answer ends with the end of sequence."""


@pytest.fixture
def job(base: Path, write_rows: WriteRows, tmp_path: Path) -> TrainingJob:
    return TrainingJob(
        base_model=base,
        sequences=[write_rows(tmp_path / "rows.parquet", ROWS)],
        output=tmp_path / "out",
        epochs=1,
        batch_size=64,
        micro_batch_size=8,
        attention="sdpa",  # the one that pads
        dtype="float32",
    )


def first_loss(job: TrainingJob) -> float:
    train(job)
    found: float = json.loads((job.output / "result.json").read_text())["first_loss"]
    return found


def naive(base: Path, rows: Sequence[Sequence[Sample]]) -> tuple[float, int]:
    """Mean loss and number of trained tokens, every sample alone and unpadded."""
    model, total, tokens = load_model(base, torch.float32), 0.0, 0
    with torch.no_grad():
        for ids, cut in [sample for row in rows for sample in row]:
            scores = model(torch.tensor([ids])).logits[0].log_softmax(-1)
            total -= sum(float(scores[place - 1, ids[place]]) for place in range(cut, len(ids)))
            tokens += len(ids) - cut
    return total / tokens, tokens


def configured(base: Path, folder: Path, **settings: Any) -> Path:
    """The base model with a tokenizer of other settings."""
    shutil.copytree(base, folder)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    return folder


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pad", [None, "</s>", "<s>", "a"])
def test_side_and_token_of_padding_change_neither_loss_nor_trained_positions(
    job: TrainingJob, base: Path, tmp_path: Path, pad: str | None, side: str
) -> None:
    settings = {"padding_side": side} | ({"pad_token": pad} if pad else {})
    folder = configured(base, tmp_path / "base", **settings)
    tokenizer = load_tokenizer(folder)
    wanted = json.loads((base / "tokenizer.json").read_text())["model"]["vocab"].get(pad)
    assert tokenizer.pad_token_id == wanted
    rows = read_rows(job.sequences, tmp_path / "cache")
    batch = PackedCollator(padding_id(tokenizer))([rows[0], rows[1]]).inputs
    trained = [row.nonzero()[:, 0].tolist() for row in batch["labels"] != UNTRAINED]
    assert trained == [[3, 4, 5, 6], [40, 41, 42, 43]]
    assert first_loss(job.model_copy(update={"base_model": folder})) == pytest.approx(naive(base, ROWS)[0], abs=1e-5)


def test_pad_equal_to_end_of_sequence_keeps_the_real_end_trained(
    job: TrainingJob, base: Path, write_rows: WriteRows, tmp_path: Path
) -> None:
    """The mistake: `labels[labels == tokenizer.pad_token_id] = -100`, after which no answer ever ends."""
    tokenizer = load_tokenizer(configured(base, tmp_path / "base", pad_token="</s>"))
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == EOS
    rows = read_rows(job.sequences, tmp_path / "cache")
    batch = PackedCollator(padding_id(tokenizer))([rows[0], rows[1]]).inputs
    short = len(ROWS[0][0][0])
    assert batch["input_ids"][0, short - 1 :].eq(EOS).all()  # the real end, and padding of the same id behind it
    assert batch["labels"][0, short - 1] == EOS
    assert batch["labels"][0, short:].eq(UNTRAINED).all()
    # Rows in which nothing but the end is trained: its loss is the whole loss.
    ends: list[list[Sample]] = [[(row[0][0], len(row[0][0]) - 1)] for row in ROWS]
    only = job.model_copy(
        update={"base_model": tmp_path / "base", "sequences": [write_rows(tmp_path / "ends.parquet", ends)]}
    )
    loss, tokens = naive(base, ends)
    assert tokens == len(ROWS)
    assert first_loss(only) == pytest.approx(loss, abs=1e-5)


def test_rows_of_like_length_share_a_batch_when_they_are_grouped(
    job: TrainingJob, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    collate = PackedCollator.__call__
    batches: list[list[int]] = []

    def watched(self: PackedCollator, rows: Sequence[dict[str, Any]]) -> Batch:
        if len(rows) == 4:  # the proof of isolation looks at two
            batches.append([len(row["input_ids"]) for row in rows])
        return collate(self, rows)

    monkeypatch.setattr(PackedCollator, "__call__", watched)
    padding = {}
    for grouped in (False, True):
        batches.clear()
        update = {"group_by_length": grouped, "batch_size": 4, "micro_batch_size": 4, "output": tmp_path / str(grouped)}
        train(job.model_copy(update=update | {"watching": Watching(preflight=False)}))
        assert sorted(length for batch in batches for length in batch) == sorted(len(row[0][0]) for row in ROWS)
        padding[grouped] = sum(max(batch) * len(batch) - sum(batch) for batch in batches)
    assert padding[True] < padding[False] / 4


def test_grouping_gives_the_same_loss_of_a_whole_batch(job: TrainingJob, base: Path) -> None:
    assert first_loss(job.model_copy(update={"group_by_length": True})) == pytest.approx(naive(base, ROWS)[0], abs=1e-5)


def test_packed_rows_are_not_grouped(job: TrainingJob, write_rows: WriteRows, tmp_path: Path) -> None:
    packed = write_rows(tmp_path / "packed.parquet", [[ROWS[0][0], ROWS[2][0]]] * 8)
    with pytest.raises(ValueError, match=r"group_by_length is set, but the rows are packed .* tokenization\.packing"):
        train(job.model_copy(update={"sequences": [packed], "group_by_length": True}))
