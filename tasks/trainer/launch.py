"""Run a trainer module in a process of its own, relay what it says, and never leave it behind."""

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
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tasks.config import Config
from tasks.trainer.child import PARENT_VARIABLE
from tasks.trainer.events import parse

POLL_SECONDS = 0.5
"""How long a wait for output may last: an exception sent to this thread is only seen between two waits."""

GRACE_SECONDS = 5.0
"""How long a child may take to end after SIGTERM before it is killed."""

QUOTED_LINES = 20
"""How many of the child's last lines an error quotes."""

_WITHHELD = re.compile(r"^(PREFECT_|AWS_)|(_TOKEN|_KEY|_SECRET|_CREDENTIALS)$|PASSWORD|PASSWD", re.IGNORECASE)
_URL_WITH_PASSWORD = re.compile(r"://[^/\s:@]*:[^/\s@]+@")

_CHILD_SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TQDM_DISABLE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
    "PYTHONIOENCODING": "utf-8",
    # peft writes a set of layer names into the adapter's config: without this its order changes from run to run.
    "PYTHONHASHSEED": "0",
    # Idle threads sleep instead of spinning: with two runs on the same cores, training was 5 times faster.
    "OMP_WAIT_POLICY": "PASSIVE",
    # Deterministic matrix products on CUDA; must be set before torch is imported.
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "FLASH_ATTENTION_DETERMINISTIC": "1",
}


Lines = queue.SimpleQueue[str | None]
"""The child's lines as they come; None after the last."""


class TrainerFailed(RuntimeError):  # noqa: N818  # reads as what happened
    """A trainer process did not finish. `kind`: diverged, out_of_memory, killed, timeout or crashed."""

    def __init__(self, kind: str, message: str, *, exit_code: int | None, last_lines: list[str]) -> None:
        quoted = "\n".join(last_lines)
        super().__init__(f"trainer {kind}: {message}" + (f"\nits last lines:\n{quoted}" if quoted else ""))
        self.kind = kind
        self.message = message
        self.exit_code = exit_code
        """Exit code; negative = minus the signal's number; None when it had to be stopped."""
        self.last_lines = last_lines


def run(
    module: str,
    job: Config,
    *,
    folder: Path,
    on_event: Callable[[dict[str, Any]], None],
    on_line: Callable[[str], None],
    timeout_seconds: float | None = None,
) -> None:
    """Run `python -m module folder/job.json` to its end; events and ordinary lines go to the callbacks.

    Raises TrainerFailed when the child fails or passes the deadline. Whatever else is raised here (a callback's
    error, KeyboardInterrupt, a cancelled task) stops the child first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "job.json"
    path.write_text(job.model_dump_json(indent=2), encoding="utf-8")
    cache = folder / "cache"
    environment = child_environment(os.environ) | {"HF_HOME": str(cache), PARENT_VARIABLE: str(os.getpid())}
    child = _start(module, path, environment)
    waiting: Lines = queue.SimpleQueue()
    reader = threading.Thread(target=_read, args=(child, waiting), daemon=True)
    reader.start()
    last_lines: deque[str] = deque(maxlen=QUOTED_LINES)
    failure: dict[str, Any] | None = None
    try:
        for line in _lines(waiting, timeout_seconds, last_lines):
            event = parse(line)
            if event is None:
                last_lines.append(line)
                on_line(line)
            else:
                failure = event if event["event"] == "failed" else failure
                on_event(event)
        _raise_on_failure(child.wait(), failure, list(last_lines))
    finally:
        _stop(child)
        reader.join(GRACE_SECONDS)  # the pipe may only be closed when nobody reads from it
        _close(child)
        shutil.rmtree(cache, ignore_errors=True)


def child_environment(parent: Mapping[str, str]) -> dict[str, str]:
    """The parent's variables without Prefect's and without secrets, and with the Hugging Face libraries offline."""
    kept = {
        name: value
        for name, value in parent.items()
        if not _WITHHELD.search(name) and not _URL_WITH_PASSWORD.search(value)
    }
    # The child imports this very package, and nothing that happens to lie in the working directory.
    root = str(Path(__file__).resolve().parents[2])
    search_path = os.pathsep.join(part for part in (root, kept.get("PYTHONPATH")) if part)
    # One process trains on one device: with several in sight, TRL refuses to start.
    device = kept.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    own = {"PYTHONPATH": search_path, "PYTHONSAFEPATH": "1", "CUDA_VISIBLE_DEVICES": device}
    return kept | _CHILD_SETTINGS | own


def _start(module: str, job: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", module, str(job.resolve())],
        stdin=subprocess.PIPE,  # never written to: its end tells the child that this process is gone
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,  # Ctrl-C reaches only the parent, which stops the child in order
    )


def _lines(waiting: Lines, timeout_seconds: float | None, last_lines: deque[str]) -> Iterator[str]:
    """The child's non-empty lines until it closes its output; raises TrainerFailed at the deadline."""
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    while True:
        if deadline is not None and time.monotonic() > deadline:
            raise TrainerFailed(
                "timeout",
                f"it ran longer than {timeout_seconds:g} s and was stopped. Raise the limit or give it less work.",
                exit_code=None,
                last_lines=list(last_lines),
            )
        try:
            line = waiting.get(timeout=POLL_SECONDS)
        except queue.Empty:
            continue
        if line is None:
            return
        if line:
            yield line


def _read(child: subprocess.Popen[str], waiting: Lines) -> None:
    if child.stdout is not None:
        for line in child.stdout:
            waiting.put(line.rstrip("\r\n"))
    waiting.put(None)


def _raise_on_failure(exit_code: int, failure: dict[str, Any] | None, last_lines: list[str]) -> None:
    if exit_code == 0 and failure is None:
        return
    if failure is not None:
        kind, message = str(failure.get("kind", "crashed")), str(failure.get("message", ""))
    elif exit_code < 0:
        name = signal.Signals(-exit_code).name if -exit_code in set(signal.Signals) else str(-exit_code)
        kind, message = "killed", f"signal {name} ended it; SIGKILL often means that memory ran out."
    else:
        kind, message = "crashed", f"it ended with exit code {exit_code}."
    raise TrainerFailed(kind, message, exit_code=exit_code, last_lines=last_lines)


def _stop(child: subprocess.Popen[str]) -> None:
    """End the child if it still runs, politely first."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _close(child: subprocess.Popen[str]) -> None:
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            pipe.close()
