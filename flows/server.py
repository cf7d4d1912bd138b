"""A Prefect server of Fettle's own, on loopback, for people who run none.

It lives in a process of its own and ends with the one that started it, however that ends.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

START_SECONDS = 90.0
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


class ServerError(Exception):
    """The server did not start."""


def home() -> Path:
    """Where Fettle's own Prefect profile and database lie: `FETTLE_HOME`, or the user's data folder."""
    chosen = os.environ.get("FETTLE_HOME")
    if chosen:
        return Path(chosen).expanduser().resolve()
    return Path(os.environ.get("XDG_DATA_HOME", "~/.local/share")).expanduser() / "fettle"


class Server:
    """A server process; `address` answers once `wait` has returned."""

    def __init__(self, port: int | None = None, *, ui: bool = False) -> None:
        self.port, self.ui = port or _free_port(), ui
        if _is_taken(self.port):
            raise ServerError(f"port {self.port} is taken by another program; give another one with --port")
        self.log = home() / "prefect" / "server.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._process = self._start()

    @property
    def address(self) -> str:
        """Where the UI is; the API lies below it."""
        return f"http://127.0.0.1:{self.port}"

    def _start(self) -> "subprocess.Popen[bytes]":
        services = {} if self.ui else {**_FEWER_SERVICES, "PREFECT_SERVER_UI_ENABLED": "false"}
        environment = {**os.environ, **QUIET, **services, "PREFECT_HOME": str(home() / "prefect")}
        # A client's address would make the server call itself elsewhere, its quiet console would empty our log.
        environment.pop("PREFECT_API_URL", None)
        environment.pop("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", None)
        environment["PREFECT_UI_API_URL"] = f"{self.address}/api"
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "flows.server", str(self.port)],
                stdin=subprocess.PIPE,  # its end tells the server that we are gone
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Return when the server answers; raises `ServerError` with the end of its log."""
        deadline, starts = time.monotonic() + START_SECONDS, 1
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                # Two first runs at once may both set up the database, and one of them fails.
                if starts == _STARTS:
                    break
                starts += 1
                self.stop()
                self._process = self._start()
            if _answers(f"{self.address}/api/health"):
                return
            time.sleep(0.05)
        tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
        self.stop()
        raise ServerError(f"Prefect's server did not start on {self.address}; the end of {self.log}:\n{tail}")

    def stop(self) -> None:
        """End the server in order, or at once where it does not go."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def has_ended(self) -> bool:
        """True once the process is gone."""
        return self._process.poll() is not None


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


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 # always loopback
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _serve(port: int) -> None:
    import uvicorn

    def end_with_parent() -> None:
        # Not through sys.stdin, whose lock a thread may not hold when the interpreter ends.
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=end_with_parent, daemon=True).start()
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
