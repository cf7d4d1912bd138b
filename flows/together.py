"""What `fettle up` starts on one machine: a Prefect server, the workers of both pools, and the history page."""

import os
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NoReturn

from flows.lifeline import HOUSEHOLD, Child, end_household
from flows.server import SERVER_WORDS, Server, ServerError, answers, home, require_free

if TYPE_CHECKING:  # Prefect takes seconds to import
    from deployments.catalogue import Wanted
    from deployments.changes import Change

READY_SECONDS = 120.0
"""How long everything together may take to answer, on a machine that does other things, too."""
_SETTINGS = {
    # A laptop has few runs, and somebody who waits for each.
    "PREFECT_WORKER_QUERY_SECONDS": "2",
}


class Together:
    """Server, workers and history page; after `stop` no process of them is left."""

    def __init__(self, port: int, board_port: int) -> None:
        """Start the server, so that it comes up while Prefect is imported here."""
        require_free(board_port, "--board-port")
        self._household = uuid.uuid4().hex
        # Children are born with it, so it is seen on them; on this process, which sets it later, it is not.
        os.environ[HOUSEHOLD] = self._household
        self._began = datetime.now(UTC)
        self.server = Server(port, ui=True)
        self._board_port, self.board_address = board_port, f"http://127.0.0.1:{board_port}"
        self._children = {"server": self.server.child}
        os.environ.update(self.server.client_settings, PREFECT_HOME=str(home() / "prefect"))

    def start(self, wanted: "Wanted") -> "list[Change]":
        """Return when all answer and everything wanted is there; raises `ServerError` with the cause if it cannot.

        Raises `StoreError` where the store cannot be used, and what `apply` raises.
        """
        from deployments.applying import apply
        from deployments.catalogue import CPU_POOL, GPU_POOL
        from deployments.demonstration import demo_recipe
        from tasks.artifacts.store import Store

        Store(wanted.store_uri).probe()  # a run would be too late to hear of it
        environment = {**os.environ, **_SETTINGS, "FETTLE_BOARD_URL": self.board_address}
        # Flow runs say the words, and need not know that the server asks for them.
        for name in (SERVER_WORDS, "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"):
            environment.pop(name, None)
        board = ("--store", wanted.store_uri, "--port", str(self._board_port))
        self._children["worker"] = Child(
            "flows.working", CPU_POOL, GPU_POOL, log=home() / "workers.log", environment=environment
        )
        self._children["history page"] = Child("flows.board", *board, log=home() / "board.log", environment=environment)
        demo_recipe()  # makes its data while the server starts
        self.server.wait()
        self._children["server"] = self.server.child
        changes = apply(wanted)
        self._wait_until(lambda: answers(f"{self.board_address}/healthz"), "history page")
        self._wait_until(self._workers_have_come, "worker")
        return changes

    def _wait_until(self, condition: Callable[[], bool], name: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not condition():
            self._require_all()
            if time.monotonic() > deadline:
                raise ServerError(f"the {name} did not answer within {READY_SECONDS:.0f} s{self._log_of(name)}")
            time.sleep(0.1)

    def _workers_have_come(self) -> bool:
        from prefect.client.orchestration import get_client

        from deployments.catalogue import CPU_POOL, GPU_POOL

        with get_client(sync_client=True) as client:
            workers = [client.read_workers_for_work_pool(pool) for pool in (CPU_POOL, GPU_POOL)]
        # Those of an earlier day are listed, too.
        return all(
            any(each.last_heartbeat_time and each.last_heartbeat_time > self._began for each in of_a_pool)
            for of_a_pool in workers
        )

    def _require_all(self) -> None:
        for name, child in self._children.items():
            if child.has_ended:
                raise ServerError(f"the {name} ended by itself, so everything was stopped{self._log_of(name)}")

    def _log_of(self, name: str) -> str:
        child = self._children[name]
        return f"; the end of {child.log}:\n{child.last_words}"

    def watch(self) -> NoReturn:
        """Wait; raises `ServerError` as soon as one of them ends by itself."""
        while True:
            self._require_all()
            time.sleep(0.5)

    def stop(self) -> None:
        """End everything, in an order in which what ends can still tell the server."""
        if workers := self._children.get("worker"):
            workers.stop()
        # Runs whose worker was killed.
        end_household(self._household, but={child.pid for child in self._children.values()})
        if board := self._children.get("history page"):
            board.stop()
        self.server.stop()
