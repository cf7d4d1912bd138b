"""Leaving a worker to be started again later: nobody's slot is held while a run waits."""

from datetime import datetime
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName, FlowRunFilter
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.context import FlowRunContext
from prefect.exceptions import Pause
from prefect.states import Completed, Scheduled
from prefect.utilities.engine import propose_state_sync

from tasks.artifacts.store import DEFAULT_STORE, Store
from tasks.caching import logger


def own_flow_run() -> FlowRun | None:
    """The flow run that this code is in; none outside of flows."""
    context = FlowRunContext.get()
    return context.flow_run if context is not None and isinstance(context.flow_run, FlowRun) else None


def postpone(name: str, until: datetime, why: str) -> State[Any]:
    """End the process and have the same run started again at a time. `name` is how its state is shown meanwhile.

    Without a deployment nobody could start it again: then this gives the final state to end in.
    """
    flow_run = own_flow_run()
    if flow_run is None or flow_run.deployment_id is None:
        return Completed(name=name, message=f"{why}; run again after {until:%Y-%m-%d %H:%M %Z}")
    logger().info("%s; this run is started again at %s", why, f"{until:%Y-%m-%d %H:%M:%S %Z}")
    with get_client(sync_client=True) as client:
        proposed: State[Any] = Scheduled(name=name, scheduled_time=until, message=why)
        state = propose_state_sync(client, proposed, flow_run_id=flow_run.id)
    raise Pause(state=state)


def times_postponed(name: str) -> list[datetime]:
    """When this run was postponed under a name, the first time first."""
    flow_run = own_flow_run()
    if flow_run is None or flow_run.deployment_id is None:
        return []
    with get_client(sync_client=True) as client:
        states = client.read_flow_run_states(flow_run.id)
    return sorted(state.timestamp for state in states if state.name == name and state.type == StateType.SCHEDULED)


def is_of(run: FlowRun, model: str, store: Store) -> bool:
    """Whether a run is of a recipe of this name, over this store."""
    told: dict[str, Any] = run.parameters.get("recipe") or {}
    return told.get("name") == model and Store(run.parameters.get("store_uri", DEFAULT_STORE)).uri == store.uri


def runs_under_way(flows: list[str]) -> list[FlowRun]:
    """Other runs of some flows that run now and began to before this one."""
    own = own_flow_run()
    if own is None or own.state is None:
        return []
    with get_client(sync_client=True) as client:
        running = FlowRunFilter.model_validate({"state": {"type": {"any_": [StateType.RUNNING]}}})
        found = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=flows)), flow_run_filter=running, limit=200
        )
    mine = (own.state.timestamp, own.id)
    # A total order that all of them see, so that of two that look at each other exactly one goes on.
    return [run for run in found if run.id != own.id and run.state and (run.state.timestamp, run.id) < mine]
