"""Fettle's own Prefect server says why it does not start, and leaves with whoever started it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from flows.lifeline import comes_true
from flows.server import Server, ServerError, free_port, require_free
from tests.flows.conftest import REPOSITORY, in_this_process

pytestmark = pytest.mark.xdist_group("server")  # one worker, and one database set up


def test_server_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FETTLE_HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")  # as the command line sets it
    monkeypatch.setattr("flows.server._STARTS", 1)
    (tmp_path / "prefect").mkdir()
    (tmp_path / "prefect" / "prefect.db").write_text("this is no database, and long enough to be looked at" * 40)
    server = Server()
    with pytest.raises(ServerError, match=r"did not start(.|\n)*not a database"):
        server.wait()
    assert server.child.has_ended


def test_taken_port_is_named_with_the_option_that_changes_it() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServerError, match=rf"port {port} is taken by another program; .* --board-port"):
            require_free(port, "--board-port")
    require_free(free_port())


def test_child_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    """Even one that nobody ever signals: it only notices that its parent is gone."""
    (tmp_path / "waiting.py").write_text("import time\ntime.sleep(600)\n")
    script = (
        "import pathlib, time; from flows.lifeline import Child; "
        "print(Child('waiting', log=pathlib.Path('log')).pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}:{tmp_path}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    assert child.is_running()
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    assert comes_true(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 10)


def test_deploy_needs_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FETTLE_HOME", str(tmp_path))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    answer = in_this_process(("deploy",))
    assert answer.code == 1
    assert "PREFECT_API_URL is not set" in answer.err
    assert "fettle up" in answer.err
