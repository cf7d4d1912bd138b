"""What every trainer process does around its work: die with its parent, keep quiet, name its failure."""

import ctypes
import errno
import logging
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tasks.config import Config
from tasks.trainer.events import emit

Job = TypeVar("Job", bound=Config)

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>

PARENT_VARIABLE = "FETTLE_TRAINER_PARENT"
"""Environment variable with the process id of the parent; absent when a module is started by hand."""


class Diverged(ArithmeticError):  # noqa: N818  # a state of the run, as its event names it
    """Loss or gradient left the finite numbers, or the loss exploded."""


class Interrupted(RuntimeError):  # noqa: N818
    """Somebody asked the process to stop; what it had done is saved."""


class OverBudget(RuntimeError):  # noqa: N818
    """The run costs more than it may."""


_asked_to_stop = threading.Event()


def is_asked_to_stop() -> bool:
    """Whether SIGTERM came since `main` began to listen for it."""
    return _asked_to_stop.is_set()


def main(job_type: type[Job], work: Callable[[Job], None], *, stops_in_order: bool = False) -> None:
    """Read the job named on the command line, do the work, exit with 1 and a `failed` event when it fails.

    Work that stops in order looks at `is_asked_to_stop` itself; other work ends at once at SIGTERM.
    """
    die_with_parent()
    if stops_in_order:
        signal.signal(signal.SIGTERM, lambda _signal, _frame: _asked_to_stop.set())
    warnings.simplefilter("ignore")
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    try:
        job = job_type.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
        work(job)
    except Exception as error:  # noqa: BLE001  # the last frame of a process: every failure is named to the parent
        traceback.print_exc()
        emit("failed", kind=failure_kind(error), message=_sentence(error))
        sys.exit(1)
    emit("finished")


def die_with_parent() -> None:
    """End this process when the parent that launched it ends, even by SIGKILL; started by hand, it lives on.

    Linux sends SIGKILL itself; elsewhere, and when the parent died before that was asked for, a thread sees the
    end of standard input, whose other end only the parent holds.
    """
    if PARENT_VARIABLE not in os.environ:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_exit_at_end_of_input, daemon=True).start()


def failure_kind(error: BaseException) -> str:
    """`diverged`, `interrupted`, `budget`, `out_of_memory`, `disk_full` or `crashed`."""
    for kind, name in ((Diverged, "diverged"), (Interrupted, "interrupted"), (OverBudget, "budget")):
        if isinstance(error, kind):
            return name
    if is_out_of_memory(error):
        return "out_of_memory"
    return "disk_full" if is_disk_full(error) else "crashed"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out; torch's error is known by its name, so torch is not imported."""
    names = {kind.__name__ for kind in type(error).__mro__}
    words = (
        "can't allocate memory",
        "not enough memory",
        "Cannot allocate memory",
        "bad_alloc",
        "CUDA error: out of memory",
        "CUBLAS_STATUS_ALLOC_FAILED",
    )
    return "OutOfMemoryError" in names or "MemoryError" in names or any(each in str(error) for each in words)


def is_disk_full(error: BaseException) -> bool:
    """Whether a disk or a quota was full, also where a library tells it in words of its own."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return True
    words = ("No space left on device", "Disk quota exceeded", "File too large", "PytorchStreamWriter failed writing")
    return any(each in str(error) for each in words)


def _exit_at_end_of_input() -> None:
    try:
        while os.read(0, 4096):
            pass
    except OSError:
        pass
    os._exit(1)


def _sentence(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return (
        text
        if isinstance(error, Diverged | Interrupted | OverBudget | ValueError)
        else f"{type(error).__name__}: {text}"
    )
