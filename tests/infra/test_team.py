"""A team's services at work: many runs at once, and each service killed in the middle of one."""

import json
import os
import shutil
import time
import urllib.error
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.artifacts import registry
from tasks.artifacts.store import Store
from tests.infra.teamwork import TRAINER, HardDay, Teamwork, until, words
from tests.servers.services import REPOSITORY

# One worker, as the services are started once a worker.
pytestmark = [pytest.mark.xdist_group("team"), pytest.mark.soak]

FAULTS = ("database is locked", "deadlock", "QueuePool limit", "too many clients", "ServiceUnavailable")
"""What a server says that loses requests."""
STATES = ["Scheduled", "Pending", "Submitting", "Running", "Published"]
"""Of a run that nothing happens to."""
OUTAGE_SECONDS = 5.0


def test_killed_run_goes_on_and_trains_once(work: Teamwork, hard_day: HardDay) -> None:
    """Through the worker, on S3, PostgreSQL and Redis; first the flow's process is killed, then the database."""
    assert hard_day.after_the_kill == "CRASHED"
    assert hard_day.after_the_outage in ("COMPLETED", "CRASHED", "FAILED")
    store = Store(str(hard_day.store))
    assert len([address for address in store.addresses() if address.startswith("training/")]) == 1
    assert [version.version for version in registry.versions(store)] == [1]
    logs = {path.name: path.read_text(errors="replace") for path in work.team.home.glob("*.log")}
    assert len(logs) == 4
    # The retry came while the worker was still busy with the process that had been killed; it must outlive that.
    assert "this borrower is already holding" not in logs["worker.log"]
    for secret in work.team.secrets:
        assert not [name for name, text in logs.items() if secret in text]


@pytest.mark.parametrize("pool", ["fettle-cpu", "fettle-gpu"])
def test_server_takes_the_job_template_of_a_pool(pool: str, work: Teamwork) -> None:
    template = json.loads((REPOSITORY / "infra" / "kubernetes" / f"{pool}.json").read_text())
    name = f"on-kubernetes-{pool}"
    body = {"name": name, "type": "kubernetes", "base_job_template": template}
    assert work.team.ask("/work_pools/", body)["base_job_template"] == template
    # It does look: a placeholder that no variable fills is refused.
    del template["variables"]["properties"]["grace_seconds"]
    with pytest.raises(urllib.error.HTTPError, match="422"):
        work.team.ask("/work_pools/", body | {"name": f"{name}-broken"})


@pytest.mark.parametrize("number", [20])
def test_small_runs_at_once_lose_nothing(number: int, work: Teamwork, finished: Path, tmp_path: Path) -> None:
    stores = [tmp_path / f"store-{each}" for each in range(number)]
    for folder in stores:
        shutil.copytree(finished, folder)
    began = time.monotonic()
    runs = [work.run(str(folder)) for folder in stores]
    for run in runs:
        work.wait_for_end(run, "COMPLETED")
    seconds = time.monotonic() - began
    print(f"\n{number} runs: {seconds:.0f} s, {os.cpu_count()} processors, load {os.getloadavg()[0]:.0f}")
    for run in runs:
        # A run that waits for its turn is told to be late.
        assert [state for state in work.states(run) if state != "Late"] == STATES
        # What tasks came to travels by Redis, and arrives a little later.
        until(
            lambda run=run: sorted({state for _verb, state in work.tasks(run)}) == ["Cached", "Completed"],
            f"all tasks of {run} end",
        )
    tasks = [work.tasks(run) for run in runs]
    assert tasks == [tasks[0]] * number
    # Only the registry looks again; nothing is computed.
    assert {verb for (verb, state) in tasks[0] if state == "Completed"} == {"register"}
    assert not [fault for fault in FAULTS if fault in work.team.logs()]


def vanish(work: Teamwork) -> None:
    """The flow's process, and with it the trainer's parent."""
    work.flow().kill()


def lose_the_worker(work: Teamwork) -> None:
    work.team.worker.kill()
    work.team.worker.start()


def lose_the_machine(work: Teamwork) -> None:
    """Worker, flow and trainer, as when a spot machine goes."""
    work.team.worker.kill(with_children=True)
    work.team.worker.start()


def lose_the_server(work: Teamwork) -> None:
    work.team.server.kill(with_children=True)
    work.team.server.start()


def lose_the_database(work: Teamwork) -> None:
    work.team.postgres.kill(with_children=True)
    time.sleep(OUTAGE_SECONDS)
    work.team.postgres.start()


def lose_the_messages(work: Teamwork) -> None:
    work.team.redis.kill()
    time.sleep(OUTAGE_SECONDS)
    work.team.redis.start()


VICTIMS: dict[str, Callable[[Teamwork], None]] = {
    "flow": vanish,
    "worker": lose_the_worker,
    "machine": lose_the_machine,
    "server": lose_the_server,
    "database": lose_the_database,
    "messages": lose_the_messages,
}


@pytest.mark.parametrize("victim", VICTIMS)
def test_run_ends_whatever_is_killed(victim: str, work: Teamwork, untrained: Path) -> None:
    run = work.run(str(untrained))
    work.trainer()
    VICTIMS[victim](work)
    ends_and_has_trained_once(work, run, str(untrained))


def test_run_ends_when_the_store_is_killed(work: Teamwork, untrained: Path, bucket: str) -> None:
    store = Store(f"{bucket}/store")
    for path in untrained.rglob("*"):
        if path.is_file():
            store.files.upload(path.relative_to(untrained).as_posix(), path)
    run = work.run(store.uri)
    work.trainer()
    work.team.store.kill()
    time.sleep(OUTAGE_SECONDS)
    work.team.store.start()
    ends_and_has_trained_once(work, run, store.uri)


def ends_and_has_trained_once(work: Teamwork, run: str, uri: str) -> None:
    """The run ends by itself; where it did not finish, a retry finishes it. Either way one model was trained."""
    if work.wait_for_end(run) != "COMPLETED":
        work.retry(run)
        until(lambda: work.state(run) in ("PENDING", "RUNNING", "COMPLETED"), "the retry is taken")
        work.wait_for_end(run, "COMPLETED")
    until(lambda: not [each for each in work.team.members() if TRAINER in words(each)], "no trainer is left")
    store = Store(uri)
    trained = [address for address in store.addresses() if address.startswith("training/")]
    assert len(trained) == 1
    assert [version.version for version in registry.versions(store)] == [1]
    assert work.tasks(run)["train", "Completed"] == 1
