"""Runs of the demo in an empty store and profile, as a person would run them; the cold one is shared."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tasks.artifacts import runs
from tasks.artifacts.store import Store
from tests.speed.figure import require

REPOSITORY = Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 1800


@dataclass(frozen=True)
class DemoRun:
    """A finished run."""

    wall_seconds: float
    """From before the process starts until after it has ended."""
    answer: dict[str, Any]
    """What it printed as JSON."""
    record: runs.Run
    store: Path


@cache
def cold_run(scratch: Path) -> DemoRun:
    """The first run in a folder, all of it computed; made once for all figures that look at it."""
    # A figure after one whose cold run broke would go on from the half of it.
    require(not _store(scratch).exists(), "the shared cold run has failed before; see the figure above")
    run = demo_run(scratch)
    cached = [stage.verb for stage in run.record.stages if stage.cached]
    require(not cached, f"the cold run took {', '.join(cached)} from a cache, though its store was empty")
    return run


def demo_run(scratch: Path) -> DemoRun:
    """Run the demo with no Prefect server but its own; raises `CheckError` where it fails."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    store = _store(scratch)
    places = ["--folder", str(scratch / "demo"), "--store", str(store)]
    began = time.perf_counter()
    finished = subprocess.run(
        [sys.executable, "-m", "flows.cli", "demo", *places, "--json"],
        cwd=REPOSITORY,
        env={**inherited, "FETTLE_HOME": str(scratch / "home"), "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    wall_seconds = time.perf_counter() - began
    require(finished.returncode == 0, f"the demo ended with {finished.returncode}: {finished.stderr.strip()[-2000:]}")
    answer = json.loads(finished.stdout)
    record = runs.find(Store(str(store)), answer["run"])
    if record is None or not record.stages:
        raise AssertionError(f"the store has no record with stages of the run {answer['run']}")
    return DemoRun(wall_seconds, answer, record, store)


def _store(scratch: Path) -> Path:
    return scratch / "store"
