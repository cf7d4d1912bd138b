"""The test servers themselves: the object store keeps S3's promises, and the proxy breaks them as it is told."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest
import s3fs

from tests.servers.faults import FaultProxy, Mode, Request
from tests.servers.installation import installed_python
from tests.servers.objectstore import REPOSITORY, ObjectStore

pytestmark = pytest.mark.soak  # what they serve is tested each time

Operation = Callable[[Any, str], object]

OPERATIONS: dict[str, Operation] = {
    "info": lambda files, path: files.info(path),
    "find": lambda files, path: files.find(path),
    "ls": lambda files, path: files.ls(path),
    "cat_file": lambda files, path: files.cat_file(path),
    "pipe_file": lambda files, path: files.pipe_file(path, b"new"),
    "create": lambda files, path: files.pipe_file(path, b"new", mode="create"),
}
FAULTS: dict[Mode, type[Exception]] = {
    "denied": PermissionError,
    "error500": OSError,
    "slow_down": OSError,
    # ConnectionClosedError or, when the break comes while the body is sent, EndpointConnectionError: no OSErrors.
    "drop": botocore.exceptions.BotoCoreError,
    "lost": botocore.exceptions.BotoCoreError,
    "hang": botocore.exceptions.ReadTimeoutError,
}


def connect(attempts: int = 1, **options: Any) -> Any:
    """A file system that tries `attempts` times and waits at most a second for each answer."""
    retries = {"mode": "standard", "total_max_attempts": attempts}
    config = {"retries": retries, "connect_timeout": 5, "read_timeout": 1}
    files = s3fs.S3FileSystem(config_kwargs=config, skip_instance_cache=True, use_listings_cache=False, **options)
    files.retries = 1  # s3fs would repeat every request five times, botocore's own attempts within each
    return files


def test_what_was_written_is_read_and_listed_until_it_is_deleted(bucket: str) -> None:
    files = s3fs.S3FileSystem()
    files.pipe({f"{bucket}/parts/a": b"first", f"{bucket}/parts/b": b""})
    files.pipe_file(f"{bucket}/parts/large", bytes(12 << 20), chunksize=5 << 20)
    name = bucket.removeprefix("s3://")
    assert files.cat_file(f"{bucket}/parts/a") == b"first"
    assert files.find(bucket) == [f"{name}/parts/a", f"{name}/parts/b", f"{name}/parts/large"]
    assert files.cat_file(f"{bucket}/parts/large") == bytes(12 << 20)
    files.rm(f"{bucket}/parts", recursive=True)
    assert not files.exists(f"{bucket}/parts/a")
    assert files.find(bucket) == []


@pytest.mark.parametrize("chunk_bytes", [50 << 20, 5 << 20], ids=["one request", "in parts"])
def test_a_second_creator_is_refused_and_the_first_content_stays(bucket: str, chunk_bytes: int) -> None:
    files, path = s3fs.S3FileSystem(), f"{bucket}/manifest.json"
    files.pipe_file(path, b"1" * (10 << 20), mode="create", chunksize=chunk_bytes)
    with pytest.raises(FileExistsError):
        files.pipe_file(path, b"2" * (10 << 20), mode="create", chunksize=chunk_bytes)
    assert set(files.cat_file(path)) == set(b"1")


def test_of_creators_at_the_same_moment_exactly_one_wins(bucket: str) -> None:
    files = s3fs.S3FileSystem()
    barrier = threading.Barrier(8)

    def create(path: str, content: bytes) -> bytes | None:
        barrier.wait()
        try:
            files.pipe_file(path, content, mode="create")
        except FileExistsError:
            return None
        return content

    with ThreadPoolExecutor(8) as pool:
        for attempt in range(5):
            path = f"{bucket}/{attempt}"
            winners = [won for won in pool.map(create, [path] * 8, [b"%d" % writer for writer in range(8)]) if won]
            assert winners == [files.cat_file(path)]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("mode", FAULTS)
def test_a_fault_reaches_the_caller_as_its_own_error(
    bucket: str, fault_proxy: FaultProxy, mode: Mode, operation: str
) -> None:
    files = connect()
    fault_proxy.mode = mode
    began = time.monotonic()
    with pytest.raises(FAULTS[mode]) as caught:
        OPERATIONS[operation](files, f"{bucket}/key")
    assert not isinstance(caught.value, FileNotFoundError | FileExistsError)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("operation", OPERATIONS)
def test_attempts_do_not_multiply(bucket: str, fault_proxy: FaultProxy, operation: str) -> None:
    files = connect(attempts=3)
    fault_proxy.mode = "slow_down"
    with pytest.raises(OSError, match=r"Please reduce your request rate|Service Unavailable"):
        OPERATIONS[operation](files, f"{bucket}/key")
    assert len(fault_proxy.requests) == 3


@pytest.mark.parametrize("mode", [mode for mode in FAULTS if mode != "denied"])
def test_a_passing_fault_is_not_noticed(bucket: str, fault_proxy: FaultProxy, mode: Mode) -> None:
    files = connect(attempts=3)
    fault_proxy.fail(mode, times=1)
    files.pipe_file(f"{bucket}/key", b"x")
    assert fault_proxy.requests[0].status != 200
    assert files.cat_file(f"{bucket}/key") == b"x"


def test_a_creation_whose_answer_is_lost_is_refused_when_it_is_repeated(bucket: str, fault_proxy: FaultProxy) -> None:
    """The reason why a refused creator must read what is there before it believes that another one won."""
    files = connect(attempts=3)
    fault_proxy.fail("lost", method="PUT", times=1)
    with pytest.raises(FileExistsError):
        files.pipe_file(f"{bucket}/manifest.json", b"mine", mode="create")
    assert files.cat_file(f"{bucket}/manifest.json") == b"mine"


def test_a_fault_strikes_only_the_requests_it_names_and_as_often_as_told(bucket: str, fault_proxy: FaultProxy) -> None:
    files, name = connect(attempts=1), bucket.removeprefix("s3://")
    fault_proxy.fail("denied", method="put", key="manifest", times=1)
    files.pipe_file(f"{bucket}/part", b"x")
    files.find(f"{bucket}/manifest")
    fault_proxy.forget()
    with pytest.raises(PermissionError):
        files.pipe_file(f"{bucket}/manifest.json", b"x")
    files.pipe_file(f"{bucket}/manifest.json", b"x")
    path = f"/{name}/manifest.json"
    assert fault_proxy.requests == [Request("PUT", path, 403), Request("PUT", path, 200)]


def test_a_stopped_proxy_serves_nobody_not_even_on_connections_that_were_open(
    bucket: str, fault_proxy: FaultProxy
) -> None:
    files = connect()
    files.pipe_file(f"{bucket}/key", b"x")
    fault_proxy.stop()
    with pytest.raises(botocore.exceptions.EndpointConnectionError):
        files.info(f"{bucket}/key")


def test_a_wrong_secret_is_a_permission_error(bucket: str) -> None:
    with pytest.raises(PermissionError):
        connect(key=ObjectStore.key, secret="wrong").cat_file(f"{bucket}/key")


def test_a_missing_bucket_differs_from_a_missing_key_only_by_its_cause(bucket: str) -> None:
    files = connect()
    with pytest.raises(FileNotFoundError) as missing_key:
        files.cat_file(f"{bucket}/key")
    with pytest.raises(FileNotFoundError) as missing_bucket:
        files.cat_file("s3://no-such-bucket/key")
    assert missing_key.value.__cause__ is None
    assert isinstance(missing_bucket.value.__cause__, botocore.exceptions.ClientError)
    assert missing_bucket.value.__cause__.response["Error"]["Code"] == "NoSuchBucket"
    assert files.find(f"{bucket}/key") == []
    with pytest.raises(FileNotFoundError, match="bucket does not exist"):
        files.find("s3://no-such-bucket/key")


def test_a_vanished_server_cannot_be_reached_and_comes_back_with_its_objects(bucket: str, tmp_path: Path) -> None:
    with ObjectStore(tmp_path) as store:
        files, address = connect(endpoint_url=store.endpoint), store.bucket("survivor")
        files.pipe_file(f"{address}/key", b"kept")
        store.kill()
        with pytest.raises(botocore.exceptions.EndpointConnectionError):
            files.cat_file(f"{address}/key")
        store.start()
        assert files.cat_file(f"{address}/key") == b"kept"


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with ObjectStore(tmp_path) as store:
        store.kill()
        address = ("127.0.0.1", int(store.endpoint.rpartition(":")[2]))
        with socket.create_server(address), pytest.raises(RuntimeError, match="Address already in use"):
            store.start()


def test_an_environment_that_cannot_be_built_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(RuntimeError, match="No matching distribution found for swift"):
        installed_python(tmp_path)


def runs(process: str) -> bool:
    """Whether the process lives; the command line of one that is dead, but not yet buried, is empty."""
    try:
        return bool(Path("/proc", process, "cmdline").read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        return False


OWNER = """
import sys, time
from pathlib import Path
from tests.servers.objectstore import ObjectStore
store = ObjectStore(Path(sys.argv[1])).start()
print(store._process.pid, store._data, flush=True)
time.sleep(60)
"""


def test_nothing_is_left_when_the_owner_is_killed(object_store: ObjectStore, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, tmp_path], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        server, data = owner.stdout.readline().split()
        assert Path(data).is_dir()
        owner.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while Path(data).exists() or runs(server):
        assert time.monotonic() < deadline, f"server {server} or its folder {data} outlived its owner"
        time.sleep(0.05)


class _Echo(BaseHTTPRequestHandler):
    """Answers with the Host header and the body that it received."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        body = b""
        if self.headers["Transfer-Encoding"] == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = self.headers["Host"].encode() + b" " + body
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1234")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def echo() -> Iterator[FaultProxy]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        with FaultProxy(f"http://127.0.0.1:{server.server_port}") as proxy:
            yield proxy
        server.shutdown()
        thread.join()


def test_the_proxy_hands_on_bodies_of_every_framing_over_one_connection(echo: FaultProxy) -> None:
    client = http.client.HTTPConnection(echo.endpoint.removeprefix("http://"))
    first_socket = None
    bodies: list[Any] = [b"plain" * 50_000, iter([b"in ", b"chunks"]), b""]
    expected = [b"plain" * 50_000, b"in chunks", b""]
    for body, content in zip(bodies, expected, strict=True):
        client.request("PUT", "/bucket/key%20a?x=1", body, {"Host": "signed.example"}, encode_chunked=True)
        assert client.getresponse().read() == b"signed.example " + content
        client.request("HEAD", "/bucket/key")
        answer = client.getresponse()
        assert (answer.read(), answer.getheader("Content-Length")) == (b"", "1234")
        assert first_socket in (None, client.sock)
        first_socket = client.sock
    client.close()
    assert [request.path for request in echo.requests[:2]] == ["/bucket/key%20a?x=1", "/bucket/key"]
