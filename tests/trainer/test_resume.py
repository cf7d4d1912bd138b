"""A run that is killed, or asked to stop, and goes on from its last checkpoint ends as one that nobody disturbed."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from tasks.methods import Full, Lora, Method
from tasks.trainer.config import Watching
from tasks.trainer.events import parse
from tasks.trainer.job import TrainingJob
from tasks.trainer.launch import child_environment
from tasks.trainer.train import train

pytestmark = [
    # peft still uses this name itself; transformers calls it deprecated.
    pytest.mark.filterwarnings("ignore:`(is_)?gradient_checkpointing` is deprecated:FutureWarning"),
]

Sample = tuple[list[int], int]
WriteRows = Callable[[Path, Sequence[Sequence[Sample]]], Path]
PACKED: list[list[Sample]] = [
    [([0, *range(10 + n, 14 + n), 60, 61, 62, 1], 4), ([0, 20 + n, 60, 61, 1], 2 + n % 3)] * (1 + n % 3)
    for n in range(16)
]
SINGLE: list[list[Sample]] = [row[:1] for row in PACKED]
HELDOUT: list[list[Sample]] = [[([0, *range(30, 30 + n), 60, 61, 62, 1], n)] for n in (2, 5, 9)]
LORA = Lora(rank=4, dropout=0.2, target_modules=["q_proj", "v_proj", "down_proj"])
STEPS_AN_EPOCH, STEPS = 4, 12


def job_of(base: Path, write_rows: WriteRows, folder: Path, method: Method, rows: list[list[Sample]]) -> TrainingJob:
    return TrainingJob(
        base_model=base,
        sequences=[write_rows(folder / "train.parquet", rows)],
        heldout=[write_rows(folder / "heldout.parquet", HELDOUT)],
        output=folder / "undisturbed",
        method=method,
        learning_rate=1e-2,
        epochs=STEPS / STEPS_AN_EPOCH,
        batch_size=4,
        micro_batch_size=2,
        evaluations=4,
        early_stopping=None,
        seed=3,
        dtype="float32",
        watching=Watching(checkpoint_minutes=0),
    )


@pytest.mark.parametrize(
    ("method", "rows", "sent", "between_epochs"),
    [
        (Full(), PACKED, signal.SIGKILL, False),
        pytest.param(Full(), SINGLE, signal.SIGTERM, True, marks=pytest.mark.soak),
        pytest.param(LORA, PACKED, signal.SIGTERM, False, marks=pytest.mark.soak),
        (LORA, SINGLE, signal.SIGKILL, True),
    ],
    ids=["full-packed-kill", "full-single-term-between", "lora-packed-term", "lora-single-kill-between"],
)
def test_a_run_that_is_stopped_anywhere_ends_with_the_same_bits(
    base: Path,
    write_rows: WriteRows,
    tmp_path: Path,
    method: Method,
    rows: list[list[Sample]],
    sent: signal.Signals,
    between_epochs: bool,
) -> None:
    job = job_of(base, write_rows, tmp_path, method, rows)
    train(job)
    inside = [step for step in range(2, STEPS - 1) if step % STEPS_AN_EPOCH]
    step = STEPS_AN_EPOCH if between_epochs else random.choice(inside)
    events = stopped_at(
        job.model_copy(update={"output": tmp_path / "cut", "checkpoints": tmp_path / "one"}), step, sent
    )
    if sent == signal.SIGTERM:
        assert events[-1]["kind"] == "interrupted"
        assert [event["event"] for event in events[-2:]] == ["checkpoint", "failed"]
    checkpoint = max((tmp_path / "one").glob("step-*"), key=lambda path: int(path.name.removeprefix("step-")))
    done = int(checkpoint.name.removeprefix("step-"))
    assert step - 1 <= done <= step + 1, f"stopped at step {step}"
    other_disk = shutil.copytree(tmp_path / "one", tmp_path / "other")
    update = {"output": tmp_path / "on", "checkpoints": other_disk, "resume_from": other_disk / checkpoint.name}
    train(job.model_copy(update=update))
    assert_same_run(tmp_path / "undisturbed", tmp_path / "on", f"stopped at step {step}, resumed from {done}")


def stopped_at(job: TrainingJob, step: int, sent: signal.Signals) -> list[dict[str, Any]]:
    """The events of a process that gets a signal as soon as it tells of a step."""
    path = job.output.with_suffix(".json")
    path.write_text(job.model_dump_json())
    events: list[dict[str, Any]] = []
    with subprocess.Popen(
        [sys.executable, "-m", "tasks.trainer.train", str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env=child_environment(os.environ),
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            event = parse(line)
            if event is not None:
                events.append(event)
                if event["event"] == "progress" and event["step"] == step:
                    process.send_signal(sent)
    assert process.returncode == (-signal.SIGKILL if sent == signal.SIGKILL else 1)
    return events


def assert_same_run(one: Path, other: Path, told: str) -> None:
    first, second = (pq.read_table(path / "metrics.parquet").to_pylist() for path in (one, other))
    for name in ("step", "epoch", "sequences", "loss", "heldout_loss", "learning_rate", "grad_norm"):
        assert [row[name] for row in first] == [row[name] for row in second], f"{name} differ; {told}"
    results = [json.loads((path / "result.json").read_text()) for path in (one, other)]
    assert results[0]["best_step"] == results[1]["best_step"]
    for path in sorted(one.rglob("*.safetensors")):
        weights, others = load_file(path), load_file(other / path.relative_to(one))
        assert weights.keys() == others.keys()
        assert all(torch.equal(weights[name], others[name]) for name in weights), f"{path.name}; {told}"


def test_a_checkpoint_of_another_method_is_refused(base: Path, write_rows: WriteRows, tmp_path: Path) -> None:
    job = job_of(base, write_rows, tmp_path, Full(), SINGLE)
    train(job.model_copy(update={"checkpoints": tmp_path / "kept"}))
    update = {"method": LORA, "checkpoints": tmp_path / "kept", "resume_from": tmp_path / "kept" / "step-8"}
    with pytest.raises(ValueError, match=r"differ in .* weights that learn"):
        train(job.model_copy(update=update))


def test_a_finished_run_that_is_resumed_trains_no_more(base: Path, write_rows: WriteRows, tmp_path: Path) -> None:
    """A machine may be lost after the last step, before the model is stored."""
    job = job_of(base, write_rows, tmp_path, Full(), SINGLE)
    train(job.model_copy(update={"checkpoints": tmp_path / "kept"}))
    update = {
        "output": tmp_path / "on",
        "checkpoints": tmp_path / "kept",
        "resume_from": tmp_path / "kept" / f"step-{STEPS}",
    }
    train(job.model_copy(update=update))
    assert_same_run(tmp_path / "undisturbed", tmp_path / "on", "resumed at the end")
