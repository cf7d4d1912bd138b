"""A small but real run: a slice of the demo's data, its base model, a few training steps."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.cli import main
from flows.demo.corpus import write_corpus
from flows.server import Server

REPOSITORY = Path(__file__).resolve().parents[2]
BASE_MODEL = REPOSITORY / "flows" / "demo" / "base_model"

RECIPE: dict[str, Any] = {
    "name": "small",
    "base_model": str(BASE_MODEL),
    "sources": [
        {"name": "domain", "uri": "sources/domain.jsonl", "role": "domain"},
        {"name": "code", "uri": "sources/code.csv", "role": "code"},
    ],
    "ingestion": {"max_reject_ratio": 0.2},
    "curation": {"length": {"prompt_tokens": [3, 256], "answer_tokens": [1, 256]}},
    "tokenization": {"max_length": 256},
    "training": {"learning_rate": 1.0e-3, "epochs": 1, "batch_size": 4, "evaluations": 1},
    "evaluation": {
        # So little training moves answers this way and that; the gate has its own tests.
        "forgetting": {"investigate": 50, "fail": 100},
        "max_new_tokens": 12,
        "samples": 4,
        "benchmarks": [
            {
                "name": "figures",
                "uri": "benchmarks/exact_figures.jsonl",
                "kind": "generation",
                "max_items": 20,
                "gate": False,
            },
            {"name": "knowledge", "uri": "benchmarks/general_knowledge.jsonl", "prompt": "chat"},
        ],
    },
}


@dataclass(frozen=True)
class Answer:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Fettle = Callable[..., Answer]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's data, its sources cut to their first rows."""
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder)
    for name in ("domain.jsonl", "code.csv"):
        path = folder / "sources" / name
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:250]))
    return folder


@pytest.fixture
def workplace(corpus: Path, tmp_path: Path) -> Path:
    """A folder of the test's own with data and `recipe.yaml`."""
    folder = tmp_path / "workplace"
    shutil.copytree(corpus, folder)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    return folder


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real Prefect server, as `fettle up` starts it, in a profile of its own."""
    before = os.environ.get("FETTLE_HOME")
    os.environ["FETTLE_HOME"] = str(tmp_path_factory.mktemp("home"))
    started = Server(ui=True)
    try:
        started.wait()
        yield started
    finally:
        started.stop()
        if before is None:
            del os.environ["FETTLE_HOME"]
        else:
            os.environ["FETTLE_HOME"] = before


@pytest.fixture
def environment(server: Server) -> dict[str, str]:
    """The environment of a command that uses the test's server."""
    return {**os.environ, "PREFECT_API_URL": f"{server.address}/api", "COLUMNS": "200"}


@pytest.fixture
def fettle(environment: dict[str, str], workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Fettle:
    """Run a `fettle` command in the workplace, within this process."""
    monkeypatch.chdir(workplace)

    def call(*arguments: str, **variables: str) -> Answer:
        if "FETTLE_RETRY_DELAYS_SECONDS" in variables:  # read when the stages are imported
            return in_a_process(arguments, {**environment, **variables}, workplace)
        with monkeypatch.context() as patch:
            for name, value in {**environment, **variables}.items():
                patch.setenv(name, value)
            # Prefect has read its own when it was imported.
            with temporary_settings({PREFECT_API_URL: environment["PREFECT_API_URL"]}):
                return in_this_process(arguments)

    return call


def in_a_process(arguments: tuple[str, ...], environment: dict[str, str], folder: Path) -> Answer:
    """As a person's shell runs it."""
    answer = subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    return Answer(answer.returncode, answer.stdout, answer.stderr)


def in_this_process(arguments: tuple[str, ...]) -> Answer:
    """The same entry point, without the seconds that a new process takes to import prefect."""
    out, err = io.StringIO(), io.StringIO()
    before = signal.getsignal(signal.SIGTERM)
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = main(arguments)
        except SystemExit as ended:
            code = int(ended.code or 0)
        finally:
            signal.signal(signal.SIGTERM, before)
    return Answer(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def finished_store(corpus: Path, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store after one undisturbed run, which the workers share; copy it before changing it."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    folder /= "finished"
    with FileLock(folder.with_suffix(".lock")):
        if (folder / "store").exists():
            return folder / "store"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(corpus, folder / "workplace")
        recipe = folder / "workplace" / "recipe.yaml"
        recipe.write_text(yaml.safe_dump(RECIPE))
        command = ("run", str(recipe), "--store", str(folder / "running"), "--json")
        answer = in_a_process(command, {**os.environ, "PREFECT_API_URL": f"{server.address}/api"}, folder)
        assert answer.code == 0, answer.err
        (folder / "running").rename(folder / "store")
    return folder / "store"


@pytest.fixture
def store(finished_store: Path, tmp_path: Path) -> Path:
    """A copy of the finished store."""
    folder = tmp_path / "store"
    shutil.copytree(finished_store, folder)
    return folder
