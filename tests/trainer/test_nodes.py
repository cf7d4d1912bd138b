"""Several machines, here as several torchrun agents of one: what they train is what one process trains."""

import shutil
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tasks.trainer import launch
from tasks.trainer.config import TrainingConfig, Watching
from tasks.trainer.job import TrainingJob
from tasks.trainer.launch import Meeting, TrainerFailed
from tasks.trainer.train import train


@pytest.fixture
def job(uneven_job: TrainingJob) -> TrainingJob:
    return uneven_job


@pytest.fixture
def endpoint() -> str:
    return free_endpoint()


def free_endpoint() -> str:
    """Where two machines may meet that are both this one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


class Machine:
    """One of two, with a disk of its own."""

    def __init__(self, node: int, job: TrainingJob, disk: Path, **told: Any) -> None:
        self.node, self.disk = node, disk
        update = {"output": disk / "output", "checkpoints": disk / "checkpoints", **told}
        self.job = job.model_copy(update=update)
        self.events: list[dict[str, Any]] = []
        self.lines: list[str] = []

    def run(self) -> TrainerFailed | None:
        """Train; gives how it failed, if it did."""
        meeting = Meeting(self.job.nodes, str(self.job.rendezvous), "training-0123", self.node)
        try:
            launch.run(
                "tasks.trainer.train",
                self.job,
                folder=self.disk / "run",
                on_event=self.events.append,
                on_line=self.lines.append,
                processes=self.job.processes,
                meeting=meeting,
                timeout_seconds=120,
            )
        except TrainerFailed as failed:
            return failed
        return None


def together(*machines: Machine) -> list[TrainerFailed | None]:
    with ThreadPoolExecutor(len(machines)) as threads:
        return list(threads.map(Machine.run, machines))


def losses(output: Path) -> list[float]:
    """Of the steps, then of the evaluations."""
    metrics = pq.read_table(output / "metrics.parquet").to_pydict()
    return [each for name in ("loss", "heldout_loss") for each in metrics[name] if each is not None]


@pytest.mark.soak
def test_two_machines_give_the_losses_of_one(job: TrainingJob, endpoint: str, tmp_path: Path) -> None:
    train(job)
    told: dict[str, Any] = {"nodes": 2, "rendezvous": endpoint, "watching": Watching(checkpoint_minutes=0)}
    # What only says how to compute is taken from the first machine.
    first = Machine(0, job, tmp_path / "first", **told)
    second = Machine(1, job, tmp_path / "second", **{**told, "micro_batch_size": 4})
    assert together(first, second) == [None, None]
    assert {event["processes"] for event in first.events if event["event"] == "started"} == {2}
    assert second.events == []
    steps = [line for line in second.lines if line.startswith("step ")]  # torch may tell of the end of their meeting
    assert steps == [f"step {step} of 5" for step in range(1, 6)]
    assert [path.name for path in second.job.output.rglob("*") if path.is_file()] == []
    single = losses(job.output)
    assert losses(first.job.output) == pytest.approx(single, abs=1e-4)
    # And what they keep is whole: a single machine goes on from it.
    kept = {"checkpoints": first.job.checkpoints, "resume_from": first.disk / "checkpoints" / "step-3"}
    train(job.model_copy(update=kept))
    assert losses(job.output) == pytest.approx(single, abs=1e-4)


@pytest.mark.soak
def test_two_machines_go_on_each_from_its_copy_of_a_checkpoint(job: TrainingJob, endpoint: str, tmp_path: Path) -> None:
    train(job.model_copy(update={"checkpoints": tmp_path / "stored", "watching": Watching(checkpoint_minutes=0)}))
    machines = []
    for node in (0, 1):
        copy = tmp_path / f"machine-{node}" / "fetched"
        shutil.copytree(tmp_path / "stored", copy)
        told = {"nodes": 2, "rendezvous": endpoint, "parallel": "fsdp", "resume_from": copy / "step-3"}
        machines.append(Machine(node, job, copy.parent, **told))
    assert together(*machines) == [None, None]
    first = machines[0]
    assert [event["first_step"] for event in first.events if event["event"] == "started"] == [3]
    assert losses(first.job.output) == pytest.approx(losses(job.output), abs=1e-4)


@pytest.mark.soak
def test_machines_that_begin_at_different_checkpoints_do_not_train(
    job: TrainingJob, endpoint: str, tmp_path: Path
) -> None:
    told = {"nodes": 2, "rendezvous": endpoint}
    first = Machine(0, job, tmp_path / "first", **told)
    second = Machine(1, job, tmp_path / "second", **told, resume_from=tmp_path / "step-3")
    for failed in together(first, second):
        assert failed is not None
        assert failed.transient
        assert "different checkpoints (None, step-3)" in failed.message
    assert not any(event["event"] == "started" for event in first.events)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"nodes": 2}, "nodes is 2, but rendezvous is not set; give host:port"),
        ({"nodes": 2, "rendezvous": "first"}, "rendezvous is first; give it as host:port"),
        ({"nodes": 2, "rendezvous": "first:0"}, "rendezvous is first:0; give it as host:port"),
        ({"nodes": 3, "rendezvous": "first:29500"}, "batch_size is 16 and processes is 1 on each of 3 nodes"),
        (
            {"nodes": 2, "processes": 4, "rendezvous": "first:29500", "micro_batch_size": 4},
            "each process has 2 rows of a batch",
        ),
        (
            {"nodes": 2, "rendezvous": "first:29500", "parallel": "fsdp", "method": {"kind": "qlora"}},
            "weights of 4 bits cannot be spread",
        ),
    ],
)
def test_nodes_that_cannot_train_together_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        TrainingConfig.model_validate(settings)


def test_nodes_are_no_part_of_what_a_result_is() -> None:
    several = TrainingConfig(nodes=2, processes=4, rendezvous="first:29500")
    assert several.devices == 8
    assert several.identity() == TrainingConfig().identity()
