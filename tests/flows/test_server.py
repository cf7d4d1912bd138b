"""Fettle's own Prefect server comes up, answers on loopback, and leaves with whoever started it."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from flows.server import Server, ServerError
from tests.flows.conftest import REPOSITORY

pytestmark = pytest.mark.xdist_group("server")  # one worker, and one database set up


def processes_of(port: int) -> list[str]:
    listing = subprocess.run(["ps", "-eo", "args="], capture_output=True, text=True, check=True).stdout
    return [line for line in listing.splitlines() if f"flows.server {port}" in line]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first server sets up its database, and later ones find it."""
    return tmp_path_factory.mktemp("home")


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_up_serves_and_leaves_nothing_behind(stop: signal.Signals, home: Path) -> None:
    port = 20000 + os.getpid() % 20000
    environment = {**os.environ, "FETTLE_HOME": str(home), "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "up", "--port", str(port)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == f"Prefect UI   http://127.0.0.1:{port}"
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=10) as answer:
        assert answer.status == 200
    process.send_signal(stop)
    code = process.wait(timeout=30)
    process.stdout.close()
    assert code == (0 if stop != signal.SIGKILL else -signal.SIGKILL)
    deadline = time.monotonic() + 15
    while processes_of(port) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert processes_of(port) == []
    assert list((home / "prefect").glob("prefect.db*"))


def test_server_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FETTLE_HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")  # as the command line sets it
    (tmp_path / "prefect").mkdir()
    (tmp_path / "prefect" / "prefect.db").write_text("this is no database, and long enough to be looked at" * 40)
    server = Server()
    with pytest.raises(ServerError, match=r"did not start(.|\n)*not a database"):
        server.wait()
    assert server.has_ended
