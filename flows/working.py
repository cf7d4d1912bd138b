"""The process workers of this machine, one a work pool, in one process: `python -m flows.working POOL...`.

At SIGTERM they take no more runs, end those that they have, so that each is told to have crashed, and go.
"""

import asyncio
import os
import signal
import socket
import sys
from abc import ABC
from collections.abc import Sequence
from contextlib import suppress

import anyio
import httpx
import psutil
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.exceptions import ObjectNotFound
from prefect.workers.process import ProcessWorker

from flows.lifeline import end

RUNS_AT_ONCE = 10
"""How many runs of a pool are started before the first of them has ended."""
RUN_GRACE_SECONDS = float(os.environ.get("FETTLE_RUN_GRACE_SECONDS", "12"))
"""How long a run that is told to end may take; less than this process itself is given, which in `fettle up` is 20."""
LAST_WORDS_SECONDS = 3.0
"""How long it may take to tell the server of those that were killed."""


class Worker(ProcessWorker, ABC):  # Prefect keeps no abstract class as a type of worker, and so keeps its own
    """Prefect's worker, which also stands a quick Retry: a run due again while its last process is being seen off."""

    async def _submit_scheduled_flow_runs(self, flow_run_response: list[WorkerFlowRunResponse]) -> list[FlowRun]:
        # Prefect would ask for a second slot for it, which is an error that ends the worker. It is offered again.
        ending = self.limiter.statistics().borrowers
        due = [each for each in flow_run_response if each.flow_run.id not in ending]
        return await super()._submit_scheduled_flow_runs(due)

    async def _propose_crashed_state(
        self, flow_run: FlowRun, message: str, client: PrefectClient | None = None
    ) -> None:
        # Prefect tells of a crash twice, seconds apart; the second time it would take back a Retry in between.
        with suppress(ObjectNotFound, httpx.HTTPError):
            state = (await self.client.read_flow_run(flow_run.id)).state
            if state is not None and state.is_scheduled():
                return
        await super()._propose_crashed_state(flow_run, message, client)


async def work(pools: Sequence[str]) -> None:
    """Serve work pools until SIGTERM; waits for pools that are not there yet."""
    leaving = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, leaving.set)
    async with anyio.create_task_group() as group:
        workers: list[Worker] = []
        group.start_soon(_serve, pools, workers)
        await leaving.wait()
        await _end_runs([worker.limiter for worker in workers if worker.is_setup])
        group.cancel_scope.cancel()


async def _serve(pools: Sequence[str], workers: list[Worker]) -> None:
    for pool in pools:
        await _wait_for(pool)
    async with anyio.create_task_group() as group:
        for pool in pools:
            # The same name after each start, so that the pool's page does not fill with dead ones.
            name = f"{pool} on {socket.gethostname()}"
            worker = Worker(pool, name=name, limit=RUNS_AT_ONCE, create_pool_if_not_found=False)
            workers.append(worker)
            group.start_soon(worker.start)


async def _wait_for(pool: str) -> None:
    while True:
        with suppress(ObjectNotFound, httpx.TransportError):
            async with get_client() as client:
                await client.read_work_pool(pool)
                return
        await asyncio.sleep(0.2)


async def _end_runs(limiters: Sequence[anyio.CapacityLimiter]) -> None:
    # A run that is merely cancelled with its worker is killed without a word, and would be "Running" for ever.
    for limiter in limiters:
        limiter.total_tokens = 0  # no new ones
    for signal_it, seconds in (
        (psutil.Process.terminate, RUN_GRACE_SECONDS),
        (psutil.Process.kill, LAST_WORDS_SECONDS),
    ):
        end(psutil.Process().children(), signal_it)
        with anyio.move_on_after(seconds):
            while any(limiter.borrowed_tokens for limiter in limiters):
                await asyncio.sleep(0.1)
            return


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1:]))
