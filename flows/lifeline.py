"""Child processes that end with the one that started them, however that one ends.

The parent holds the other end of a child's standard input and never writes to it: when it is gone, killed or not, the
pipe ends. What children start in turn, as workers start flow runs, bears the household's name in its environment: so it
is found even when whoever started it is gone, too.

A child runs as `python -m flows.lifeline MODULE ARGUMENT...`.
"""

import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Container, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

HOUSEHOLD = "FETTLE_HOUSEHOLD"
"""Environment variable with the name that all processes of one `fettle up` have in common."""
GRACE_SECONDS = 20.0
"""How long a process may take to end in order."""
_LAST = "--last"


class Child:
    """A module that runs in a process of its own and writes into a log."""

    def __init__(
        self, module: str, *arguments: str, log: Path, environment: dict[str, str] | None = None, last: bool = False
    ) -> None:
        """Where this process dies, one that is `last` waits for the rest of the household before it ends itself."""
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "flows.lifeline", *([_LAST] if last else []), module, *arguments]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,  # its end tells the child that we are gone
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,  # Ctrl-C reaches only us, who end our children in order
            )

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """True once the process is gone."""
        return self._process.poll() is not None

    @property
    def last_words(self) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])

    def stop(self) -> None:
        """End it in order, or at once where it does not go."""
        self._process.terminate()
        try:
            self._process.wait(timeout=GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()


def members(household: str, but: Container[int] = ()) -> list[psutil.Process]:
    """The live processes of a household, without this one and those in `but`."""
    found = []
    for process in psutil.process_iter():
        # Others' processes may not be looked at; a dead one that nobody has reaped has no environment any more.
        with suppress(psutil.Error, OSError):
            if process.environ().get(HOUSEHOLD) == household and process.pid != os.getpid() and process.pid not in but:
                found.append(process)
    return found


def end_household(household: str, but: Container[int] = (), *, ask: bool = True) -> None:
    """End what is left of a household; before that give it time, and `ask` it to go so that it can say that it did."""

    def is_gone() -> bool:
        return not members(household, but)

    if ask:
        end(members(household, but), psutil.Process.terminate)
    if not comes_true(is_gone, GRACE_SECONDS):
        end(members(household, but), psutil.Process.kill)
        comes_true(is_gone, GRACE_SECONDS)


def end(processes: Sequence[psutil.Process], how: Callable[[psutil.Process], None]) -> None:
    """Send each of them a signal; who is gone already is fine."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            how(process)


def comes_true(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until a condition holds; False where it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _watch(*, last: bool) -> None:
    # Not through sys.stdin, whose lock a thread may not hold when the interpreter ends.
    while os.read(0, 4096):
        pass
    household = os.environ.get(HOUSEHOLD)
    if last and household:
        end_household(household, ask=False)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


def _main(arguments: Sequence[str]) -> None:
    last = arguments[0] == _LAST
    module, *sys.argv[1:] = arguments[1:] if last else arguments
    threading.Thread(target=_watch, kwargs={"last": last}, daemon=True).start()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main(sys.argv[1:])
