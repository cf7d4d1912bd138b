"""The operations pack at work: a real server, a worker and processes that are killed, and a server in Slack's place."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.schedules import RRuleSchedule
from prefect.events.schemas.events import Event, Resource
from prefect.states import Pending, Running, State, Suspended

from deployments.applying import apply
from deployments.automations import NEW_DATA, new_data_resource
from deployments.catalogue import CPU_POOL, GPU_POOL, TAG, Wanted
from deployments.webhook import VARIABLE
from flows.server import Server
from tests.deployments.conftest import recipe
from tests.flows.conftest import REPOSITORY
from tests.servers.webhook import WebhookServer

pytestmark = pytest.mark.xdist_group("deployments")  # one worker, and one server

SECRET = "hush-5d1c7a0b"
WINDOW_SECONDS = 10
"""For every wait of the automations; Prefect allows no shorter one."""


@dataclass
class Day:
    """What happened, and what was told of it."""

    runs: dict[str, FlowRun]
    texts: list[str]
    paths: set[str]
    seconds_to_crash: float
    scheduled: set[str]
    """States of the runs of a schedule."""
    retrained: list[FlowRun]
    readable: str
    """All that anybody can read of the server, its own log and the worker's."""

    def state(self, name: str) -> str:
        state = self.runs[name].state
        assert state is not None
        return state.name

    def told_of(self, run: FlowRun) -> set[str]:
        """Once or, where the database was busy, again: Prefect's automations act at least once."""
        return {text for text in self.texts if str(run.id) in text}


@pytest.fixture(scope="module")
def slack() -> Iterator[WebhookServer]:
    with WebhookServer() as started, pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, f"{started.address}/services/{SECRET}")
        yield started


@pytest.fixture(scope="module")
def worker_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("worker") / "worker.log"


@pytest.fixture(scope="module")
def worker(server: Server, worker_log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Serves the CPU pool only; a secret lies in its environment, and so in its flow runs'."""
    environment = {
        **os.environ,
        **server.client_settings,
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]),
        "CHORE_SECRET": SECRET,
    }
    with worker_log.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.working", CPU_POOL], env=environment, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        kill_all(process)


@pytest.fixture(scope="module")
def day(
    client: SyncPrefectClient, slack: WebhookServer, worker: "subprocess.Popen[bytes]", server: Server, worker_log: Path
) -> Day:
    """Everything at once, as each wait takes its ten seconds or more."""
    # A busy machine may need more than ten seconds to begin a run that is well.
    windows = {"silent_seconds": WINDOW_SECONDS, "late_seconds": WINDOW_SECONDS, "pending_seconds": 3 * WINDOW_SECONDS}
    wanted = Wanted(store_uri="/store", recipes=(recipe(),), webhook=True, **windows)
    apply(wanted)
    tagged, untagged = (chore(client, "sleeps", GPU_POOL, tags) for tags in ([TAG], []))
    runs = {
        "never begun": brought_to(client, tagged, Pending()),
        "waits for a person": brought_to(client, tagged, Running(), Suspended(timeout_seconds=600)),
        "somebody else's": brought_to(client, untagged, Running()),
        "forgotten by the server": brought_to(client, untagged, Running()),
    }
    client.update_flow_run(runs["forgotten by the server"], tags=[TAG])
    apply(wanted)
    scheduled = chore(client, "fails", GPU_POOL, [TAG], a_few_times_from_now_on())
    # As a schedule that is older makes it: of the first minutes of a schedule's runs Prefect tells late.
    runs["is late"] = client.create_flow_run_from_deployment(tagged, tags=["auto-scheduled"]).id
    runs["waits for a slot"] = client.create_flow_run_from_deployment(tagged).id
    retrain = client.read_deployment_by_name("retrain/support").id
    tell_of_new_data(client, "support")
    tell_of_new_data(client, "sales")

    runs["fails"] = client.create_flow_run_from_deployment(chore(client, "fails", CPU_POOL, [TAG])).id
    runs["is killed"] = client.create_flow_run_from_deployment(chore(client, "sleeps", CPU_POOL, [TAG])).id
    until(lambda: state_of(client, runs["is killed"]) == "Running")
    until(lambda: state_of(client, runs["fails"]) == "Failed")
    kill_all(worker)
    killed = time.monotonic()
    until(lambda: state_of(client, runs["is killed"]) == "Crashed")
    seconds = time.monotonic() - killed
    for name in ("never begun", "forgotten by the server"):
        until(lambda name=name: state_of(client, runs[name]) == "Crashed")
    until(lambda: any(str(runs["fails"]) in text for text in slack.texts))
    until(lambda: any(": late\n" in text for text in slack.texts))
    until(lambda: sum(": crashed\n" in text for text in slack.texts) >= 2)
    until(lambda: runs_of(client, retrain))
    until(lambda: state_of(client, runs["waits for a slot"]) == "Late")
    until(lambda: "Late" in {state_of(client, run.id) for run in runs_of(client, scheduled)})
    logs = [each.read_text(errors="replace") for each in (server.child.log, worker_log)]
    return Day(
        runs={name: client.read_flow_run(each) for name, each in runs.items()},
        texts=slack.texts,
        paths={each.path for each in slack.told},
        seconds_to_crash=seconds,
        scheduled={state_of(client, run.id) for run in runs_of(client, scheduled)},
        retrained=runs_of(client, retrain),
        readable="\n".join([everything(client), *logs]),
    )


def test_a_run_whose_process_and_worker_were_killed_is_crashed_soon(day: Day) -> None:
    # Besides the window, which is 90 seconds for people, some for a busy machine.
    assert day.seconds_to_crash < WINDOW_SECONDS + 90
    state = day.runs["is killed"].state
    assert state is not None
    assert state.message == (
        "No sign of life for 10 seconds: its process or machine is gone. Retry goes on from the last finished stage."
    )


def test_other_lost_runs_are_crashed_and_none_that_is_well(day: Day) -> None:
    assert day.state("never begun") == "Crashed"
    assert day.state("forgotten by the server") == "Crashed"
    assert day.state("waits for a person") == "Suspended"
    assert day.state("somebody else's") == "Running"


def test_a_failure_is_told_with_cause_and_link(day: Day, server: Server) -> None:
    run = day.runs["fails"]
    assert day.told_of(run) == {
        f"fails {run.name}: failed\n"
        'Flow run encountered an exception: ValueError: no rows are left in "support"\n'
        "&lt;!channel&gt; &amp; more\n"
        f"{server.address}/runs/flow-run/{run.id}"
    }
    (told,) = day.told_of(day.runs["is killed"])
    assert told.startswith(f"sleeps {day.runs['is killed'].name}: crashed\nNo sign of life for 10 seconds")
    assert day.told_of(day.runs["waits for a person"]) == set()


def test_a_schedule_without_a_worker_is_told(day: Day, server: Server) -> None:
    run = day.runs["is late"]
    assert run.expected_start_time is not None
    at = run.expected_start_time.strftime("%Y-%m-%d %H:%M UTC")
    assert day.told_of(run) == {
        f"sleeps {run.name}: late\nIt was to start at {at}. No worker takes runs from fettle-gpu, or all its slots are "
        f"taken.\n{server.address}/runs/flow-run/{run.id}"
    }
    assert "Late" in day.scheduled
    assert day.state("waits for a slot") == "Late"
    assert day.told_of(day.runs["waits for a slot"]) == set()


def test_new_data_start_a_retraining_of_their_recipe(day: Day) -> None:
    (run,) = day.retrained
    assert run.parameters["recipe"]["name"] == "support"
    assert run.parameters["store_uri"] == "/store"


def test_no_secret_can_be_read_anywhere(day: Day) -> None:
    assert day.paths == {f"/services/{SECRET}"}, "it never reached the webhook"
    assert "Flow run encountered an exception" in day.readable
    assert "fettle-webhook" in day.readable
    assert SECRET not in day.readable
    assert SECRET not in "".join(day.texts)


def test_the_database_keeps_neither_runs_nor_events_for_ever(client: SyncPrefectClient) -> None:
    settings = client.request("GET", "/admin/settings").json()["server"]
    assert set(settings["services"]["db_vacuum"]["enabled"]) == {"events", "flow_runs"}
    assert settings["services"]["triggers"]["enabled"]


def kill_all(process: "subprocess.Popen[bytes]") -> None:
    """At once, with every process that it started."""
    if process.poll() is None:
        parent = psutil.Process(process.pid)
        for each in [parent, *parent.children(recursive=True)]:
            each.send_signal(signal.SIGKILL)
        process.wait()


def until(condition: Callable[[], Any], seconds: float = 150) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.2)


def chore(
    client: SyncPrefectClient, flow: str, pool: str, tags: list[str], schedule: RRuleSchedule | None = None
) -> UUID:
    """A deployment of somebody's own; with the tag Fettle looks after its runs."""
    return client.create_deployment(
        client.create_flow_from_name(flow),
        f"on {pool}, {'tagged' if tags else 'untagged'}, {'scheduled' if schedule else 'by hand'}",
        entrypoint=f"tests.deployments.chores.{flow}",
        work_pool_name=pool,
        tags=tags,
        schedules=[DeploymentScheduleCreate(schedule=schedule)] if schedule else [],
    )


def a_few_times_from_now_on() -> RRuleSchedule:
    return RRuleSchedule(rrule=f"DTSTART:{datetime.now(UTC):%Y%m%dT%H%M%SZ}\nRRULE:FREQ=SECONDLY;INTERVAL=15;COUNT=8")


def brought_to(client: SyncPrefectClient, deployment: UUID, *states: State[Any]) -> UUID:
    """A run in a state that a process brought it to which is no more."""
    run = client.create_flow_run_from_deployment(deployment)
    for state in states:
        client.set_flow_run_state(run.id, state, force=True)
    return run.id


def state_of(client: SyncPrefectClient, run: UUID) -> str:
    state = client.read_flow_run(run).state
    assert state is not None
    return state.name


def runs_of(client: SyncPrefectClient, deployment: UUID) -> list[FlowRun]:
    return client.read_flow_runs(
        flow_run_filter=FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment]))
    )


def tell_of_new_data(client: SyncPrefectClient, name: str) -> None:
    event = Event(event=NEW_DATA, resource=Resource({"prefect.resource.id": new_data_resource(name)}))
    client.request("POST", "/events", json=[event.model_dump(mode="json")])


def everything(client: SyncPrefectClient) -> str:
    """What anybody can read of the server, without being let see secrets."""
    paths = ("block_documents", "flow_runs", "flows", "deployments", "automations", "artifacts", "logs", "events",
             "task_runs", "work_pools", "variables")  # fmt: skip
    return "\n".join(client.request("POST", f"/{path}/filter", json={}).text for path in paths)  # type: ignore[arg-type]
