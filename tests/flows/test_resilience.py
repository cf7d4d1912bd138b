"""Killed, cut off, lied to: finished stages stay, nothing half is ever read, nothing is computed twice."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks.artifacts import registry, runs
from tasks.artifacts.store import Store
from tests.flows.conftest import REPOSITORY, Fettle
from tests.servers.faults import FaultProxy

pytestmark = pytest.mark.xdist_group("flows-resilience")  # one worker, as a server is started for each

STAGES = [
    "ingestion", "curation", "deduplication", "mixing", "tokenization", "training", "measurement", "evaluation",
    "publication",
]  # fmt: skip
DATA = STAGES[:5]
KINDS = ("training",)
"""What has finished stages before it, a process of its own, and stages behind it."""


def contents(store: Store, stages: list[str]) -> dict[str, str]:
    """Address and content of every artifact of some stages."""
    return {a: store.manifest(a).content for a in store.addresses() if a.split("/")[0] in stages}


def start(workplace: Path, environment: dict[str, str], store: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "run", "recipe.yaml", "--store", store],
        cwd=workplace,
        env={
            **environment,
            **os.environ,
            "PREFECT_API_URL": environment["PREFECT_API_URL"],
            "PYTHONPATH": str(REPOSITORY),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def wait_for(what: str, condition: object, process: "subprocess.Popen[bytes]", seconds: float = 120) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"the run ended with {process.returncode} before {what}"
        assert time.monotonic() < deadline, f"{what} did not come within {seconds} s"
        time.sleep(0.05)


@pytest.mark.parametrize("stages", [KINDS, pytest.param((*STAGES, "models"), marks=pytest.mark.soak)], ids=len)
def test_kill_in_stages_of_every_kind_then_the_same_command(
    stages: tuple[str, ...],
    fault_proxy: FaultProxy,
    bucket: str,
    environment: dict[str, str],
    workplace: Path,
    fettle: Fettle,
    finished_store: Path,
) -> None:
    """Each stage's commit is held up on a real object store, the whole process group killed, the command repeated.

    Also: artifacts on S3 have the fingerprints and contents of those on a local folder.
    """
    undisturbed = Store(str(finished_store))
    uri = f"{bucket}/runs"
    for number, stage in enumerate([*STAGES, "models"]):
        if stage not in stages:
            continue
        fault_proxy.forget()
        fault_proxy.fail("hang", method="PUT", key=f"/{stage}/")
        process = start(workplace, environment, uri)
        held = f"/{stage}/"
        wait_for(
            f"the first write of {stage}",
            lambda held=held: any(r.method == "PUT" and held in r.path for r in fault_proxy.requests),
            process,
        )
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        fault_proxy.mode = "pass"
        store = Store(uri)
        committed = {address.split("/")[0] for address in store.addresses()}
        assert committed == set(STAGES[:number]) or stage == "measurement"
        for address in store.addresses():
            assert store.find(address) is not None
    answer = fettle("run", "recipe.yaml", "--store", uri, AWS_ENDPOINT_URL=os.environ["AWS_ENDPOINT_URL"])
    assert answer.code == 0, answer.err
    cached = [line.split()[0] for line in answer.err.splitlines() if "cached" in line]
    finished = ["ingest", "curate", "deduplicate", "mix", "tokenize", "train", "measure", "measure"]
    finished = finished[: finished.index("train")] if stages[-1] == "training" else finished
    assert cached[: len(finished)] == finished
    store = Store(uri)
    assert contents(store, DATA) == contents(undisturbed, DATA)
    assert len(contents(store, STAGES)) == len(contents(undisturbed, STAGES))
    assert {r.outcome for r in runs.recent(store)} >= {"running"}
    attempts = {p.rsplit("/", 2)[0] for p in store.files.sizes("") if "/attempt-" in p}
    assert fettle("gc", "--older-than", "0", "--store", uri, **dict(os.environ)).code == 0
    assert len(store.addresses()) == len(undisturbed.addresses())
    for version in registry.versions(store):
        assert store.find(version.training) is not None
    assert attempts


def test_two_runs_at_once_make_every_artifact_once(
    environment: dict[str, str], workplace: Path, tmp_path: Path, finished_store: Path
) -> None:
    uri = str(tmp_path / "shared-store")
    processes = [start(workplace, environment, uri) for _ in range(2)]
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    store = Store(uri)
    assert contents(store, DATA) == contents(Store(str(finished_store)), DATA)
    assert len(store.addresses()) == len(Store(str(finished_store)).addresses())
    assert [version.version for version in registry.versions(store)] == [1]
    assert [run.outcome for run in runs.recent(store)] == ["published", "published"]


@pytest.mark.parametrize("mode", ["error500", "denied", pytest.param("drop", marks=pytest.mark.soak)])
def test_store_that_fails_in_the_middle_stops_the_run_in_words(
    mode: str, fault_proxy: FaultProxy, bucket: str, workplace: Path, fettle: Fettle, store: Path
) -> None:
    """A run that finds its store failing never takes that for a missing artifact."""
    opened = Store(f"{bucket}/store")
    for path in sorted(store.rglob("*")):
        if path.is_file():
            opened.files.upload(path.relative_to(store).as_posix(), path)
    before = contents(opened, STAGES)
    fault_proxy.fail(mode, key="/tokenization/")
    answer = fettle(
        "run", "recipe.yaml", "--store", f"{bucket}/store",
        **{name: value for name, value in os.environ.items() if name.startswith("AWS_")},
        FETTLE_RETRY_DELAYS_SECONDS="0.2",
    )  # fmt: skip
    fault_proxy.mode = "pass"
    assert answer.code == 1
    assert f"store {bucket}/store: cannot" in answer.err
    assert "tokenization/" in answer.err
    assert "Traceback" not in answer.err
    assert contents(opened, STAGES) == before
    assert not any("train" in line for line in answer.err.splitlines() if " read, " in line)
    again = fettle("plan", "recipe.yaml", "--store", f"{bucket}/store", "--json", **{
        name: value for name, value in os.environ.items() if name.startswith("AWS_")
    })  # fmt: skip
    assert {step["status"] for step in again.json} == {"cached"}


def test_store_that_cannot_be_reached_ends_a_run_before_it_begins(
    fault_proxy: FaultProxy, bucket: str, fettle: Fettle
) -> None:
    fault_proxy.mode = "denied"
    variables = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    answer = fettle("run", "recipe.yaml", "--store", f"{bucket}/store", **variables)
    assert answer.code == 1
    assert f"store {bucket}/store: cannot write probe" in answer.err
    assert "ingest" not in answer.err


def test_deleted_record_and_deleted_artifact_fall_together(fettle: Fettle, store: Path) -> None:
    """Prefect's record lies in the artifact's folder; either without the other is no hit."""
    (tokenization,) = (store / "tokenization").iterdir()
    record = tokenization / "result.json"
    assert record.is_file()
    record.unlink()
    answer = fettle("run", "recipe.yaml", "--store", str(store))
    assert "cached" in next(line for line in answer.err.splitlines() if "tokenize" in line)
    shutil.rmtree(tokenization)
    answer = fettle("run", "recipe.yaml", "--store", str(store))
    lines = [line for line in answer.err.splitlines() if " read, " in line]
    assert [line.split()[0] for line in lines if "cached" not in line] == ["tokenize"]


def test_corrupt_artifact_stops_the_run_and_is_removed_by_the_command_it_names(fettle: Fettle, store: Path) -> None:
    (part,) = (store / "curation").glob("*/attempt-*/conversations/part-00000.parquet")
    part.write_bytes(part.read_bytes()[:-10])
    answer = fettle("run", "recipe.yaml", "--store", str(store))
    assert answer.code == 1
    assert "is corrupt" in answer.err
    address = str(part.parents[2].relative_to(store))
    assert f"fettle gc --remove {address}" in answer.err
    assert fettle("gc", "--remove", address, "--store", str(store)).code == 0
    assert fettle("run", "recipe.yaml", "--store", str(store)).code == 0


def test_polite_kill_stops_the_trainer_and_leaves_no_attempt(
    environment: dict[str, str], workplace: Path, store: Path
) -> None:
    shutil.rmtree(store / "training")
    process = start(workplace, environment, str(store))
    wait_for("the trainer", lambda: trainers(process.pid), process)
    (trainer,) = trainers(process.pid)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=60)
    assert process.returncode == 1
    deadline = time.monotonic() + 10
    while Path(f"/proc/{trainer}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{trainer}").exists()
    assert not list(store.glob("training/*/attempt-*/*"))
    assert runs.recent(Store(str(store)))[0].outcome == "failed"


def trainers(parent: int) -> list[int]:
    """The trainer processes that a process started."""
    answer = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(parent)], capture_output=True, text=True, check=False
    )
    return [int(line.split()[0]) for line in answer.stdout.splitlines() if "tasks.trainer.train" in line]
