"""What a person sees in Prefect: states, names, artifacts, logs."""

import asyncio
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, TaskRunFilter, TaskRunFilterFlowRunId
from prefect.client.schemas.sorting import FlowRunSort
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.server import Server
from tasks.artifacts.store import Store
from tests.flows.conftest import Fettle
from tests.servers.faults import FaultProxy

pytestmark = pytest.mark.xdist_group("flows-prefect")  # one worker, as a server is started for each


def latest_run(server: Server, task_runs: int = 11) -> tuple[Any, list[Any], list[Any], list[Any]]:
    """The newest flow run with its task runs, artifacts and logs."""

    async def ask() -> tuple[Any, list[Any], list[Any], list[Any]]:
        async with get_client() as client:
            (run,) = await client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC, limit=1)
            tasks: list[Any] = []
            # Task runs reach the database through the event stream, a moment later.
            for _ in range(60):
                by_flow = TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=[run.id]))
                tasks = await client.read_task_runs(task_run_filter=by_flow)
                if len(tasks) >= task_runs and all(each.state and each.state.is_final() for each in tasks):
                    break
                await asyncio.sleep(0.5)
            artifacts = await client.read_artifacts(flow_run_filter=FlowRunFilter(id={"any_": [run.id]}))
            logs = await client.read_logs(limit=200)
        return run, tasks, artifacts, logs

    with temporary_settings({PREFECT_API_URL: f"{server.address}/api"}):
        return asyncio.run(ask())


def test_cached_stages_are_cached_in_prefect_too(fettle: Fettle, store: Path, server: Server) -> None:
    assert fettle("run", "recipe.yaml", "--store", str(store)).code == 0
    run, tasks, artifacts, _logs = latest_run(server)
    # The finished store's run read the same data from elsewhere.
    assert run.name == "small on ./base_model: evaluation.benchmarks changed, sources changed"
    assert run.state.name == "Published"
    assert run.state.is_completed()
    states = {task.name: task.state.name for task in tasks}
    assert states.pop("register small") == "Completed"
    assert set(states.values()) == {"Cached"}, states
    assert {name.split()[0] for name in states} == {
        "ingest", "curate", "deduplicate", "mix", "tokenize", "train", "measure", "evaluate", "publish",
    }  # fmt: skip
    keys = {artifact.key for artifact in artifacts}
    assert keys >= {"ingestion", "curation", "deduplication", "mixing", "tokenization", "training", "gate"}
    assert keys >= {"plan", "loss", "verdict", "benchmarks", "report"}
    curation = next(artifact for artifact in artifacts if artifact.key == "curation")
    assert "| read |" in curation.data
    assert "truncated" in curation.data


def test_failure_is_not_retried_when_the_data_are_bad(fettle: Fettle, store: Path, server: Server) -> None:
    answer = fettle("run", "recipe.yaml", "--store", str(store), "--set", "ingestion.max_reject_ratio=0")
    assert answer.code == 1
    assert "rows cannot be read" in answer.err
    assert "× wrong number of fields (first: code: code.csv:" in answer.err
    run, tasks, _artifacts, _logs = latest_run(server, task_runs=1)
    assert run.state.is_failed()
    (ingest,) = tasks
    assert ingest.run_count == 1


def test_passing_fault_of_the_store_is_retried(
    fettle: Fettle, store: Path, server: Server, bucket: str, fault_proxy: FaultProxy
) -> None:
    shutil.rmtree(store / "mixing")
    opened = Store(f"{bucket}/store")
    for path in sorted(each for each in store.rglob("*") if each.is_file()):
        opened.files.upload(path.relative_to(store).as_posix(), path)
    # The client tries each request three times; more failures than that reach the stage.
    fault_proxy.fail("error500", method="PUT", key="/mixing/", times=4)
    variables = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    answer = fettle("run", "recipe.yaml", "--store", f"{bucket}/store", FETTLE_RETRY_DELAYS_SECONDS="0.5", **variables)
    assert answer.code == 0, answer.err
    run, tasks, _artifacts, _logs = latest_run(server)
    assert run.state.is_completed()
    mix = next(task for task in tasks if task.name.startswith("mix"))
    assert mix.run_count == 2


@pytest.mark.soak
def test_trainer_speaks_through_the_run(fettle: Fettle, store: Path, server: Server) -> None:
    answer = fettle("run", "recipe.yaml", "--store", str(store), "--set", "training.learning_rate=0.95")
    assert answer.code == 1, answer.out
    assert "diverged" in answer.err
    _run, tasks, _artifacts, logs = latest_run(server, task_runs=6)
    train = next(task for task in tasks if task.name.startswith("train"))
    assert train.run_count == 1
    assert any(log.message.startswith("training ") and "parameters" in log.message for log in logs)
