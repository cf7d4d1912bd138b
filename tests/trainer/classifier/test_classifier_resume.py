"""A training that is killed, or asked to stop, and goes on from its last checkpoint ends as one nobody disturbed."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tasks.artifacts.checkpoints import Checkpoints
from tasks.artifacts.store import Store
from tasks.trainer import launch
from tasks.trainer.classifier.job import ClassifierJob
from tasks.trainer.classifier.train import train
from tasks.trainer.environment import child_environment
from tasks.trainer.events import parse
from tests.trainer.classifier.conftest import LABELS, MakeJob, some_texts

pytestmark = [
    # peft still uses this name itself; transformers calls it deprecated.
    pytest.mark.filterwarnings("ignore:`(is_)?gradient_checkpointing` is deprecated:FutureWarning"),
]

MODULE = "tasks.trainer.classifier.train"
LORA = {"kind": "lora", "rank": 2}


@pytest.mark.parametrize(
    ("method", "sent", "at"),
    [("full", signal.SIGKILL, 6), (LORA, signal.SIGTERM, 6), ("frozen", signal.SIGKILL, 8)],
    ids=["full-killed-in-an-epoch", "lora-asked-in-an-epoch", "frozen-killed-between-epochs"],
)
def test_a_training_that_is_stopped_anywhere_ends_with_the_same_bytes(
    make_job: MakeJob, tmp_path: Path, method: Any, sent: signal.Signals, at: int
) -> None:
    job = make_job(method=method, token_dropout=0.2, epochs=4, learning_rate=3e-2, checkpoint_minutes=0)
    train(job.model_copy(update={"output": tmp_path / "undisturbed"}))
    cut = job.model_copy(update={"output": tmp_path / "cut", "checkpoints": tmp_path / "one"})
    events = stopped(cut, at, sent)
    if sent == signal.SIGTERM:
        assert [event["event"] for event in events[-2:]] == ["checkpoint", "failed"]
        assert events[-1]["kind"] == "interrupted"
    newest = max((tmp_path / "one").glob("step-*"), key=lambda path: int(path.name.removeprefix("step-")))
    assert at - 1 <= int(newest.name.removeprefix("step-")) <= at + 2
    elsewhere = Path(shutil.move(tmp_path / "one", tmp_path / "other"))
    on = {"output": tmp_path / "on", "checkpoints": elsewhere, "resume_from": elsewhere / newest.name}
    train(job.model_copy(update=on))
    assert_same(tmp_path / "undisturbed", tmp_path / "on")


def test_what_the_store_gives_back_is_all_that_is_needed(make_job: MakeJob, tmp_path: Path) -> None:
    """The best weights, which are older than the last step, come back under their name."""
    wrong = [(text, [LABELS[number % 2]]) for number, (text, _) in enumerate(some_texts(60, seed=2))]
    stopping = {"metric": "loss", "patience": None}
    job = make_job(texts=wrong, epochs=4, early_stopping=stopping, checkpoints=tmp_path / "c")
    checkpoints = Checkpoints(Store(str(tmp_path / "store")), "training/0123456789abcdef")
    train(job)
    result = json.loads((job.output / "result.json").read_text())
    steps = sorted((tmp_path / "c").glob("step-*"), key=lambda path: int(path.name.removeprefix("step-")))
    assert result["best_step"] < result["steps"]
    checkpoints.save(steps[-1], tmp_path / "c" / f"best-{result['best_step']}")
    shutil.rmtree(tmp_path / "c")
    restored = checkpoints.restore(tmp_path / "fetched", pytest.fail)
    assert restored is not None
    on = {"output": tmp_path / "on", "checkpoints": tmp_path / "fetched", "resume_from": restored}
    train(job.model_copy(update=on))
    assert_same(job.output, tmp_path / "on")


def test_an_epoch_that_was_not_measured_yet_is_measured_first(make_job: MakeJob, tmp_path: Path) -> None:
    """Somebody may ask it to stop while it measures."""
    job = make_job(checkpoints=tmp_path / "kept")
    train(job)
    journal = tmp_path / "kept" / "step-8" / "journal.json"
    state = json.loads(journal.read_text())
    for name in ("heldout_loss", "macro_f1", "accuracy"):
        del state["rows"][-1][name]
    journal.write_text(json.dumps(state))
    shutil.rmtree(tmp_path / "kept" / "best-8", ignore_errors=True)
    train(job.model_copy(update={"output": tmp_path / "on", "resume_from": tmp_path / "kept" / "step-8"}))
    assert_same(job.output, tmp_path / "on")


def test_a_finished_training_that_is_resumed_trains_no_more(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(checkpoints=tmp_path / "kept")
    train(job)
    train(job.model_copy(update={"output": tmp_path / "on", "resume_from": tmp_path / "kept" / "step-12"}))
    assert_same(job.output, tmp_path / "on")


def test_a_checkpoint_of_another_method_is_refused(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(epochs=1, checkpoints=tmp_path / "kept")
    train(job)
    other = make_job(epochs=1, method="frozen", checkpoints=tmp_path / "kept", resume_from=tmp_path / "kept" / "step-4")
    with pytest.raises(ValueError, match=r"differ in .* weights that learn"):
        train(other)


def stopped(job: ClassifierJob, step: int, sent: signal.Signals) -> list[dict[str, Any]]:
    """The events of a process that gets a signal as soon as it tells of a step."""
    path = job.output.with_suffix(".json")
    path.write_text(job.model_dump_json())
    events: list[dict[str, Any]] = []
    with subprocess.Popen(
        launch._command(MODULE, path, []),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=child_environment(os.environ),
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            event = parse(line.rstrip("\n"))
            if event is not None:
                events.append(event)
                if event["event"] == "progress" and event["step"] == step:
                    process.send_signal(sent)
    assert process.returncode == (-signal.SIGKILL if sent == signal.SIGKILL else 1)
    return events


def assert_same(one: Path, other: Path) -> None:
    for path in ("metrics.parquet", "model/model.safetensors", "model/config.json"):
        assert (one / path).read_bytes() == (other / path).read_bytes(), path
    results = [json.loads((path / "result.json").read_text()) for path in (one, other)]
    assert [result["best_step"] for result in results] == [results[0]["best_step"]] * 2
