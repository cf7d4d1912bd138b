"""The virtual environment of the object store, built once and shared by every test session and worker."""

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Swift runs on eventlet, which replaces parts of the standard library: it gets an environment of its own.
REQUIREMENTS = ("swift==2.38.3", "eventlet==0.41.3", "lxml==6.1.3", "setuptools<81")
BUILD_TIMEOUT_SECONDS = 600


def installed_python(cache: Path) -> Path:
    """The interpreter of the environment under `cache`; builds it when it is absent or for other requirements.

    Raises RuntimeError with the end of pip's output when the packages cannot be installed.
    """
    environment = cache.resolve() / "venv"
    stamp = environment / "requirements.txt"
    wanted = "\n".join((*REQUIREMENTS, sys.version, ""))
    environment.parent.mkdir(parents=True, exist_ok=True)
    with _exclusive(environment.with_suffix(".lock")):
        # The stamp is written last, so an interrupted build is never taken for a whole one.
        if not stamp.exists() or stamp.read_text() != wanted:
            _build(environment)
            stamp.write_text(wanted)
    return environment / "bin" / "python"


def _build(environment: Path) -> None:
    shutil.rmtree(environment, ignore_errors=True)
    _run(sys.executable, "-m", "venv", str(environment))
    pip = (
        str(environment / "bin" / "python"),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-compile",
        "--disable-pip-version-check",
    )
    _run(*pip, *REQUIREMENTS)


def _run(*command: str) -> None:
    finished = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=BUILD_TIMEOUT_SECONDS
    )
    if finished.returncode != 0:
        raise RuntimeError(
            f"cannot build the object store's environment: {' '.join(command)} ended with {finished.returncode}. "
            f"It needs the package index once. Its last words:\n{finished.stdout[-2000:]}"
        )


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """Holds the file's lock; the kernel frees it when the process dies, so no stale lock can remain."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
