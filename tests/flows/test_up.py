"""`fettle up`: all of it comes up together, twice in a row, and no process outlives it, however it ends."""

import base64
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows.server import SERVER_WORDS, free_port
from tests.flows.conftest import REPOSITORY

pytestmark = pytest.mark.xdist_group("up")  # one home, one after another

READY_SECONDS = 60
"""On two cores that do nothing else."""
WORDS = "anna:a secret"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first start sets up the database, and later ones find it."""
    return tmp_path_factory.mktemp("home")


class Up:
    """A running `fettle up`."""

    def __init__(self, home: Path, words: str | None = None) -> None:
        self.home, self.words = home, words
        # Not as somebody's shell may have it.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        environment |= {"FETTLE_HOME": str(home), "PYTHONPATH": str(REPOSITORY)}
        if words:
            environment[SERVER_WORDS] = words
        ports = ("--port", str(free_port()), "--board-port", str(free_port()))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flows.cli", "up", *ports, "--store", str(home / "store"), "--json"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.told: dict[str, Any] = {}

    def wait(self) -> "Up":
        """Return when it says that it is ready."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        self.told = json.loads(line)
        return self

    def ends(self) -> tuple[int, str]:
        """Its exit code and what it said, once it has ended and nothing that it started is left."""
        _, said = self.process.communicate(timeout=60)
        wait_until(lambda: not self.others(), "every process of it is gone", seconds=45)
        return self.process.returncode, said

    def others(self) -> list[psutil.Process]:
        """The processes that have its home, but for itself."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.environ().get("FETTLE_HOME") == str(self.home) and process.pid != self.process.pid:
                    found.append(process)
        return found

    def ask(self, path: str, body: Any = None, words: str | None = None) -> Any:
        """What the API answers."""
        request = urllib.request.Request(f"{self.told['api']}{path}", data=body and json.dumps(body).encode())
        request.add_header("Content-Type", "application/json")
        if said := words or self.words:
            request.add_header("Authorization", "Basic " + base64.b64encode(said.encode()).decode())
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def start_demo(self) -> str:
        """Press Run on the demo's deployment; gives the run's id once it is at work."""
        deployment = self.ask("/deployments/name/finetune/demo")
        run = self.ask(f"/deployments/{deployment['id']}/create_flow_run", {"name": "a run"})["id"]
        wait_until(lambda: self.ask(f"/flow_runs/{run}")["state_type"] == "RUNNING", "the run is at work", seconds=90)
        return str(run)


def wait_until(condition: Callable[[], bool], what: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.2)


@contextmanager
def going(home: Path, words: str | None = None) -> Iterator[Up]:
    started = Up(home, words)
    try:
        yield started
    finally:
        for process in [*started.others(), started.process]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        started.process.communicate()


def in_time(seconds: float) -> bool:
    """Whether a start was as fast as it must be, on a machine that does other things, too."""
    return seconds < READY_SECONDS * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def test_all_is_there_for_who_says_the_words_and_ctrl_c_ends_it(home: Path) -> None:
    with going(home, WORDS) as up:
        told = up.wait().told
        assert in_time(told["seconds"])
        listening = {
            connection.laddr.ip
            for process in up.others()
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}
        for words in ("", "anna:another secret"):
            up.words = words
            with pytest.raises(urllib.error.HTTPError, match="401"):
                up.ask("/deployments/name/finetune/demo")
        up.words = WORDS
        recipe = up.ask("/deployments/name/finetune/demo")["parameters"]["recipe"]
        assert all(Path(source["uri"]).is_absolute() and Path(source["uri"]).is_file() for source in recipe["sources"])
        with urllib.request.urlopen(told["ui"], timeout=10) as page:
            assert b"<title>Prefect" in page.read()
        up.process.send_signal(signal.SIGINT)
        assert up.ends() == (0, "")
    secret = WORDS.encode()
    logs = [*home.glob("*.log"), *home.glob("prefect/*.log")]
    assert len(logs) == 3
    assert not [log.name for log in logs if secret in log.read_bytes()]


def test_killed_in_the_middle_of_a_run_leaves_nothing_behind_and_the_run_has_crashed(home: Path) -> None:
    with going(home, WORDS) as up:
        assert in_time(up.wait().told["seconds"])
        run = up.start_demo()
        up.process.send_signal(signal.SIGKILL)
        assert up.ends()[0] == -signal.SIGKILL
    with closing(sqlite3.connect(home / "prefect" / "prefect.db")) as database:
        states = database.execute("select state_type from flow_run where id = ?", (run,)).fetchall()
    assert states == [("CRASHED",)]


def test_crash_of_the_server_ends_all_and_is_told(home: Path) -> None:
    with going(home) as up:
        port = up.wait().told["api"].split(":")[2].split("/")[0]
        (server,) = [process for process in up.others() if process.cmdline()[-2:] == ["flows.server", port]]
        server.kill()
        code, said = up.ends()
        assert code == 1
        assert said.startswith("error: the server ended by itself, so everything was stopped; the end of ")


def test_nothing_is_left_when_it_is_ended_before_it_was_ready(home: Path) -> None:
    with going(home) as up:
        wait_until(lambda: len(up.others()) >= 3, "server, worker and history page are started", seconds=60)
        up.process.send_signal(signal.SIGTERM)
        assert up.ends() == (0, "")
