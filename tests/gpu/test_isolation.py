"""Packed samples stay apart on a GPU, in bfloat16, with every attention that is installed there.

Run by hand on a machine with a CUDA device: `make gpu`. Elsewhere these tests skip.
"""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import masking_utils
from transformers.utils import is_flash_attn_2_available

from tasks.methods import Full, Lora, Method
from tasks.trainer.isolation import LeakError
from tasks.trainer.job import TrainingJob
from tasks.trainer.launch import TrainerFailed, run
from tasks.trainer.train import train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    # The libraries tell of their own future there; what is asked here is whether samples leak.
    pytest.mark.filterwarnings("ignore"),
]

BASE = Path(__file__).resolve().parents[2] / "flows" / "demo" / "base_model"
ATTENTIONS = ["sdpa", "eager", "flex_attention", *(["flash_attention_2"] if is_flash_attn_2_available() else [])]
METHODS: list[Method] = [Full(), Lora(rank=4, target_modules=["q_proj", "v_proj", "down_proj"])]
SIZES = [(24, 9, 70, 31), (40, 41, 42, 5), (100, 3), (7, 7, 7, 7, 7, 90)]


@pytest.fixture
def job(tmp_path: Path) -> TrainingJob:
    rows = [
        {
            "input_ids": [1 + (place * 7 + size + number) % 900 for size in sizes for place in range(size)],
            "labels": [1 + (place * 7 + size + number) % 900 for size in sizes for place in range(size)],
            "position_ids": [place for size in sizes for place in range(size)],
        }
        for number, sizes in enumerate(SIZES * 4)
    ]
    types = pa.list_(pa.int32())
    schema = pa.schema([("input_ids", types), ("labels", types), ("position_ids", types)])
    pq.write_table(pa.Table.from_pylist(rows, schema), tmp_path / "rows.parquet")
    return TrainingJob(
        base_model=BASE,
        sequences=[tmp_path / "rows.parquet"],
        output=tmp_path / "out",
        batch_size=8,
        micro_batch_size=4,
        dtype="bfloat16",
    )


def trained(job: TrainingJob) -> dict[str, Any]:
    """Trains in a process of its own, with the environment that every run has."""
    run("tasks.trainer.train", job, folder=job.output, on_event=lambda _: None, on_line=lambda _: None)
    found: dict[str, Any] = json.loads((job.output / "result.json").read_text())
    return found


@pytest.mark.parametrize("method", METHODS, ids=["full", "lora"])
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_a_run_on_packed_rows_proves_their_isolation(job: TrainingJob, attention: str, method: Method) -> None:
    facts = trained(job.model_copy(update={"attention": attention, "method": method}))
    proof = facts["isolation"]
    assert (proof["attention"], proof["dtype"], proof["device"]) == (attention, "bfloat16", "cuda")
    assert proof["changed_moved"] > 0.1
    assert proof["others_moved"] == 0
    assert proof["alone_differs"] < 0.05


@pytest.mark.parametrize("attention", [each for each in ATTENTIONS if each != "sdpa"])
def test_the_first_loss_is_the_same_with_every_attention(job: TrainingJob, attention: str) -> None:
    losses = [
        trained(job.model_copy(update={"attention": each, "output": job.output / each}))["first_loss"]
        for each in ("sdpa", attention)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=0.01)


def test_auto_takes_variable_length_attention_where_it_is_installed(job: TrainingJob) -> None:
    assert trained(job)["attention"] == ("flash_attention_2" if is_flash_attn_2_available() else "sdpa")


@pytest.mark.parametrize("attention", ["sdpa", "eager", "flex_attention"])
def test_an_attention_that_overlooks_where_samples_begin_is_refused(
    job: TrainingJob, monkeypatch: pytest.MonkeyPatch, attention: str
) -> None:
    monkeypatch.setattr(masking_utils, "find_packed_sequence_indices", lambda _: None)
    with pytest.raises(LeakError, match="packed samples are not isolated"):
        train(job.model_copy(update={"attention": attention}))


@pytest.mark.skipif(is_flash_attn_2_available(), reason="flash attention is installed")
def test_flash_attention_that_is_not_installed_is_refused(job: TrainingJob) -> None:
    with pytest.raises(TrainerFailed, match=r"training\.attention is flash_attention_2, which cannot be used"):
        trained(job.model_copy(update={"attention": "flash_attention_2"}))
