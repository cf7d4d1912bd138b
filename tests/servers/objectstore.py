"""A real S3 server on the loopback, without root and without a download outside the package index:

with ObjectStore(home) as store:
    store.bucket("artifacts")
    os.environ.update(store.environment)
"""

import os
import selectors
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import botocore.session

from tests.servers.installation import installed_python

REPOSITORY = Path(__file__).resolve().parents[2]
DEFAULT_CACHE = REPOSITORY / "build" / "objectstore"
START_TIMEOUT_SECONDS = 60
FREE_MEMORY_BYTES = 1 << 30
LOG_TAIL_CHARACTERS = 3000


class ObjectStore:
    """One S3 server. `home` holds its configuration and log; the objects live in a folder that `stop` removes."""

    key = "tests:writer"
    secret = "loopback-only"
    region = "us-east-1"

    def __init__(self, home: Path, cache: Path = DEFAULT_CACHE) -> None:
        self.home = home.resolve()
        self.log = self.home / "server.log"
        self._cache = cache
        self._data: Path | None = None
        self._process: subprocess.Popen[str] | None = None
        self._port = 0

    @property
    def endpoint(self) -> str:
        if not self._port:
            raise RuntimeError("the object store has no address yet: call start() or enter it with `with`")
        return f"http://127.0.0.1:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to find this store, and to find nothing else: no profile, no metadata service."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def start(self) -> Self:
        """Serves on the port of an earlier start if there was one, with the objects that a kill left."""
        if self._process is not None:
            raise RuntimeError(f"the object store already serves at {self.endpoint}; call restart()")
        python = installed_python(self._cache)
        self.home.mkdir(parents=True, exist_ok=True)
        if self._data is None:
            self._data = _data_folder(self.home)
        program = Path(__file__).with_name("swift_node.py")
        account = (self.key, self.secret, self.region)
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                [python, "-W", "ignore", program, self.home, self._data, str(self._port), str(os.getpid()), *account],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                # Of its own session, so that an interrupt of the tests leaves it the time to remove its objects.
                start_new_session=True,
            )
        self._port = self._announced_port(self._process)
        return self

    def kill(self) -> None:
        """The server vanishes as in a crash; its objects stay."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None

    def restart(self) -> None:
        """A crash and a new start: same address, same objects."""
        self.kill()
        self.start()

    def stop(self) -> None:
        self.kill()
        if self._data is not None:
            shutil.rmtree(self._data, ignore_errors=True)
            self._data = None

    def bucket(self, name: str) -> str:
        """Creates the bucket and returns its address, `s3://name`."""
        client: Any = botocore.session.Session().create_client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            region_name=self.region,
        )
        try:
            client.create_bucket(Bucket=name)
        finally:
            client.close()
        return f"s3://{name}"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _announced_port(self, process: subprocess.Popen[str]) -> int:
        """The server's first line. A server that dies or stays silent is ended, and its log told."""
        assert process.stdout is not None
        began = time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            line = process.stdout.readline() if selector.select(START_TIMEOUT_SECONDS) else ""
        if line.strip().isdigit():
            return int(line)
        self.stop()
        raise RuntimeError(
            f"the object store did not start within {time.monotonic() - began:.1f} s "
            f"(exit status {process.returncode}). The end of {self.log}:\n"
            f"{self.log.read_text(errors='replace')[-LOG_TAIL_CHARACTERS:]}"
        )


def _data_folder(home: Path) -> Path:
    """A fresh folder for objects, in memory if possible.

    Swift keeps an object's metadata in extended attributes. tmpfs and xfs hold 64 KB of them, ext4 only 4 KB in all,
    which a long user metadata or upload record overflows; memory is faster as well. Older kernels' tmpfs holds none,
    and a container's is often tiny, so both are tried rather than assumed.
    """
    memory = Path("/dev/shm")
    if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free >= FREE_MEMORY_BYTES and _holds(memory, 16_384):
        return Path(tempfile.mkdtemp(prefix="objectstore-", dir=memory))
    if not _holds(home, 1_024):
        raise RuntimeError(
            f"neither {memory} nor {home} can hold an object store: it needs a file system with extended user "
            "attributes (ext4, xfs, or tmpfs of Linux 6.6 and later) and in memory 1 GiB free"
        )
    return Path(tempfile.mkdtemp(prefix="objects-", dir=home))


def _holds(folder: Path, attribute_bytes: int) -> bool:
    with tempfile.NamedTemporaryFile(dir=folder) as probe:
        try:
            os.setxattr(probe.name, "user.probe", b"0" * attribute_bytes)
        except OSError:
            return False
    return True
