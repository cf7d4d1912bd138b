"""A store and a tokenizer for the stages, which run outside a flow when they are called plainly."""

from pathlib import Path

import pytest

from tasks.artifacts.resource import Resource
from tasks.artifacts.store import Store
from tests.stages.making import byte_level, tokenizer_files


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(str(tmp_path / "store"))
    made.probe()
    return made


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Resource:
    return tokenizer_files(tmp_path_factory.mktemp("tokenizer"), byte_level())
