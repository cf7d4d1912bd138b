"""Small artifacts, and a way to run code in a process of its own."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from tasks.artifacts.manifest import Artifact, Counts, Identity, Parent
from tasks.artifacts.store import Attempt, Store

REPOSITORY = Path(__file__).resolve().parents[2]


def identity(stage: str = "curation", parents: Mapping[str, Artifact] | None = None, **config: Any) -> Identity:
    named: tuple[Parent, ...] = tuple(artifact.as_parent(name) for name, artifact in (parents or {}).items())
    return Identity(stage=stage, version=1, config=config, parents=named)


def rows(number: int, start: int = 0) -> pa.Table:
    """Rows with text of differing length, lists and nulls."""
    numbers = range(start, start + number)
    return pa.table(
        {
            "id": pa.array([f"row {n}" for n in numbers]),
            "ids": pa.array([[n] * (n % 4) for n in numbers], pa.list_(pa.int32())),
            "score": pa.array([None if n % 3 == 0 else n / 7 for n in numbers], pa.float64()),
        }
    )


def fill(attempt: Attempt, tables: Mapping[str, pa.Table], files: Mapping[str, bytes] | None = None) -> None:
    for name, table in tables.items():
        attempt.write(name, table)
    for name, data in (files or {}).items():
        attempt.write_file(name, data)
    attempt.counts = Counts(read=3, kept=2, dropped={"short": 1})


def make(
    store: Store,
    made: Identity | None = None,
    tables: Mapping[str, pa.Table] | None = None,
    files: Mapping[str, bytes] | None = None,
) -> Artifact:
    """A committed artifact."""
    with store.attempt(made or identity()) as attempt:
        fill(attempt, {"conversations": rows(5)} if tables is None else tables, files)
        return attempt.commit({"host": "test"})


def start(code: str, *arguments: str, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """Run code in a fresh interpreter, with its output piped."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=REPOSITORY,
        env={**environment, "PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(processes: Sequence[subprocess.Popen[str]]) -> list[str]:
    """The outputs of processes that must end well."""
    outputs = []
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        outputs.append(out.strip())
    return outputs
