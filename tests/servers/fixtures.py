"""The servers as pytest fixtures; a conftest at the root lists this module in `pytest_plugins`.

`bucket` suffices for a test that only wants `s3://...`; `fault_proxy` puts the proxy before the same bucket.
"""

import uuid
from collections.abc import Iterator

import pytest
import s3fs

from tests.servers.faults import FaultProxy
from tests.servers.objectstore import ObjectStore

# A developer's own settings must not lead a test to a real store.
FOREIGN_SETTINGS = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "FSSPEC_S3_ENDPOINT_URL")


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """One server for the session, of each worker its own: about 70 MB and half a second."""
    with ObjectStore(tmp_path_factory.mktemp("objectstore")) as store:
        yield store


@pytest.fixture
def bucket(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address `s3://...` of a bucket of the test's own, which the environment makes reachable."""
    for name in FOREIGN_SETTINGS:
        monkeypatch.delenv(name, raising=False)
    for name, value in object_store.environment.items():
        monkeypatch.setenv(name, value)
    # File systems are cached by their arguments, so one of an earlier test would keep that test's endpoint.
    s3fs.S3FileSystem.clear_instance_cache()
    yield object_store.bucket(f"test-{uuid.uuid4().hex}")
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def fault_proxy(bucket: str, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """The way to the test's bucket leads through this proxy, which passes everything on until it is told to fail."""
    with FaultProxy(object_store.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        yield proxy
