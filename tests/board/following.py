"""The board as a process of its own, asked as it is."""

import http.client
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Followed:
    """A board that answers."""

    port: int

    def ask(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of a path, sent without a client that tidies it."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.putrequest("GET", path, skip_host="Host" in headers)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


@contextmanager
def follow(store_uri: str, environment: Mapping[str, str]) -> Iterator[Followed]:
    """Serve a store on a free port; at the end it must go when it is asked to."""
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.board", "--store", store_uri, "--port", "0"],
        cwd=REPOSITORY,
        env=dict(environment),
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        yield Followed(_port(process.stderr.fileno()))
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def _port(log: int) -> int:
    deadline = time.monotonic() + 60
    told = b""
    while time.monotonic() < deadline:
        if select.select([log], [], [], 1)[0]:
            told += os.read(log, 4096)
            if found := re.search(rb"http://127\.0\.0\.1:(\d+)/history", told):
                return int(found[1])
    raise AssertionError(told.decode())
