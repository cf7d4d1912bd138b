"""Runs of a deployment, executed in this process as a worker's child would: by the same engine, with the same rules."""

import contextvars
import threading
import uuid
from contextlib import suppress
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions, FlowRun, State
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow_sync
from prefect.input import read_flow_run_input
from prefect.states import Pending, Scheduled
from prefect.utilities.engine import propose_state_sync


class Deployed:
    """A deployment of a flow; every test has one of its own."""

    def __init__(self, flow: Flow[Any, Any], parameters: dict[str, Any], slots: int | None = None) -> None:
        self.flow = flow
        options = ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.ENQUEUE) if slots else None
        with get_client(sync_client=True) as client:
            self.id = client.create_deployment(
                client.create_flow_from_name(flow.name),
                f"test-{uuid.uuid4().hex[:8]}",
                parameters=parameters,
                concurrency_limit=slots,
                concurrency_options=options,
            )

    def trigger(self) -> UUID:
        """A run that is due."""
        with get_client(sync_client=True) as client:
            return client.create_flow_run_from_deployment(self.id).id

    def take(self, run: UUID) -> State[Any]:
        """What a worker gets that wants to begin a run: Pending where it may."""
        with get_client(sync_client=True) as client:
            return propose_state_sync(client, Pending(), flow_run_id=run)

    def execute(self, run: UUID) -> State[Any]:
        """Run it until it ends, or leaves to be started again; gives the state it is in then."""
        taken = self.take(run)
        assert taken.is_pending(), taken
        found = read(run)
        with suppress(Pause):
            run_flow_sync(self.flow, flow_run=found, parameters=found.parameters, return_type="state")
        state = read(run).state
        assert state is not None
        return state

    def execute_beside(self, run: UUID) -> threading.Thread:
        """Run it in a thread."""
        thread = threading.Thread(target=contextvars.copy_context().run, args=(self.execute, run), daemon=True)
        thread.start()
        return thread


def due_now(run: UUID) -> None:
    """Let the time come that a postponed run waits for."""
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run, Scheduled(), force=True)


def read(run: UUID) -> FlowRun:
    """How a run stands."""
    with get_client(sync_client=True) as client:
        return client.read_flow_run(run)


def asked(run: UUID) -> str:
    """What the form of a suspended run shows above its fields."""
    state = read(run).state
    assert state is not None
    assert state.state_details.run_input_keyset is not None
    return str(read_flow_run_input(state.state_details.run_input_keyset["description"], flow_run_id=run))


def artifacts(run: UUID) -> dict[str, Any]:
    """What a run shows in Prefect's UI, by key."""
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(flow_run_filter=FlowRunFilter.model_validate({"id": {"any_": [run]}}))
    return {str(each.key): each.data for each in found}
