"""Metrics of a Prefect server: the states of Fettle's flow runs, which are late, and who is there to work."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName
from prefect.client.schemas.objects import StateType, WorkerStatus

from deployments.catalogue import CPU_POOL, FLOWS, GPU_POOL
from flows.board.metrics import Samples

LONG_AGO = timedelta(days=3650)


def of_prefect(samples: Samples) -> None:
    """What the API of the current settings tells. Raises what the client raises where it does not answer."""
    with get_client(sync_client=True) as client:
        for flow in FLOWS:
            _runs(samples, flow, _due(client, flow))
        _workers(samples, client)


def _due(client: SyncPrefectClient, flow: str) -> list[dict[str, Any]]:
    """How many of a flow's runs that were due by now are in which state, as the server counts them."""
    now = datetime.now(UTC)
    window = {
        "history_start": (now - LONG_AGO).isoformat(),
        "history_end": now.isoformat(),
        "history_interval_seconds": LONG_AGO.total_seconds(),
        "flows": {"name": {"any_": [flow]}},
    }
    (interval,) = client.request("POST", "/flow_runs/history", json=window).json()
    states: list[dict[str, Any]] = interval["states"]
    return states


def _runs(samples: Samples, flow: str, states: list[dict[str, Any]]) -> None:
    counts: Counter[str] = Counter()
    for state in states:
        counts[state["state_type"]] += state["count_runs"]
    for kind in StateType:
        samples.add("fettle_flow_runs", counts[kind.value], flow, kind.value.lower())
    late = sum(state["count_runs"] for state in states if state["state_name"] == "Late")
    samples.add("fettle_flow_runs_late", late, flow)


def _workers(samples: Samples, client: SyncPrefectClient) -> None:
    ours = WorkPoolFilter(name=WorkPoolFilterName(any_=[CPU_POOL, GPU_POOL]))
    for pool in client.read_work_pools(work_pool_filter=ours):
        workers = client.read_workers_for_work_pool(pool.name)
        there = Counter(worker.status.value for worker in workers)
        for status in WorkerStatus:
            samples.add("fettle_workers", there[status.value], pool.name, status.value.lower())
        heard = [worker.last_heartbeat_time for worker in workers if worker.last_heartbeat_time]
        samples.add("fettle_worker_heartbeat_timestamp_seconds", max(heard).timestamp() if heard else None, pool.name)
