"""What every trainer process does around its work: die with its parent, keep quiet, name its failure."""

import ctypes
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


def main(job_type: type[Job], work: Callable[[Job], None]) -> None:
    """Read the job named on the command line, do the work, exit with 1 and a `failed` event when it fails."""
    die_with_parent()
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
    """`diverged`, `out_of_memory` or `crashed`; torch's error is known by its name, so torch is not imported."""
    if isinstance(error, Diverged):
        return "diverged"
    names = {kind.__name__ for kind in type(error).__mro__}
    starved = "OutOfMemoryError" in names or "MemoryError" in names or "can't allocate memory" in str(error)
    return "out_of_memory" if starved else "crashed"


def _exit_at_end_of_input() -> None:
    try:
        while os.read(0, 4096):
            pass
    except OSError:
        pass
    os._exit(1)


def _sentence(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return text if isinstance(error, Diverged | ValueError) else f"{type(error).__name__}: {text}"
