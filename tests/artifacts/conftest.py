"""A store of the test's own, once on a folder and once on the S3 server."""

import os
import uuid
from pathlib import Path

import pytest

from tasks.artifacts.store import Store
from tests.servers.fixtures import FOREIGN_SETTINGS
from tests.servers.objectstore import ObjectStore


@pytest.fixture(scope="session")
def shared_bucket(object_store: ObjectStore) -> str:
    """One bucket for many stores: making one for each test would take longer than most of the tests."""
    return object_store.bucket(f"shared-{uuid.uuid4().hex}")


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Store:
    uri = str(tmp_path / "store")
    if request.param == "s3":
        for name in FOREIGN_SETTINGS:
            monkeypatch.delenv(name, raising=False)
        server: ObjectStore = request.getfixturevalue("object_store")
        for name, value in server.environment.items():
            monkeypatch.setitem(os.environ, name, value)
        uri = f"{request.getfixturevalue('shared_bucket')}/team/{uuid.uuid4().hex}"
    opened = Store(uri)
    opened.probe()
    return opened
