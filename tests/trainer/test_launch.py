"""Child processes without torch: what the launcher relays, what it withholds, and that nothing is left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.config import Config
from tasks.trainer.events import MARKER, parse
from tasks.trainer.launch import TrainerFailed, child_environment, run

ROOT = Path(__file__).resolve().parents[2]


class Note(Config):
    """A job that only holds a word."""

    word: str = "hello"
    """Any word."""


CHILD = """
import os, signal, sys, time
from tasks.trainer import child, events
from tasks.config import Config

class Note(Config):
    word: str

def work(note):
    {body}

if __name__ == "__main__":
    {before}
    child.main(Note, work)
"""

Child = Callable[..., str]


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Child:
    """Writes a child module with the given body and returns its name."""

    def write(body: str, before: str = "pass") -> str:
        (tmp_path / "written_child.py").write_text(CHILD.format(body=body, before=before))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        return "written_child"

    return write


def launch(module: str, folder: Path, **options: Any) -> tuple[list[dict[str, Any]], list[str]]:
    events: list[dict[str, Any]] = []
    lines: list[str] = []
    run(module, Note(), folder=folder / "job", on_event=events.append, on_line=lines.append, **options)
    return events, lines


def test_events_and_lines_arrive_and_the_job_is_read(child: Child, tmp_path: Path) -> None:
    body = "print('half a line', end=''); events.emit('progress', step=1, loss=0.5); print(note.word, file=sys.stderr)"
    events, lines = launch(child(body), tmp_path)
    assert events == [{"event": "progress", "step": 1, "loss": 0.5}, {"event": "finished"}]
    assert lines == ["half a line", "hello"]
    assert sorted(path.name for path in (tmp_path / "job").iterdir()) == ["job.json"]


@pytest.mark.parametrize("line", ["loss 0.5", "{}", f"{MARKER}not json", f"{MARKER}[1]", f"x {MARKER}{{}}"])
def test_ordinary_text_is_no_event(line: str) -> None:
    assert parse(line) is None


def test_secrets_and_prefect_settings_stay_with_the_parent() -> None:
    secret = {
        "PREFECT_API_URL": "x",
        "AWS_ACCESS_KEY_ID": "x",
        "HF_TOKEN": "x",
        "OPENAI_API_KEY": "x",
        "CLIENT_SECRET": "x",
        "DB_PASSWORD_FILE": "x",
        "DATABASE": "postgresql://user:pass@host/db",
    }
    child = child_environment({**secret, "LANG": "C.UTF-8", "CUDA_VISIBLE_DEVICES": "3,4"})
    assert not set(secret) & set(child)
    assert child["LANG"] == "C.UTF-8"
    assert child["CUDA_VISIBLE_DEVICES"] == "3"
    assert child["HF_HUB_OFFLINE"] == child["TRANSFORMERS_OFFLINE"] == "1"


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ("raise child.Diverged('the loss is nan at step 3')", "diverged", "nan at step 3"),
        ("raise MemoryError('no room')", "out_of_memory", "no room"),
        ("raise RuntimeError('wrong shape')", "crashed", "RuntimeError: wrong shape"),
        ("print('last words'); os._exit(7)", "crashed", "exit code 7.*last words"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed", "SIGKILL"),
    ],
)
def test_a_failure_is_named(child: Child, tmp_path: Path, body: str, kind: str, words: str) -> None:
    with pytest.raises(TrainerFailed, match=f"(?s){words}") as failure:
        launch(child(body), tmp_path)
    assert failure.value.kind == kind


def test_the_deadline_stops_the_child(child: Child, tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(TrainerFailed, match=r"longer than 1\.5 s") as failure:
        launch(child("print(os.getpid()); time.sleep(60)"), tmp_path, timeout_seconds=1.5)
    assert failure.value.kind == "timeout"
    assert time.monotonic() - started < 10
    assert not alive(int(failure.value.last_lines[0]))


def test_an_interrupted_parent_stops_a_child_that_ignores_sigterm(
    child: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.trainer.launch.GRACE_SECONDS", 0.5)
    seen: list[int] = []

    def interrupt(line: str) -> None:
        seen.append(int(line))
        raise KeyboardInterrupt

    module = child("signal.signal(signal.SIGTERM, signal.SIG_IGN); print(os.getpid()); time.sleep(60)")
    with pytest.raises(KeyboardInterrupt):
        run(module, Note(), folder=tmp_path / "job", on_event=lambda _: None, on_line=interrupt)
    assert not alive(seen[0])


@pytest.mark.parametrize("way", ["kernel signal", "end of input"])
def test_a_killed_parent_takes_its_child_along(child: Child, tmp_path: Path, way: str) -> None:
    """Each of the two ways alone: the other is taken from the child before it starts to listen."""
    if way == "kernel signal" and sys.platform != "linux":
        pytest.skip("PR_SET_PDEATHSIG exists on Linux only")
    endless_input, no_linux = "os.dup2(os.pipe()[0], 0)", "sys.platform = 'any'"
    before = endless_input if way == "kernel signal" else no_linux
    module = child("print(os.getpid(), flush=True); time.sleep(60)", before=before)
    parent_code = (
        "import sys, pathlib; from tasks.trainer.launch import run; from tasks.config import Config\n"
        "class Note(Config):\n    word: str = 'hello'\n"
        f"run({module!r}, Note(), folder=pathlib.Path({str(tmp_path)!r}) / 'job', on_event=print,"
        " on_line=lambda line: print(line, flush=True))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    with subprocess.Popen([sys.executable, "-c", parent_code], stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    deadline = time.monotonic() + 10
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(pid)


def alive(pid: int) -> bool:
    """Whether the process runs; one that ended and waits to be reaped does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not (state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] == "Z")
