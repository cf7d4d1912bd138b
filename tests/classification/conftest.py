"""A store for the labelled stages, which run outside a flow when they are called plainly."""

from pathlib import Path

import pytest

from tasks.artifacts.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(str(tmp_path / "store"))
    made.probe()
    return made
