"""Stores for the board to read."""

from pathlib import Path

import pytest

from tasks.artifacts.runs import Run
from tasks.artifacts.store import Store
from tests.board.made import make


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store with a published run; no Prefect server is known."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    made = Store(str(tmp_path / "store"))
    make(made)
    return made


@pytest.fixture
def run(store: Store) -> Run:
    """That run."""
    (path,) = Path(store.uri, "runs").rglob("*.json")
    return Run.model_validate_json(path.read_bytes())
