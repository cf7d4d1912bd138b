"""A Prefect server of Fettle's own, on loopback, for people who run none.

It lives in a process of its own and ends with the one that started it.
"""

import gc
import itertools
import os
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from flows.lifeline import Child

SERVER_WORDS, CLIENT_WORDS = "PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING"
"""Environment variables with `user:password`: what a server asks for, and what a client says."""

START_SECONDS = 180.0
_STARTS = 3

QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLI_PROMPT": "false",
    "DO_NOT_TRACK": "1",
}
"""No server of ours reports to anybody."""

_FEWER_SERVICES = {
    f"PREFECT_SERVER_SERVICES_{service}_ENABLED": "false"
    for service in ("SCHEDULER", "LATE_RUNS", "TRIGGERS", "FOREMAN", "REPOSSESSOR", "PAUSE_EXPIRATIONS", "DB_VACUUM")
}
"""What a server that lives for one run has no use for."""

_LASTING = {
    # Ended flow runs go after 90 days, their events after 7.
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    # After a night without a server it still knows for which runs' signs of life it waited.
    "PREFECT_SERVER_EVENTS_EXPIRED_BUCKET_BUFFER": "P7D",
}
"""What a server that stays needs besides; the user's own settings go first."""


_SECONDS_BETWEEN_COLLECTIONS = 5.0
_COLLECTIONS_UNTIL_UP, _COLLECTIONS_BETWEEN_FULL = 6, 60


class ServerError(Exception):
    """The server did not start."""


def home() -> Path:
    """Where Fettle's own Prefect profile and database lie: `FETTLE_HOME`, or the user's data folder."""
    chosen = os.environ.get("FETTLE_HOME")
    if chosen:
        return Path(chosen).expanduser().resolve()
    return Path(os.environ.get("XDG_DATA_HOME", "~/.local/share")).expanduser() / "fettle"


class Server:
    """A server process; `address` answers once `wait` has returned.

    With `PREFECT_SERVER_API_AUTH_STRING` in the environment it refuses whoever does not say those words.
    """

    def __init__(self, port: int | None = None, *, ui: bool = False) -> None:
        self.port, self.ui = port or free_port(), ui
        require_free(self.port)
        self.child = self._start()

    @property
    def address(self) -> str:
        """Where the UI is; the API lies below it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def client_settings(self) -> dict[str, str]:
        """Environment variables that lead a client to this server, and let it in."""
        words = os.environ.get(SERVER_WORDS)
        return {"PREFECT_API_URL": f"{self.address}/api"} | ({CLIENT_WORDS: words} if words else {})

    def _start(self) -> Child:
        lasting = _LASTING if self.ui else {}
        services = {} if self.ui else {**_FEWER_SERVICES, "PREFECT_SERVER_UI_ENABLED": "false"}
        environment = {**lasting, **os.environ, **QUIET, **services, "PREFECT_HOME": str(home() / "prefect")}
        # A client's address would make the server call itself elsewhere, its quiet console would empty our log.
        environment.pop("PREFECT_API_URL", None)
        environment.pop("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", None)
        environment["PREFECT_UI_API_URL"] = f"{self.address}/api"
        log = home() / "prefect" / "server.log"
        # Last, so that flow runs that end with us can still say so.
        return Child("flows.server", str(self.port), log=log, environment=environment, last=True)

    def wait(self) -> None:
        """Return when the server answers; raises `ServerError` with the end of its log."""
        deadline, starts = time.monotonic() + START_SECONDS, 1
        while time.monotonic() < deadline:
            if self.child.has_ended:
                # Two first runs at once may both set up the database, and one of them fails.
                if starts == _STARTS:
                    break
                starts += 1
                self.stop()
                self.child = self._start()
            if answers(f"{self.address}/api/health"):
                return
            time.sleep(0.05)
        self.stop()
        raise ServerError(
            f"Prefect's server did not start on {self.address}; the end of {self.child.log}:\n{self.child.last_words}"
        )

    def stop(self) -> None:
        """End the server in order, or at once where it does not go."""
        self.child.stop()


def require_answer(api_url: str) -> None:
    """Raise `ServerError` where no Prefect server answers at an address that somebody set."""
    try:
        urllib.request.urlopen(f"{api_url.rstrip('/')}/health", timeout=10).close()  # noqa: S310 # set by the user
    except urllib.error.HTTPError as error:
        if error.code not in (401, 403):  # a server that wants credentials is there; prefect has them
            raise ServerError(
                f"PREFECT_API_URL is {api_url}, which answers {error.code} {error.reason}; "
                "give the address of a Prefect API, which ends in /api, and see that its server is well"
            ) from None
    except (OSError, ValueError) as error:
        raise ServerError(
            f"PREFECT_API_URL is {api_url}, and no Prefect server answers there ({error}). "
            "Start it, correct the address, or unset it to let Fettle start a server of its own."
        ) from None


def require_free(port: int, option: str = "--port") -> None:
    """Raise `ServerError` where another program listens on a port of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise ServerError(f"port {port} is taken by another program; give another one with {option}") from None


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(url: str) -> bool:
    """Whether a server of ours says that it is well."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 # always loopback
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _collect_garbage_apart() -> None:
    """Let no cyclic garbage be collected in the thread of the event loop.

    There it finalises cursors of SQLite connections that other threads work with. While such a thread waits for the
    database's lock, the finaliser waits for the thread; and whoever holds the lock waits for the event loop. Nothing
    moved then until SQLite gave up after a minute, with "database is locked".
    """

    def collect() -> None:
        for number in itertools.count(1):
            time.sleep(_SECONDS_BETWEEN_COLLECTIONS)
            if number == _COLLECTIONS_UNTIL_UP:
                gc.collect()
                gc.freeze()  # what was imported stays, and is not looked through again
            # Nearly all garbage is young; to look through everything takes a second.
            gc.collect(2 if number % _COLLECTIONS_BETWEEN_FULL == 0 else 1)

    gc.disable()
    threading.Thread(target=collect, name="garbage", daemon=True).start()


def _serve(port: int) -> None:
    import uvicorn

    _collect_garbage_apart()
    uvicorn.run(
        "prefect.server.api.server:create_app",
        factory=True,
        host="127.0.0.1",
        port=port,
        log_level="warning",
        timeout_keep_alive=10,
        timeout_graceful_shutdown=3,
    )


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
