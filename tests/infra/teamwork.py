"""What people do with a team's Prefect: start runs, watch them, start them again."""

import time
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.flows.conftest import RECIPE
from tests.servers.services import Team

DEPLOYMENT = "finetune/finetune"
ENDS = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
PATIENCE_SECONDS = 300.0
TRAINER = "tasks.trainer.train"


@dataclass(frozen=True)
class HardDay:
    """A run and what was done to it."""

    run: str
    after_the_kill: str
    """The state that it ended in when its process was killed."""
    after_the_outage: str
    """And the one after the database was gone for some seconds."""
    store: Path


class Teamwork:
    """Runs of the deployment `finetune`."""

    def __init__(self, team: Team, corpus: Path) -> None:
        self.team = team
        self._deployment = team.ask(f"/deployments/name/{DEPLOYMENT}")["id"]
        self._recipe: dict[str, Any] = deepcopy(RECIPE)
        self._recipe["evaluation"]["benchmarks"] = self._recipe["evaluation"]["benchmarks"][:1]
        for each in (*self._recipe["sources"], *self._recipe["evaluation"]["benchmarks"]):
            each["uri"] = str(corpus / each["uri"])

    def run(self, store_uri: str) -> str:
        """Press Run; gives the run's id."""
        parameters = {"recipe": self._recipe, "store_uri": store_uri}
        started = self.team.ask(f"/deployments/{self._deployment}/create_flow_run", {"parameters": parameters})
        return str(started["id"])

    def retry(self, run: str) -> None:
        """Press Retry."""
        state = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "Retry from a test"}
        self.team.ask(f"/flow_runs/{run}/set_state", {"state": state})

    def state(self, run: str) -> str:
        return str(self.team.ask(f"/flow_runs/{run}")["state_type"])

    def states(self, run: str) -> list[str]:
        """All states that a run was in, by name."""
        return [each["name"] for each in self.team.ask(f"/flow_run_states/?flow_run_id={run}")]

    def tasks(self, run: str) -> Counter[tuple[str, str]]:
        """Verb and last state of each task of a run, all its attempts together."""
        found = self.team.ask("/task_runs/filter", {"flow_runs": {"id": {"any_": [run]}}, "limit": 200})
        return Counter((each["name"].split()[0], each["state_name"]) for each in found)

    def wait_for_end(self, run: str, state: str = "") -> str:
        """The state that a run ends in; with one given, that it must be."""
        until(lambda: self.state(run) in ENDS, f"run {run} ends")
        ended = self.state(run)
        message = self.team.ask(f"/flow_runs/{run}")["state"]["message"]
        assert ended == state or not state, f"{self.states(run)}: {message}\n{self.team.worker.log.read_text()[-3000:]}"
        return ended

    def trainer(self) -> psutil.Process:
        """The trainer's process, once it is there."""
        found: list[psutil.Process] = []

        def is_there() -> bool:
            found[:] = [each for each in self.team.members() if TRAINER in words(each)]
            return bool(found)

        until(is_there, "a trainer is at work")
        return found[0]

    def flow(self) -> psutil.Process:
        """The process of the flow run that trains."""
        flow = self.trainer().parent()
        assert flow is not None
        return flow


def words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Return once it is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.3)
