"""Run a trainer module in a process of its own, relay what it says, and never leave it behind."""

import math
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.config import Config
from tasks.trainer.child import PARENT_VARIABLE
from tasks.trainer.environment import child_environment
from tasks.trainer.events import parse

POLL_SECONDS = 0.5
"""How long a wait for output may last: an exception sent to this thread is only seen between two waits."""

GRACE_SECONDS = 5.0
"""How long a child may take to end after SIGTERM before it is killed, where the caller gives it no longer."""

QUOTED_LINES = 20
"""How many of the child's last lines an error quotes."""

_ROOT_CAUSE = re.compile(r"^\s*exitcode\s*:\s*(-?\d+)")
"""In torchrun's report: how a process ended; the last one named is the first that failed."""

MEETING_SECONDS = 600
"""How long a machine waits for the others."""

_LOST = re.compile(r"gloo/transport|NCCL|Dist(?:Backend|Network|Store)Error")
"""In the words of a failure: another process could not be reached any more."""

Lines = queue.SimpleQueue[str | None]
"""The child's lines as they come; None after the last."""


RESUMABLE = frozenset({"killed", "hung", "disk_full", "interrupted"})
"""Kinds of failure that say nothing against the work itself, so that it may go on from its last checkpoint."""


class TrainerFailed(RuntimeError):  # noqa: N818  # reads as what happened
    """A trainer process did not finish. `kind`: diverged, out_of_memory, disk_full, interrupted, budget, hung, killed,
    timeout or crashed."""

    def __init__(self, kind: str, message: str, *, exit_code: int | None, last_lines: list[str]) -> None:
        quoted = "\n".join(last_lines)
        super().__init__(f"trainer {kind}: {message}" + (f"\nits last lines:\n{quoted}" if quoted else ""))
        self.kind = kind
        self.message = message
        self.exit_code = exit_code
        """Exit code; negative = minus the signal's number; None when it had to be stopped."""
        self.last_lines = last_lines
        self.transient = kind in RESUMABLE
        """True where the same work may succeed a little later."""


@dataclass(frozen=True)
class Meeting:
    """Several machines that train together, and which of them this is."""

    nodes: int
    endpoint: str
    """`host:port` on the first machine."""
    id: str
    """The same on all machines, and of this training alone."""
    node: int = 0
    """From 0 on; the first machine's first process is the one that speaks and writes."""

    def words(self) -> str:
        """Where and how many."""
        return f"{self.nodes} machines at {self.endpoint}"


@dataclass
class _Relay:
    """Passes on what the child says, and keeps what an error will quote."""

    on_event: Callable[[dict[str, Any]], None]
    on_line: Callable[[str], None]
    failure: dict[str, Any] | None = None
    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=QUOTED_LINES))

    def hear(self, line: str) -> None:
        event = parse(line)
        if event is None:
            self.last_lines.append(line)
            self.on_line(line)
            return
        if event["event"] == "failed" and self.failure is None:  # of several processes the first names the cause
            self.failure = event
        self.on_event(event)

    def stopped(self, kind: str, message: str) -> TrainerFailed:
        return TrainerFailed(kind, message, exit_code=None, last_lines=list(self.last_lines))


def run(
    module: str,
    job: Config,
    *,
    folder: Path,
    on_event: Callable[[dict[str, Any]], None],
    on_line: Callable[[str], None],
    processes: int = 1,
    meeting: Meeting | None = None,
    trackers: Sequence[str] = (),
    timeout_seconds: float | None = None,
    silence_seconds: float | None = None,
    grace_seconds: float = GRACE_SECONDS,
) -> None:
    """Run `python -m module folder/job.json` to its end; events and ordinary lines go to the callbacks.

    Several processes, here or on several machines, are started by torchrun. Raises TrainerFailed when the child fails,
    passes the deadline or is silent for too long. Whatever else is raised here (a callback's error, KeyboardInterrupt,
    a cancelled task) stops the child first: it has `grace_seconds` to end in order, while its events are still heard.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "job.json"
    path.write_text(job.model_dump_json(indent=2), encoding="utf-8")
    cache = folder / "cache"
    environment = child_environment(os.environ, processes, trackers) | {
        "HF_HOME": str(cache),
        PARENT_VARIABLE: str(os.getpid()),
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(math.ceil(grace_seconds)),
    }
    child = _start(_command(module, path, _torchrun(processes, meeting)), environment)
    waiting: Lines = queue.SimpleQueue()
    reader = threading.Thread(target=_read, args=(child, waiting), daemon=True)
    reader.start()
    relay = _Relay(on_event, on_line)
    try:
        for line in _lines(child, waiting, relay, timeout_seconds, silence_seconds):
            relay.hear(line)
        _raise_on_failure(child.wait(), relay, processes, meeting)
    except TrainerFailed as failed:
        # What hangs will not finish its step either.
        _end(child, waiting, relay, GRACE_SECONDS if failed.kind == "hung" else grace_seconds)
        raise
    except BaseException:
        _end(child, waiting, relay, grace_seconds)
        raise
    finally:
        _kill(child)
        reader.join(GRACE_SECONDS)  # the pipe may only be closed when nobody reads from it
        _close(child)
        shutil.rmtree(cache, ignore_errors=True)


def _torchrun(processes: int, meeting: Meeting | None) -> list[str]:
    """What starts the processes of this machine; nothing where one is all."""
    torchrun = ["torch.distributed.run", "--nproc-per-node", str(processes)]
    if meeting is not None:
        # Static, as c10d's rendezvous gives out the ranks as the machines come: rank 0, which alone speaks and writes,
        # must be where the flow runs.
        place = ["--rdzv-backend", "static", "--rdzv-endpoint", meeting.endpoint, "--rdzv-id", meeting.id]
        machine = ["--nnodes", str(meeting.nodes), "--node-rank", str(meeting.node)]
        return [*torchrun, *machine, *place, "--rdzv-conf", f"timeout={MEETING_SECONDS}", "-m"]
    return [*torchrun, "--standalone", "-m"] if processes > 1 else []


def _command(module: str, job: Path, torchrun: list[str]) -> list[str]:
    return [sys.executable, "-m", *torchrun, module, str(job.resolve())]


def _start(command: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,  # never written to: its end tells the child that this process is gone
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,  # Ctrl-C reaches only the parent, which stops the child in order
    )


def _lines(
    child: subprocess.Popen[str],
    waiting: Lines,
    relay: _Relay,
    timeout_seconds: float | None,
    silence_seconds: float | None,
) -> Iterator[str]:
    """The child's non-empty lines until it closes its output; raises TrainerFailed at a deadline."""
    began = heard = time.monotonic()
    while True:
        if timeout_seconds is not None and time.monotonic() > began + timeout_seconds:
            raise relay.stopped(
                "timeout",
                f"it ran longer than {timeout_seconds:g} s and was stopped. Raise the limit or give it less work.",
            )
        try:
            line = waiting.get(timeout=POLL_SECONDS)
        except queue.Empty:
            silent = time.monotonic() - heard
            if silence_seconds is not None and silent > silence_seconds:
                raise relay.stopped(
                    "hung",
                    f"it was silent for {silence_seconds:g} s and was stopped. Steps or evaluations that take longer "
                    "need a higher training.watching.silence_seconds.",
                ) from None
            if child.poll() is not None and silent > GRACE_SECONDS:
                return  # it ended, and something that it started holds its output open
            continue
        if line is None:
            return
        heard = time.monotonic()
        if line:
            yield line


def _read(child: subprocess.Popen[str], waiting: Lines) -> None:
    if child.stdout is not None:
        for line in child.stdout:
            waiting.put(line.rstrip("\r\n"))
    waiting.put(None)


def _raise_on_failure(exit_code: int, relay: _Relay, processes: int, meeting: Meeting | None) -> None:
    last_lines, failure = list(relay.last_lines), relay.failure
    if exit_code == 0 and failure is None:
        return
    is_alone = processes == 1 and meeting is None
    if not is_alone:
        # A process that lost another one fails, too, and says so; torchrun tells which was the first.
        causes = [int(found[1]) for line in last_lines if (found := _ROOT_CAUSE.match(line))]
        exit_code = causes[-1] if causes else exit_code
    if failure is not None and (exit_code >= 0 or is_alone):
        kind, message = str(failure.get("kind", "crashed")), str(failure.get("message", ""))
    elif exit_code < 0:
        name = signal.Signals(-exit_code).name if -exit_code in set(signal.Signals) else str(-exit_code)
        kind, message = "killed", f"signal {name} ended it; SIGKILL often means that memory ran out."
    else:
        kind, message = "crashed", f"it ended with exit code {exit_code}."
    words = last_lines if failure is None else [message]
    if meeting is not None and kind == "crashed" and any(_LOST.search(line) for line in words):
        # What went wrong is told over there; here, nothing speaks against going on once that machine is back.
        kind, message = "killed", f"not all of {meeting.words()} are there (any more). {message}"
    raise TrainerFailed(kind, message, exit_code=exit_code, last_lines=last_lines)


def _end(child: subprocess.Popen[str], waiting: Lines, relay: _Relay, grace_seconds: float) -> None:
    """Ask the child to end, and hear what it says meanwhile."""
    if child.poll() is not None:
        return
    child.terminate()
    deadline = time.monotonic() + grace_seconds
    with suppress(Exception):
        relay.on_event({"event": "stopping", "grace_seconds": grace_seconds})
    while time.monotonic() < deadline:
        try:
            line = waiting.get(timeout=min(POLL_SECONDS, grace_seconds))
            if line is None:
                break
            if line:
                relay.hear(line)
        except queue.Empty:
            if child.poll() is not None:
                return
        except Exception:  # noqa: BLE001, S112  # a callback that fails again; the first failure is the one to tell
            continue
    with suppress(subprocess.TimeoutExpired):
        child.wait(max(0.0, deadline - time.monotonic()))


def _kill(child: subprocess.Popen[str]) -> None:
    """End the child if it still runs. Processes that torchrun started die with it."""
    if child.poll() is None:
        child.kill()
        child.wait()


def _close(child: subprocess.Popen[str]) -> None:
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            pipe.close()
