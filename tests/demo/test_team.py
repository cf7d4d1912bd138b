"""The README's way from a bare machine to a scheduled retraining, as it stands there."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.demo.conftest import Finished, Place
from tests.demo.readme import README

pytestmark = pytest.mark.xdist_group("demo")  # one worker, as the costly fixtures are made once a worker

BLOCKS = re.findall(r"```shell\n(.*?)```", README.read_text(), re.S)
STEPS = [line.split("  #")[0].strip() for line in BLOCKS[1].splitlines() if line.startswith(("fettle", "prefect"))]
READY_SECONDS = 180.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def up(cold: Finished, place: Place) -> Iterator[dict[str, str]]:
    """`fettle up` beside the demo's store; gives the environment of the other terminal."""
    assert cold.code == 0
    port, board_port = free_port(), free_port()
    command = [sys.executable, "-m", "flows.cli", "up", "--port", str(port), "--board-port", str(board_port)]
    process = subprocess.Popen(command, cwd=place.folder, env=place.environment)
    try:
        deadline = time.monotonic() + READY_SECONDS
        while not answers(f"http://127.0.0.1:{board_port}/history"):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        bin_folder = str(Path(sys.executable).parent)
        yield {
            **place.environment,
            "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
            "PREFECT_HOME": str(place.folder / "prefect-of-the-user"),
            "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        }
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=90)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_the_way_has_ten_steps_or_fewer_and_names_make_demo_and_up() -> None:
    numbers = [int(number) for block in BLOCKS for number in re.findall(r"  # (\d+)\. ", block)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) <= 10
    assert [line.split("  #")[0].strip() for line in BLOCKS[0].splitlines()] == [
        "make demo", ". .venv/bin/activate", "fettle up",
    ]  # fmt: skip


def test_the_way_leads_to_a_scheduled_retraining(up: dict[str, str], place: Place) -> None:
    assert len(STEPS) >= 5
    for step in STEPS:
        finished = subprocess.run(
            step, shell=True, cwd=place.folder, env=up, capture_output=True, text=True, timeout=300, check=False
        )
        told = finished.stdout + finished.stderr
        assert finished.returncode == 0, f"{step}: {told}"
        if step.startswith("prefect deployment run"):
            assert "Nothing to do" in told, told
    assert "fintech-assistant" in (place.folder / "build" / "history.html").read_text()
    deployment = read(up, "retrain/fintech-assistant")
    assert [schedule["schedule"]["cron"] for schedule in deployment["schedules"]] == ["0 3 * * *"]
    deadline = time.monotonic() + 120
    # The event has started another run, which has found nothing to do as well.
    while len(found := runs_of(up, deployment["id"], "Nothing to do")) < 2:
        assert time.monotonic() < deadline, found
        time.sleep(1)


def read(environment: dict[str, str], deployment: str) -> Any:
    answer = httpx.get(f"{environment['PREFECT_API_URL']}/deployments/name/{deployment}", timeout=60)
    answer.raise_for_status()
    return answer.json()


def runs_of(environment: dict[str, str], deployment_id: str, state: str) -> list[Any]:
    asked = {"deployments": {"id": {"any_": [deployment_id]}}, "flow_runs": {"state": {"name": {"any_": [state]}}}}
    answer = httpx.post(f"{environment['PREFECT_API_URL']}/flow_runs/filter", json=asked, timeout=60)
    answer.raise_for_status()
    found: list[Any] = answer.json()
    return found
