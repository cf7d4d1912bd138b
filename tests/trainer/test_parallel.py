"""However a step is split, over micro-batches or processes, it is the same step."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tasks.methods import Full, Lora, Method
from tasks.trainer import launch
from tasks.trainer.attention import VARLEN
from tasks.trainer.batches import PackedCollator, measure, read_rows
from tasks.trainer.config import Watching
from tasks.trainer.head import patch, trained_loss
from tasks.trainer.job import TrainingJob
from tasks.trainer.models import load_model
from tasks.trainer.order import Order, Steps
from tasks.trainer.train import train

pytestmark = [
    # peft still uses this name itself; transformers calls it deprecated.
    pytest.mark.filterwarnings("ignore:`(is_)?gradient_checkpointing` is deprecated:FutureWarning"),
]

ROOT = Path(__file__).resolve().parents[2]
LORA = Lora(rank=4, target_modules=["q_proj", "v_proj", "down_proj"])


@pytest.fixture
def job(uneven_job: TrainingJob) -> TrainingJob:
    return uneven_job


@pytest.mark.parametrize("flat", [True, False], ids=["behind one another", "padded"])
def test_gradients_do_not_depend_on_how_a_batch_is_split(job: TrainingJob, flat: bool, tmp_path: Path) -> None:
    rows = read_rows(job.sequences, tmp_path / "cache")
    trained = measure(rows).trained
    model = load_model(job.base_model, torch.float32, VARLEN if flat else "sdpa")
    patch(model)
    gradients: dict[tuple[int, int], torch.Tensor] = {}
    for size, processes in ((8, 1), (4, 1), (2, 1), (1, 1), (2, 2)):
        model.zero_grad()
        for rank in range(processes):
            order = Order(len(rows), 1, 8, 0)
            steps = Steps(rows, order, PackedCollator(0, flat), micro_batch_size=size, rank=rank, processes=processes)
            tokens = int(trained[order.step(1)].sum())
            for batch in steps[1]:
                (trained_loss(model, batch.inputs) * batch.counts / tokens).backward()
        gradients[size, processes] = torch.cat([weight.grad.flatten() for weight in model.parameters()])
    whole = gradients.pop((8, 1))
    assert whole.norm() > 0.1
    for split, gradient in gradients.items():
        assert (gradient - whole).norm() / whole.norm() < 1e-6, split


def test_the_order_of_rows_does_not_depend_on_processes_or_micro_batches(job: TrainingJob, tmp_path: Path) -> None:
    rows = read_rows(job.sequences, tmp_path / "cache")
    order = Order(len(rows), 2.5, 8, seed=3)
    assert order.steps == 6
    stream = np.concatenate([order.step(number) for number in range(order.steps)])
    assert [sorted(stream[at : at + 18]) for at in (0, 18)] == [list(range(18))] * 2
    assert len(set(stream[36:])) == 9
    assert list(stream[:18]) != list(stream[18:36])
    for size, processes in ((8, 1), (1, 1), (2, 2), (1, 4)):
        shares = [
            Steps(rows, order, PackedCollator(0), micro_batch_size=size, rank=rank, processes=processes)
            for rank in range(processes)
        ]
        for number in range(order.steps):
            mine = [share.micro_batches(number) for share in shares]
            assert len({len(each) for each in mine}) == 1
            turns = [each for turn in zip(*mine, strict=True) for each in turn]
            assert list(np.concatenate(turns)) == list(order.step(number))


@pytest.mark.parametrize(
    ("parallel", "method"),
    [
        pytest.param("ddp", Full(), id="ddp-full"),
        pytest.param("fsdp", Full(), id="fsdp-full"),
        pytest.param("fsdp", LORA, id="fsdp-lora", marks=pytest.mark.soak),
    ],
)
def test_two_processes_give_the_losses_of_one(job: TrainingJob, parallel: str, method: Method, tmp_path: Path) -> None:
    single = job.model_copy(update={"method": method})
    train(single)
    told = single.model_copy(update={"output": tmp_path / "double", "processes": 2, "parallel": parallel})
    events = run(told, tmp_path / "double-run")
    assert {event["processes"] for event in events if event["event"] == "started"} == {2}
    one, two = (pq.read_table(each.output / "metrics.parquet").to_pylist() for each in (single, told))
    assert [row["sequences"] for row in one] == [row["sequences"] for row in two]
    for name in ("loss", "heldout_loss"):
        pairs = [(first[name], second[name]) for first, second in zip(one, two, strict=True)]
        assert all((a is None) == (b is None) for a, b in pairs)
        assert max(abs(a - b) for a, b in pairs if a is not None) < 1e-4, name
    ids = torch.tensor([[0, 12, 13, 60, 61]])
    with torch.no_grad():
        logits = [load_model(each.output / "model", torch.float32)(ids).logits for each in (single, told)]
    assert torch.allclose(*logits, atol=1e-3)


@pytest.mark.soak
def test_a_run_of_two_processes_resumes_as_one(job: TrainingJob, tmp_path: Path) -> None:
    """And with FSDP as with DDP: checkpoints do not tell how many wrote them."""
    train(job)
    update = {"processes": 2, "parallel": "fsdp", "output": tmp_path / "double", "checkpoints": tmp_path / "kept"}
    told = job.model_copy(update={**update, "watching": Watching(checkpoint_minutes=0)})
    run(told, tmp_path / "double-run")
    resumed = {"output": tmp_path / "on", "checkpoints": tmp_path / "kept", "resume_from": tmp_path / "kept" / "step-3"}
    train(job.model_copy(update=resumed))
    one, on = (pq.read_table(path / "metrics.parquet").to_pylist() for path in (tmp_path / "single", tmp_path / "on"))
    assert [row["step"] for row in one] == [row["step"] for row in on]
    assert max(abs(a["loss"] - b["loss"]) for a, b in zip(one[1:], on[1:], strict=True)) < 1e-4


def run(job: TrainingJob, folder: Path) -> list[dict[str, object]]:
    events: list[dict[str, object]] = []
    lines: list[str] = []
    launch.run(
        "tasks.trainer.train",
        job,
        folder=folder,
        on_event=events.append,
        on_line=lines.append,
        processes=job.processes,
    )
    return events


@pytest.mark.soak
def test_fsdp_leaves_each_process_a_part_of_the_model(job: TrainingJob, tmp_path: Path) -> None:
    """In bfloat16, too, losses are told and gradients added up in float32."""
    told = job.model_copy(update={"processes": 2, "parallel": "fsdp", "dtype": "bfloat16", "epochs": 0.5})
    events = run(told, tmp_path / "sharded")
    (started,) = [event for event in events if event["event"] == "started"]
    assert started["weights_here"] == pytest.approx(started["parameters"] / 2, rel=0.01)
    (first,) = [event for event in events if event["event"] == "evaluation" and event["step"] == 0]
    whole = job.model_copy(update={"dtype": "bfloat16", "epochs": 0.5, "output": tmp_path / "whole"})
    train(whole)
    measured = pq.read_table(whole.output / "metrics.parquet").to_pylist()[0]["heldout_loss"]
    assert first["heldout_loss"] == pytest.approx(measured, abs=2e-3)
    assert first["heldout_loss"] != round(float(first["heldout_loss"]), 2)
