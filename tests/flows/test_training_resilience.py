"""Whatever ends a training, the next one goes on from its checkpoint in the store, and ends with the same bits."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tasks.artifacts.checkpoints import RECORD
from tasks.artifacts.manifest import Artifact
from tasks.artifacts.store import Store
from tasks.trainer.launch import TrainerFailed
from tests.flows.conftest import REPOSITORY
from tests.flows.test_resilience import trainers, wait_for
from tests.flows.training_run import run

pytestmark = pytest.mark.xdist_group("flows-training_resilience")  # one worker, as a server is started for each

FULL_PACKED: dict[str, Any] = {"packed": True, "settings": {}}
LORA_PADDED: dict[str, Any] = {
    "packed": False,
    "settings": {"method": {"kind": "lora", "rank": 4, "dropout": 0.1}, "epochs": 2.3, "learning_rate": 1e-2},
}
TEMPORARY = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), "")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("FETTLE_RETRY_DELAYS_SECONDS", "0.1,0.1,0.1")


Outcome = tuple[str, list[float | None], list[float | None]]


def outcome(store: Store) -> Outcome:
    """The digest of the weights, and the loss of each step: of the same rows in the same order, all bits are equal."""
    (address,) = [address for address in store.addresses() if address.startswith("training/")]
    artifact = store.manifest(address).artifact
    metrics = store.table(artifact, "metrics").to_pydict()
    assert metrics["step"] == list(range(len(metrics["step"])))
    return artifact.content, metrics["loss"], metrics["heldout_loss"]


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """What the trainings come to when nothing ends them."""
    found = {}
    for name, told in (("full", FULL_PACKED), ("lora", LORA_PADDED)):
        folder = tmp_path_factory.mktemp(f"undisturbed-{name}")
        # One checkpoint less or more must not matter.
        run(str(folder), packed=told["packed"], settings={**told["settings"], "watching": {"checkpoint_minutes": 60}})
        found[name] = outcome(Store(str(folder)))
    return found


class Started:
    """A training in a process of its own, on a machine with an empty disk."""

    def __init__(self, told: dict[str, Any], disk: Path, environment: dict[str, str]) -> None:
        disk.mkdir()
        self.disk, self.log = disk, disk.with_suffix(".log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.flows.training_run", json.dumps(told)],
                env={**environment, **os.environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(disk)}
                # Commands that ran in this process before have silenced its console.
                | {
                    "PREFECT_API_URL": environment["PREFECT_API_URL"],
                    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO",
                },
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def words(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for_step(self, store: Store, step: int) -> None:
        """Until a checkpoint of this step or a later one is in the store."""

        def there() -> bool:
            return newest(store) >= step

        try:
            wait_for(f"step {step}", there, self.process, 200)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.words[-4000:]}") from None

    def trainer(self) -> int:
        (found,) = trainers(self.process.pid)
        return found

    def ends_well(self) -> None:
        assert self.process.wait(timeout=300) == 0, self.words[-6000:]

    def resumed_at(self) -> list[int]:
        """The steps that it went on from."""
        return [int(step) for step in re.findall(r"going on from step-(\d+)", self.words)]


def newest(store: Store) -> int:
    paths = [path for path in store.files.sizes("training") if path.endswith(f"/{RECORD}") and "/step-" in path]
    return max((int(path.split("/step-")[1].split("-")[0]) for path in paths), default=-1)


@pytest.mark.soak
def test_polite_kill_then_another_machine_gives_the_same_bits(
    environment: dict[str, str], tmp_path: Path, undisturbed: dict[str, Outcome]
) -> None:
    """SIGTERM to whoever runs the flow: the trainer finishes its step, and that very step is what is gone on from."""
    store = Store(str(tmp_path / "store"))
    told = {"store": store.uri, **FULL_PACKED}
    first = Started(told, tmp_path / "disk", environment)
    first.wait_for_step(store, random.randint(1, 12))
    trainer = first.trainer()
    first.process.send_signal(signal.SIGTERM)
    assert first.process.wait(timeout=120) != 0
    assert not Path(f"/proc/{trainer}").exists()
    assert not list(first.disk.glob("fettle-training-*"))
    assert not store.addresses() or store.addresses()[0].startswith("tokenization/")
    saved = newest(store)
    assert f"step {saved}: checkpoint" in first.words
    second = Started(told, tmp_path / "other-disk", environment)
    second.ends_well()
    assert second.resumed_at() == [saved]
    assert outcome(store) == undisturbed["full"]
    assert newest(store) == -1


@pytest.mark.soak
def test_whole_machine_lost_at_any_moment_gives_the_same_bits(
    environment: dict[str, str], bucket: str, tmp_path: Path, undisturbed: dict[str, Outcome]
) -> None:
    """SIGKILL to the parent and its trainer, twice, with the checkpoints in an object store."""
    store = Store(f"{bucket}/runs")
    told = {"store": store.uri, **LORA_PADDED}
    for number, step in enumerate(sorted(random.sample(range(1, 18), 2))):
        lost = Started(told, tmp_path / f"disk-{number}", environment)
        lost.wait_for_step(store, step)
        time.sleep(random.random())  # in the middle of a step or of an upload
        os.killpg(lost.process.pid, signal.SIGKILL)
        lost.process.wait()
    last = Started(told, tmp_path / "last-disk", environment)
    last.ends_well()
    assert last.resumed_at()
    assert last.resumed_at()[0] >= step
    assert outcome(store) == undisturbed["lora"]
    assert newest(store) == -1


def test_retries_go_on_after_a_killed_and_a_hung_trainer(
    environment: dict[str, str], tmp_path: Path, undisturbed: dict[str, Outcome]
) -> None:
    """In one flow run: the task's own retries, nobody presses anything."""
    store = Store(str(tmp_path / "store"))
    # Long enough to import torch on a machine that has much else to do.
    told = {"store": store.uri, "packed": True, "settings": {"watching": {"silence_seconds": 60}}}
    started = Started(told, tmp_path / "disk", environment)
    started.wait_for_step(store, random.randint(1, 6))
    os.kill(started.trainer(), signal.SIGKILL)
    started.wait_for_step(store, newest(store) + 3)
    os.kill(started.trainer(), signal.SIGSTOP)
    started.ends_well()
    assert len(started.resumed_at()) == 2
    assert "trainer killed: signal SIGKILL" in started.words
    assert "trainer hung: it was silent for 60 s" in started.words
    assert outcome(store) == undisturbed["full"]


LIMITED = """
import os
from tasks.trainer import child, loop, train
from tasks.trainer.job import TrainingJob

step = loop.Loop._step
backward = loop.Loop._backward

def limited_step(self, number, batches, schedule):
    self.limit = {rows} if number >= {from_step} else 10**9
    return step(self, number, batches, schedule)

def limited_backward(self, batch, trained_tokens):
    tokens = batch.inputs["input_ids"].numel()
    if tokens > self.limit * 120:
        raise MemoryError(f"DefaultCPUAllocator: can't allocate memory for {{tokens}} tokens")
    return backward(self, batch, trained_tokens)

loop.Loop._step, loop.Loop._backward = limited_step, limited_backward

if __name__ == "__main__":
    child.main(TrainingJob, train.train, stops_in_order=True)
"""


@pytest.fixture
def small_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes the trainer run out of memory, from a step on, with more rows than so many in a forward pass."""

    def limit(*, rows: int, from_step: int) -> None:
        (tmp_path / "small_machine.py").write_text(LIMITED.format(rows=rows, from_step=from_step))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr("tasks.training.TRAINER", "small_machine")

    return limit


def test_trainer_out_of_memory_goes_on_with_half_the_rows(
    small_machine: Any, tmp_path: Path, undisturbed: dict[str, Outcome], caplog: pytest.LogCaptureFixture
) -> None:
    small_machine(rows=2, from_step=5)
    with caplog.at_level("INFO"):
        artifact = run(str(tmp_path / "store"), packed=True, settings={})
    halved = [each.message for each in caplog.records if "memory ran out" in each.message]
    assert [each.split("; ")[-1] for each in halved] == [
        "going on with 4, and 8 rows a step as before",
        "going on with 2, and 8 rows a step as before",
    ]
    assert "training 22 steps, from step 5" in caplog.text
    losses = outcome(Store(str(tmp_path / "store")))[1]
    assert losses == pytest.approx(undisturbed["full"][1], rel=1e-4)
    assert isinstance(artifact, Artifact)


@pytest.mark.soak
def test_one_row_that_does_not_fit_is_an_error_in_words(small_machine: Any, tmp_path: Path) -> None:
    small_machine(rows=0, from_step=0)
    with pytest.raises(TrainerFailed, match=r"one row a forward pass already\..*gradient_checkpointing") as failure:
        run(str(tmp_path / "store"), packed=True, settings={"micro_batch_size": 2})
    assert (failure.value.kind, failure.value.transient) == ("out_of_memory", False)
