"""A store that fails is never taken for one that lacks something: every operation says so, in words, within seconds."""

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import s3fs
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, ParamValidationError

from tasks.artifacts import registry, runs, sweeping
from tasks.artifacts.errors import StoreDeniedError, StoreError, StoreFullError, StoreUnreachableError
from tasks.artifacts.filesystem import translate
from tasks.artifacts.manifest import Artifact
from tasks.artifacts.store import MARKER, Store
from tests.artifacts.samples import finished, identity, make, start
from tests.servers.faults import FaultProxy, Mode

PATIENCE_SECONDS = 15

Operation = Callable[[Store, Artifact], object]
READS: dict[str, Operation] = {
    "find": lambda store, artifact: store.find(artifact.address),
    "find what is absent": lambda store, _: store.find("curation/0123456789abcdef"),
    "addresses": lambda store, _: store.addresses(),
    "table": lambda store, artifact: store.table(artifact, "conversations"),
    "versions": lambda store, _: registry.versions(store),
    "garbage": lambda store, _: sweeping.find_garbage(store),
}
WRITES: dict[str, Operation] = {
    "probe": lambda store, _: store.probe(),
    "attempt": lambda store, _: make(store, identity(other=True)),
    "save a run": lambda store, _: runs.save(store, runs.begin("r", {})),
    "delete": lambda store, artifact: store.files.delete(artifact.address),
    "register": lambda store, artifact: registry.register(store, "m", artifact, artifact, artifact, "pass"),
}
OPERATIONS = {**READS, **WRITES}
FAULTS: dict[Mode, type[StoreError]] = {
    "error500": StoreUnreachableError,
    "denied": StoreDeniedError,
    "drop": StoreUnreachableError,
}


def require_failure(operation: Operation, store: Store, artifact: Artifact, kind: type[StoreError]) -> None:
    began = time.monotonic()
    with pytest.raises(StoreError, match=rf"store {store.uri}: ") as caught:
        operation(store, artifact)
    assert type(caught.value) is kind
    assert caught.value.transient is (kind is StoreUnreachableError)
    assert any(verb in str(caught.value) for verb in ("cannot ", "is gone while ")), caught.value
    assert time.monotonic() - began < PATIENCE_SECONDS


@pytest.mark.parametrize("mode", FAULTS)
def test_no_operation_takes_a_fault_for_an_absence(mode: Mode, bucket: str, fault_proxy: FaultProxy) -> None:
    store = Store(f"{bucket}/store")
    store.probe()
    artifact = make(store)
    # A refusal is told at once; the other faults are waited for, so fewer operations have to show them.
    chosen = list(OPERATIONS) if mode == "denied" else ["find what is absent", "addresses", "probe"]
    fault_proxy.mode = mode
    for name in chosen:
        require_failure(OPERATIONS[name], store, artifact, FAULTS[mode])
    fault_proxy.mode = "pass"
    assert store.find(artifact.address) == artifact


def test_listing_that_fails_is_no_empty_listing(bucket: str, fault_proxy: FaultProxy) -> None:
    """The manifest is read, and then the store fails: that is no missing part."""
    store = Store(f"{bucket}/store")
    store.probe()
    artifact = make(store)
    fault_proxy.fail("denied", key="list-type=2")
    with pytest.raises(StoreDeniedError, match=f"cannot list {artifact.address}/attempt-"):
        store.find(artifact.address)


def test_object_that_the_store_refuses_to_delete_is_not_said_to_be_gone(bucket: str, fault_proxy: FaultProxy) -> None:
    store = Store(f"{bucket}/store")
    store.probe()
    artifact = make(store)
    fault_proxy.fail("denied", method="POST", key="delete")
    with pytest.raises(StoreDeniedError, match=f"cannot delete {artifact.address}"):
        store.files.delete(artifact.address)
    assert store.find(artifact.address) == artifact


def test_server_that_stopped_is_unreachable(bucket: str, fault_proxy: FaultProxy) -> None:
    store = Store(f"{bucket}/store")
    store.probe()
    artifact = make(store)
    fault_proxy.stop()
    require_failure(READS["find what is absent"], store, artifact, StoreUnreachableError)
    require_failure(WRITES["probe"], store, artifact, StoreUnreachableError)


def test_bucket_that_is_not_there_is_an_error_everywhere(bucket: str) -> None:
    store = Store(f"{bucket}/store")
    store.probe()
    artifact = make(store)
    s3fs.S3FileSystem().rm(bucket, recursive=True)
    for name, operation in OPERATIONS.items():
        began = time.monotonic()
        with pytest.raises(StoreDeniedError, match=r"bucket does not exist|NoSuchBucket"):
            operation(store, artifact)
        assert time.monotonic() - began < PATIENCE_SECONDS, name


def test_wrong_secret_is_denied(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with pytest.raises(StoreDeniedError, match=rf"store {bucket}: cannot write probe-\w+: PermissionError"):
        Store(bucket).probe()


def test_store_that_vanished_is_no_empty_store(store: Store) -> None:
    """Unmounted, emptied, or another folder now: a run must not begin its work anew."""
    artifact = make(store)
    if store.files.is_local:
        shutil.rmtree(store.uri)
    else:
        for path in store.files.sizes(""):
            store.files.delete(path)
    for name in ("find", "find what is absent", "table", "garbage", "register"):
        with pytest.raises(StoreError, match=rf"its marker {MARKER} is gone") as caught:
            OPERATIONS[name](store, artifact)
        assert not caught.value.transient
    store.probe()
    assert store.find(artifact.address) is None


def test_file_in_the_place_of_a_folder_is_denied(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    store = Store(str(tmp_path / "store"))
    for operation in (store.probe, store.addresses, lambda: store.files.write("a/b", b"")):
        with pytest.raises(StoreDeniedError, match=rf"store {tmp_path}/store: cannot (create|list|write)"):
            operation()


def test_folder_without_permission_is_denied(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.probe()
    artifact = make(store)
    writing: list[tuple[int, Callable[[], object]]] = [
        (0o500, lambda: make(store, identity("mixing"))),
        (0o000, lambda: store.find(artifact.address)),
        (0o000, store.addresses),
    ]
    try:
        for mode, operation in writing:
            tmp_path.chmod(mode)
            if os.access(tmp_path, os.W_OK):
                pytest.skip("this user may write everywhere")
            with pytest.raises(StoreDeniedError, match="Permission denied"):
                operation()
    finally:
        tmp_path.chmod(0o700)


LIMITED = """
import resource, signal, sys
import pyarrow as pa
from tasks.artifacts.errors import StoreFullError
from tasks.artifacts.store import Store
from tests.artifacts.samples import fill, identity, rows
store = Store(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    with store.attempt(identity()) as attempt:
        fill(attempt, {}, {"small.bin": b"x" * 10_000, "large.bin": b"x" * 30_000})
except StoreFullError as error:
    print(error.transient, error)
try:
    store.files.replace("runs/r/1.json", b"x" * 30_000)
except StoreFullError:
    print(sorted(store.files.sizes("")))
"""


def test_disk_that_takes_no_more_is_full_and_nothing_half_written_stays(tmp_path: Path) -> None:
    """The limit of a process stands in for the disk's: its error comes from the same call."""
    store = Store(str(tmp_path))
    store.probe()
    store.files.replace("runs/r/1.json", b"before")
    out = finished([start(LIMITED, store.uri, environment=os.environ)])[0].splitlines()
    assert out[0].startswith(f"False store {store.uri}: cannot write {identity().address}/attempt-")
    assert "no space is left" in out[0]
    assert out[1] == f"['{MARKER}', 'runs/r/1.json']"
    assert store.files.read("runs/r/1.json") == b"before"


def client_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "words"}}, "PutObject")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), StoreFullError),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), StoreFullError),
        (client_error("XMinioStorageFull"), StoreFullError),
        (OSError(errno.EROFS, "Read-only file system"), StoreDeniedError),
        (OSError(errno.ENAMETOOLONG, "File name too long"), StoreDeniedError),
        (PermissionError("Access Denied"), StoreDeniedError),
        (NoCredentialsError(), StoreDeniedError),
        (ParamValidationError(report="Invalid bucket name"), StoreDeniedError),
        (client_error("InvalidBucketName"), StoreDeniedError),
        (OSError(errno.EIO, "Input/output error"), StoreUnreachableError),
        (OSError(errno.ESTALE, "Stale file handle"), StoreUnreachableError),
        (EndpointConnectionError(endpoint_url="http://x"), StoreUnreachableError),
        (TimeoutError(), StoreUnreachableError),
        (ConnectionResetError(), StoreUnreachableError),
    ],
)
def test_cause_decides_whether_trying_again_can_help(error: Exception, kind: type[StoreError]) -> None:
    translated = translate(error, "store s3://b: cannot write x")
    assert type(translated) is kind
    assert str(translated).startswith("store s3://b: cannot write x: ")
    assert type(error).__name__ in str(translated)
    assert translated.transient is (kind is StoreUnreachableError)


@pytest.mark.parametrize("uri", ["gs://bucket", "http://host/x", "memory://x", "s3://", "s3:///"])
def test_storage_of_an_unknown_kind_is_refused(uri: str) -> None:
    with pytest.raises(StoreDeniedError, match=rf"store {uri}: .*; give "):
        Store(uri)


def test_probe_refuses_a_store_that_creates_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As object stores do that do not know conditional writes."""
    store = Store(str(tmp_path))

    def overwrite(path: str, data: bytes) -> bool:
        store.files.write(path, data)
        return True

    monkeypatch.setattr(store.files, "create", overwrite)
    with pytest.raises(StoreDeniedError, match="lets a file be created twice"):
        store.probe()


def test_file_that_vanishes_while_a_folder_is_listed_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run's drafts come and go in the very folders that are listed."""
    store = Store(str(tmp_path))
    store.probe()
    artifact = make(store)
    expected = store.files.sizes("")
    draft = tmp_path / artifact.address / ".manifest.json.01234567"
    scandir: Any = os.scandir

    @contextmanager
    def scan(folder: Path) -> Iterator[list[os.DirEntry[str]]]:
        draft.write_bytes(b"")
        with scandir(folder) as found:
            entries = list(found)
        draft.unlink()
        yield entries

    monkeypatch.setattr(os, "scandir", scan)
    assert store.files.sizes("") == expected
