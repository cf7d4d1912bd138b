"""The demo, run once for all tests that look at it."""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Finished:
    """A finished command."""

    code: int
    out: str
    err: str
    seconds: float


@dataclass(frozen=True)
class Place:
    """Where the demo lies."""

    folder: Path
    environment: dict[str, str]

    def run(self, *arguments: str) -> Finished:
        """Run a `fettle` command there, with no Prefect server but its own."""
        began = time.monotonic()
        answer = subprocess.run(
            [sys.executable, "-m", "flows.cli", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        return Finished(answer.returncode, answer.stdout, answer.stderr, time.monotonic() - began)


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """An empty folder and a profile of its own."""
    folder = tmp_path_factory.mktemp("demo")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    variables = {"FETTLE_HOME": str(folder / "home"), "PYTHONPATH": str(REPOSITORY), "COLUMNS": "200"}
    return Place(folder, {**environment, **variables})


@pytest.fixture(scope="session")
def cold(place: Place) -> Finished:
    """The first run: cold, or from the artifacts of a cold run of this very code, as `.ci/run` makes one before."""
    if finished := os.environ.get("FETTLE_FINISHED_DEMO"):
        shutil.copytree(finished, place.folder / "fettle-store")
    return place.run("demo", "--json")
