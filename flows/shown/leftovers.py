"""What a killed process left of a run that is started again."""

from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.runtime import flow_run
from prefect.states import Crashed


def settle_leftovers() -> None:
    """Let stages that ended with an earlier process of this run be shown as crashed, not as running for ever.

    To be called before the first stage begins.
    """
    if flow_run.id is None or flow_run.run_count < 2:
        return
    of_this_run = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(flow_run.id)]))
    running = TaskRunFilter(state=TaskRunFilterState(type=TaskRunFilterStateType(any_=[StateType.RUNNING])))
    crashed: State[Any] = Crashed(message="its process ended with an earlier attempt of this run")
    with get_client(sync_client=True) as client:
        for left in client.read_task_runs(flow_run_filter=of_this_run, task_run_filter=running):
            client.set_task_run_state(left.id, crashed, force=True)
