"""Trainer processes that need not import torch again: each is a fork of one that has, which saves seconds a test.

All else stays as it is: a process of its own with its job's environment, its pipes, its signals and its exit code. What
stands in a `fettle` command's process of its own starts cold, as everywhere.
"""

import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tasks.trainer import launch
from tasks.trainer.environment import child_environment

ROOT = Path(__file__).resolve().parents[2]
CLIENT = Path(__file__).with_name("warm_client.py")
FORKED = ("tasks.trainer.", "small_machine")
"""Modules that are run in forks, by how their names begin; the second one is of tests, around the trainer."""
PRELOADED = (
    "tasks.trainer.run",
    "tasks.trainer.scoring",
    "tasks.trainer.models",
    "tasks.trainer.generation",
    "tasks.trainer.choices",
    "tasks.trainer.classifier.run",
    "peft",
    "accelerate",
    "datasets",
    "transformers.models.llama.modeling_llama",
    "transformers.models.auto.modeling_auto",
    "transformers.models.modernbert.modeling_modernbert",
)
SIZE, STATUS = struct.Struct("i"), struct.Struct("ii")
"""Of an order in bytes; and a process's id with its wait status."""


class Warm:
    """The process that has imported all, started when it is first needed."""

    def __init__(self, cold: Callable[[str, Path, list[str]], list[str]]) -> None:
        self._cold = cold
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="fettle-warm-")
        self.path = f"{self._folder.name}/socket"

    def command(self, module: str, job: Path, torchrun: list[str]) -> list[str]:
        """What starts a trainer: the usual command where a fork would not be the same."""
        if torchrun or not module.startswith(FORKED):
            return self._cold(module, job, torchrun)
        self._start()
        return [sys.executable, "-I", "-S", str(CLIENT), self.path, module, str(job.resolve())]

    def _start(self) -> None:
        if self._process is not None:
            assert self._process.poll() is None, "the warm process has ended"
            return
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.servers.warm", self.path],
            cwd=ROOT,
            env=child_environment(os.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def stop(self) -> None:
        if self._process is not None:
            self._process.communicate()
        self._folder.cleanup()


@pytest.fixture(scope="session", autouse=True)
def warm_trainers() -> Iterator[None]:
    """Trainers that this process starts are forks of a warm one."""
    warm = Warm(launch._command)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "_command", warm.command)
        yield
    warm.stop()


class Forker:
    """Forks for each client, tells it how its fork ended, and ends a fork whose client is gone."""

    def __init__(self, path: str) -> None:
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(path)
        self._listening.listen()
        self._waited = selectors.DefaultSelector()
        self._waited.register(self._listening, selectors.EVENT_READ)
        self._waited.register(sys.stdin, selectors.EVENT_READ)
        self._forks: dict[int, tuple[int, socket.socket]] = {}
        """By the descriptor that tells of a fork's end: its process id and its client."""

    def serve(self) -> str | None:
        """The module that a fork is to run, in that fork; none in the first process, once nobody needs it any more."""
        while True:
            for key, _ in self._waited.select():
                if key.fileobj is sys.stdin:
                    return None
                if key.fileobj is self._listening:
                    client, _address = self._listening.accept()
                    module = self._fork(client)
                    if module is not None:
                        return module
                elif key.fd in self._forks:
                    self._ended(key.fd)
                else:
                    self._left(key.data)

    def _fork(self, client: socket.socket) -> str | None:
        told, descriptors = receive(client)
        pid = os.fork()
        if pid == 0:
            self._waited.close()
            self._listening.close()
            client.close()
            become(told, descriptors)
            return str(told["module"])
        for each in descriptors:
            os.close(each)
        ended = os.pidfd_open(pid)
        self._forks[ended] = pid, client
        self._waited.register(ended, selectors.EVENT_READ)
        self._waited.register(client, selectors.EVENT_READ, ended)
        client.sendall(STATUS.pack(pid, 0))
        return None

    def _ended(self, descriptor: int) -> None:
        pid, client = self._forks.pop(descriptor)
        _, status = os.waitpid(pid, 0)
        self._waited.unregister(descriptor)
        os.close(descriptor)
        with suppress(KeyError):
            self._waited.unregister(client)
        with suppress(OSError):
            client.sendall(STATUS.pack(pid, status))
        client.close()

    def _left(self, descriptor: int) -> None:
        """A client was killed, and so is what it stands for."""
        pid, client = self._forks[descriptor]
        self._waited.unregister(client)
        os.kill(pid, signal.SIGKILL)


def receive(client: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """A client's order, and its standard input, output and error."""
    size, descriptors, _flags, _address = socket.recv_fds(client, SIZE.size, 3)
    (missing,) = SIZE.unpack(size)
    message = b""
    while len(message) < missing:
        message += client.recv(missing - len(message))
    return json.loads(message), list(descriptors)


def become(told: dict[str, Any], descriptors: list[int]) -> None:
    """In a fork: what a new process with this order would be."""
    os.setsid()
    for own, given in enumerate(descriptors):
        os.dup2(given, own)
        os.close(given)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(own, mode) for own, mode in enumerate(("r", "w", "w")))
    os.environ.clear()
    os.environ.update(told["environment"])
    os.chdir(told["folder"])
    sys.argv = [told["module"], told["job"]]
    sys.path[1:1] = told["environment"].get("PYTHONPATH", "").split(os.pathsep)


def main(path: str) -> None:
    """Import, say so, and fork; in a fork, run the module that is wanted, to this process's end."""
    for name in PRELOADED:
        importlib.import_module(name)
    gc.freeze()  # what all forks share is not looked through, and so not copied
    forker = Forker(path)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    module = forker.serve()
    if module is not None:
        sys.modules.pop(module, None)
        runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1])
