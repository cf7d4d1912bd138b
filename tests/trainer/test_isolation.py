"""Samples packed into one row must not see each other, whatever the attention and the padding."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AttentionInterface, masking_utils

from tasks.methods import Full, Lora, Method
from tasks.trainer.attention import VARLEN, varlen_attention
from tasks.trainer.batches import Batch, PackedCollator
from tasks.trainer.isolation import LeakError
from tasks.trainer.job import TrainingJob
from tasks.trainer.launch import TrainerFailed, run
from tasks.trainer.models import load_model
from tasks.trainer.train import train

pytestmark = [
    # TRL and peft still use these names themselves; transformers calls them deprecated.
    pytest.mark.filterwarnings("ignore:`(is_)?gradient_checkpointing` is deprecated:FutureWarning"),
]

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("FETTLE_REAL_DATA", ROOT.parent / "shared" / "data"))
Sample = tuple[list[int], int]
WriteRows = Callable[[Path, Sequence[Sequence[Sample]]], Path]
LORA = Lora(rank=4, target_modules=["q_proj", "v_proj", "down_proj"])
ROWS: list[list[Sample]] = [[([1, *range(40 + n, 60 + n + size)], 4) for size in (0, 9, 4, 30)] for n in range(8)]
"""Four samples a row."""


def packed(*samples: list[int]) -> dict[str, np.ndarray]:
    ids = np.array([token for sample in samples for token in sample])
    positions = np.array([place for sample in samples for place in range(len(sample))])
    return {"input_ids": ids, "labels": ids, "position_ids": positions}


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_changed_sample_moves_no_other_logits(base: Path, attention: str) -> None:
    model = load_model(base, torch.float32, attention)
    collate = PackedCollator(padding_id=1)
    first, second, third, alone = [0, 20, 21, 22], [0, 30, 31, 32, 33], [0, 40], [0, 50, 51, 52]

    def logits(changed: list[int]) -> torch.Tensor:
        batch = collate([packed(changed, second, third), packed(alone)]).inputs
        assert batch["input_ids"].shape == (2, 11)
        with torch.no_grad():
            out: torch.Tensor = model(
                input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False
            ).logits
        return out

    before, after = logits(first), logits([0, 60, 61, 62])
    assert not torch.equal(before[0, 1:4], after[0, 1:4])
    assert torch.equal(before[0, 4:], after[0, 4:])
    assert torch.equal(before[1], after[1])
    with torch.no_grad():
        assert torch.allclose(before[0, 4:9], model(torch.tensor([second])).logits[0], atol=1e-5)
        assert torch.allclose(before[1, :4], model(torch.tensor([alone])).logits[0], atol=1e-5)


def test_a_mask_or_a_cache_would_let_samples_leak(base: Path) -> None:
    """Why the collator makes none, and training uses no cache: transformers then overlooks the restarts."""
    model = load_model(base, torch.float32)
    batch = PackedCollator(padding_id=1)([packed([0, 20, 21], [0, 30, 31])]).inputs
    mask = torch.ones_like(batch["input_ids"])
    with torch.no_grad():
        inputs = {"input_ids": batch["input_ids"], "position_ids": batch["position_ids"]}
        isolated = model(**inputs, use_cache=False).logits
        with_mask = model(**inputs, use_cache=False, attention_mask=mask).logits
        with_cache = model(**inputs, use_cache=True).logits
    assert not torch.allclose(with_mask[0, 3:], isolated[0, 3:], atol=1e-3)
    assert not torch.allclose(with_cache[0, 3:], isolated[0, 3:], atol=1e-3)


def test_the_first_token_of_a_sample_and_padding_carry_no_loss() -> None:
    made = PackedCollator(padding_id=9)([packed([5, 6], [7, 8]), packed([5])])
    batch = made.inputs
    assert batch["labels"].tolist() == [[-100, 6, -100, 8], [-100] * 4]
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8], [5, 9, 9, 9]]
    assert batch["position_ids"].tolist() == [[0, 1, 0, 1], [0, 0, 1, 2]]
    assert batch["trained_at"].tolist() == [1, 3]
    assert made.tokens == 5


def test_for_variable_length_attention_rows_stand_behind_one_another() -> None:
    batch = PackedCollator(padding_id=9, flat=True)([packed([5, 6], [7, 8, 9]), packed([4])]).inputs
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8, 9, 4]]
    assert batch["labels"].tolist() == [[-100, 6, -100, 8, 9, -100]]
    assert batch["position_ids"].tolist() == [[0, 1, 0, 1, 2, 0]]
    assert batch["cu_seq_lens_q"].tolist() == batch["cu_seq_lens_k"].tolist() == [0, 2, 5, 6]
    assert (batch["cu_seq_lens_q"].dtype, batch["max_length_q"], batch["max_length_k"]) == (torch.int32, 3, 3)
    assert "attention_mask" not in batch


@pytest.fixture
def job(base: Path, write_rows: WriteRows, tmp_path: Path) -> TrainingJob:
    return TrainingJob(
        base_model=base,
        sequences=[write_rows(tmp_path / "rows.parquet", ROWS)],
        output=tmp_path / "out",
        batch_size=8,
        micro_batch_size=2,
        dtype="float32",
    )


def proven(job: TrainingJob) -> dict[str, Any]:
    train(job)
    found: dict[str, Any] = json.loads((job.output / "result.json").read_text())["isolation"]
    return found


@pytest.mark.parametrize("method", [Full(), LORA], ids=["full", "lora"])
@pytest.mark.parametrize("attention", ["varlen", "sdpa", "eager"])
@pytest.mark.parametrize("model", ["stories260K", "demo"])
def test_every_run_on_packed_rows_proves_their_isolation(
    job: TrainingJob, model: str, attention: str, method: Method
) -> None:
    folder = ROOT / "flows/demo/base_model" if model == "demo" else DATA / "models" / model
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is absent")
    facts = proven(job.model_copy(update={"base_model": folder, "attention": attention, "method": method}))
    assert (facts["attention"], facts["dtype"], facts["device"]) == (attention, "float32", "cpu")
    assert facts["samples"] == 6  # three of each of two rows
    assert facts["changed_moved"] > 0.1
    assert facts["others_moved"] == 0
    assert facts["alone_differs"] < 1e-4


@pytest.mark.parametrize("method", [Full(), LORA], ids=["full", "lora"])
def test_the_proof_holds_in_bfloat16(job: TrainingJob, method: Method) -> None:
    facts = proven(job.model_copy(update={"dtype": "bfloat16", "method": method}))
    assert (facts["dtype"], facts["others_moved"]) == ("bfloat16", 0)
    assert facts["changed_moved"] > 0.1
    assert facts["alone_differs"] < 0.05


def masked(inputs: dict[str, Any]) -> dict[str, Any]:
    return inputs | {"attention_mask": torch.ones_like(inputs["input_ids"])}


def without_positions(inputs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in inputs.items() if name != "position_ids"}


def without_bounds(inputs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in inputs.items() if name not in ("position_ids", "cu_seq_lens_q")}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("method", [Full(), LORA], ids=["full", "lora"])
@pytest.mark.parametrize(
    ("attention", "fault"), [("sdpa", masked), ("sdpa", without_positions), ("varlen", without_bounds)]
)
def test_a_batch_that_lets_samples_leak_is_refused_before_the_first_step(
    job: TrainingJob,
    monkeypatch: pytest.MonkeyPatch,
    attention: str,
    fault: Callable[..., Any],
    method: Method,
    dtype: str,
) -> None:
    collate = PackedCollator.__call__

    def leaking(self: PackedCollator, rows: Sequence[dict[str, Any]]) -> Batch:
        batch = collate(self, rows)
        return batch._replace(inputs=fault(batch.inputs))

    monkeypatch.setattr(PackedCollator, "__call__", leaking)
    told = rf"changing one sample moved the logits of another by .* \({attention}, .*cpu\)"
    with pytest.raises(LeakError, match=told):
        train(job.model_copy(update={"method": method, "dtype": dtype, "attention": attention}))
    assert list(job.output.iterdir()) == []


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_an_attention_that_overlooks_where_samples_begin_is_refused(
    job: TrainingJob, monkeypatch: pytest.MonkeyPatch, attention: str
) -> None:
    monkeypatch.setattr(masking_utils, "find_packed_sequence_indices", lambda _: None)
    with pytest.raises(
        LeakError, match=r"Nothing was trained. Set training.attention to .*tokenization.packing to fal"
    ):
        train(job.model_copy(update={"attention": attention}))


def test_flash_attention_is_asked_for_where_it_cannot_be(job: TrainingJob) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ValueError, match=r"training.attention is flash_attention_2, which cannot be used .* to auto"):
        train(job.model_copy(update={"attention": "flash_attention_2"}))


def test_auto_takes_the_first_attention_that_keeps_samples_apart(
    job: TrainingJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert proven(job)["attention"] == "varlen"

    def overlooking(*args: Any, **named: Any) -> Any:
        return varlen_attention(*args, **named | {"cu_seq_lens_q": None, "position_ids": None})

    # The only way to an attention that is registered.
    monkeypatch.setitem(AttentionInterface._global_mapping, VARLEN, overlooking)
    assert proven(job)["attention"] == "sdpa"


def test_a_single_sample_needs_no_proof(job: TrainingJob, write_rows: WriteRows, tmp_path: Path) -> None:
    assert proven(job.model_copy(update={"sequences": [write_rows(tmp_path / "1.parquet", [[ROWS[0][0]]])]})) is None


def test_the_parent_hears_of_the_proof(job: TrainingJob, tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    run("tasks.trainer.train", job, folder=tmp_path, on_event=events.append, on_line=lambda _: None)
    assert events[0]["event"] == "isolated"
    assert events[0]["others_moved"] == 0


def test_the_parent_hears_of_a_model_that_cannot_be_used(job: TrainingJob, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    told = job.model_copy(update={"attention": "flash_attention_2"})
    with pytest.raises(TrainerFailed, match=r"training\.attention is flash_attention_2"):
        run("tasks.trainer.train", told, folder=tmp_path, on_event=lambda _: None, on_line=lambda _: None)
