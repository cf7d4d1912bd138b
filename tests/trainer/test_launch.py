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
from tasks.trainer.environment import child_environment
from tasks.trainer.events import MARKER, parse
from tasks.trainer.launch import TrainerFailed, run

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
    ("tracker", "shown"),
    [("wandb", {"WANDB_API_KEY"}), ("mlflow", {"MLFLOW_TRACKING_URI"}), ("trackio", {"HF_TOKEN", "TRACKIO_TOKEN"})],
)
def test_a_tracker_gets_its_own_secrets_and_no_other(tracker: str, shown: set[str]) -> None:
    secret = {
        "WANDB_API_KEY": "x",
        "MLFLOW_TRACKING_URI": "https://user:pass@host",
        "HF_TOKEN": "x",
        "TRACKIO_TOKEN": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "PREFECT_API_KEY": "x",
    }
    assert set(secret) & set(child_environment(secret, 1, [tracker])) == shown


def test_what_trackio_writes_outlives_the_child() -> None:
    """Its folder lies in the Hugging Face cache, and the child has one of its own that is removed."""
    assert child_environment({"HF_HOME": "/data/hf"}, 1, ["trackio"])["TRACKIO_DIR"] == "/data/hf/trackio"
    assert child_environment({"TRACKIO_DIR": "/data/t"}, 1, ["trackio"])["TRACKIO_DIR"] == "/data/t"
    assert child_environment({"TRACKIO_SPACE_ID": "me/space"}, 1, ["trackio"])["HF_HUB_OFFLINE"] == "0"
    assert child_environment({"TRACKIO_SPACE_ID": "me/space"}, 1, ["wandb"])["HF_HUB_OFFLINE"] == "1"


def test_each_process_gets_a_device() -> None:
    assert child_environment({}, 2)["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert child_environment({"CUDA_VISIBLE_DEVICES": "3,4,5"}, 2)["CUDA_VISIBLE_DEVICES"] == "3,4"


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ("raise child.Diverged('the loss is nan at step 3')", "diverged", "nan at step 3"),
        ("raise MemoryError('no room')", "out_of_memory", "no room"),
        ("raise RuntimeError('wrong shape')", "crashed", "RuntimeError: wrong shape"),
        ("print('last words'); os._exit(7)", "crashed", "exit code 7.*last words"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed", "SIGKILL"),
        ("open('/dev/full', 'w', buffering=1).write('x\\n')", "disk_full", "No space left on device"),
    ],
)
def test_a_failure_is_named(child: Child, tmp_path: Path, body: str, kind: str, words: str) -> None:
    with pytest.raises(TrainerFailed, match=f"(?s){words}") as failure:
        launch(child(body), tmp_path)
    assert failure.value.kind == kind
    assert failure.value.transient == (kind in ("killed", "disk_full"))


def test_the_deadline_stops_the_child(child: Child, tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(TrainerFailed, match=r"longer than 1\.5 s") as failure:
        launch(child("print(os.getpid()); time.sleep(60)"), tmp_path, timeout_seconds=1.5)
    assert failure.value.kind == "timeout"
    assert time.monotonic() - started < 10
    assert not alive(int(failure.value.last_lines[0]))


def test_a_silent_child_is_hung_and_does_not_get_the_grace_of_a_working_one(
    child: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.trainer.launch.GRACE_SECONDS", 0.5)
    module = child("signal.signal(signal.SIGTERM, signal.SIG_IGN); print(os.getpid()); time.sleep(60)")
    started = time.monotonic()
    with pytest.raises(TrainerFailed, match=r"silent for 1\.5 s.*silence_seconds") as failure:
        launch(module, tmp_path, silence_seconds=1.5, grace_seconds=60)
    assert failure.value.kind == "hung"
    assert failure.value.transient
    assert time.monotonic() - started < 10
    assert not alive(int(failure.value.last_lines[0]))


def test_a_child_that_speaks_is_not_hung(child: Child, tmp_path: Path) -> None:
    body = "[(events.emit('alive'), time.sleep(0.4)) for _ in range(6)]"
    events, _ = launch(child(body), tmp_path, silence_seconds=1.5)
    assert [event["event"] for event in events] == ["alive"] * 6 + ["finished"]


SAVES_AT_THE_END = """
    asked = []
    signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
    print(os.getpid())
    while not asked:
        time.sleep(0.02)
    time.sleep(1)
    events.emit('checkpoint', step=7)
    raise RuntimeError('asked to stop')
"""


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, ValueError])
def test_what_an_interrupted_child_says_to_its_end_is_heard(
    child: Child, tmp_path: Path, interruption: type[BaseException]
) -> None:
    events: list[dict[str, Any]] = []
    seen: list[int] = []

    def interrupt(line: str) -> None:
        if not seen:
            seen.append(int(line))
            raise interruption

    with pytest.raises(interruption):
        run(
            child(SAVES_AT_THE_END.strip()),
            Note(),
            folder=tmp_path / "job",
            on_event=events.append,
            on_line=interrupt,
            grace_seconds=30,
        )
    assert [event["event"] for event in events] == ["stopping", "checkpoint", "failed"]
    assert not alive(seen[0])


def test_an_interrupted_parent_stops_a_child_that_ignores_sigterm(child: Child, tmp_path: Path) -> None:
    seen: list[int] = []

    def interrupt(line: str) -> None:
        seen.append(int(line))
        raise KeyboardInterrupt

    module = child("signal.signal(signal.SIGTERM, signal.SIG_IGN); print(os.getpid()); time.sleep(60)")
    with pytest.raises(KeyboardInterrupt):
        run(
            module,
            Note(),
            folder=tmp_path / "job",
            on_event=lambda _: None,
            on_line=interrupt,
            grace_seconds=0.5,
        )
    assert not alive(seen[0])


def test_a_second_interruption_ends_the_child_at_once(child: Child, tmp_path: Path) -> None:
    seen: list[int] = []

    def interrupt(said: Any) -> None:
        if isinstance(said, str):
            seen.append(int(said))
        raise KeyboardInterrupt

    module = child("signal.signal(signal.SIGTERM, signal.SIG_IGN); print(os.getpid()); time.sleep(60)")
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(module, Note(), folder=tmp_path / "job", on_event=interrupt, on_line=interrupt, grace_seconds=60)
    assert time.monotonic() - started < 20
    assert not alive(seen[0])


SEVERAL = """
    rank = int(os.environ['RANK'])
    events.emit('started', processes=int(os.environ['WORLD_SIZE']), devices=os.environ['CUDA_VISIBLE_DEVICES'])
    print(f'pid {{os.getpid()}}', flush=True)
    {then}
"""


def of_several(child: Child, then: str) -> str:
    return child(SEVERAL.format(then=then).strip().replace("{{", "{").replace("}}", "}"))


def pids(lines: list[str]) -> list[int]:
    return [int(line.split()[1]) for line in lines if line.startswith("pid ")]


def test_of_several_processes_the_one_that_failed_first_names_the_failure(child: Child, tmp_path: Path) -> None:
    then = "os.kill(os.getpid(), signal.SIGKILL) if rank else time.sleep(60)"
    with pytest.raises(TrainerFailed, match="SIGKILL") as failure:
        launch(of_several(child, then), tmp_path, processes=2)
    assert failure.value.kind == "killed"


def test_several_processes_save_and_end_with_an_interrupted_parent(child: Child, tmp_path: Path) -> None:
    """Each of them is asked by torchrun, and heard to its end."""
    events: list[dict[str, Any]] = []
    lines: list[str] = []

    def interrupt(line: str) -> None:
        lines.append(line)
        if len(pids(lines)) == 2 and len(lines) == 2:
            time.sleep(1)  # both listen by now
            raise KeyboardInterrupt

    module = of_several(child, SAVES_AT_THE_END.replace("print(os.getpid())", "").strip())
    with pytest.raises(KeyboardInterrupt):
        run(
            module,
            Note(),
            folder=tmp_path / "job",
            on_event=events.append,
            on_line=interrupt,
            processes=2,
            grace_seconds=30,
        )
    assert events[0] == {"event": "started", "processes": 2, "devices": "0,1"}
    # Two processes speak, in whatever order they come to it.
    assert sorted(event["event"] for event in events[1:]) == ["checkpoint", "failed", "failed", "stopping"]
    assert not any(map(alive, pids(lines)))


@pytest.mark.parametrize("way", ["kernel signal", "end of input"])
def test_a_killed_parent_takes_its_child_along(child: Child, tmp_path: Path, way: str) -> None:
    """Each of the two ways alone: the other is taken from the child before it starts to listen."""
    if way == "kernel signal" and sys.platform != "linux":
        pytest.skip("PR_SET_PDEATHSIG exists on Linux only")
    endless_input, no_linux = "os.dup2(os.pipe()[0], 0)", "sys.platform = 'any'"
    before = endless_input if way == "kernel signal" else no_linux
    module = child("print(os.getpid(), flush=True); time.sleep(60)", before=before)
    with killable_parent(module, tmp_path) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    deadline = time.monotonic() + 10
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(pid)


def test_a_killed_parent_takes_all_processes_along(child: Child, tmp_path: Path) -> None:
    module = of_several(child, "time.sleep(60)")
    with killable_parent(module, tmp_path, "processes=2") as parent:
        assert parent.stdout is not None
        lines: list[str] = []
        while len(pids(lines)) < 2:
            lines.append(parent.stdout.readline().decode().strip())
        assert all(map(alive, pids(lines)))
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    deadline = time.monotonic() + 20
    while any(map(alive, pids(lines))) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, pids(lines)))


def killable_parent(module: str, folder: Path, options: str = "") -> "subprocess.Popen[bytes]":
    """A process that launches the module and prints what it says."""
    code = (
        "import sys, pathlib; from tasks.trainer.launch import run; from tasks.config import Config\n"
        "class Note(Config):\n    word: str = 'hello'\n"
        f"run({module!r}, Note(), folder=pathlib.Path({str(folder)!r}) / 'job', on_event=print,"
        f" on_line=lambda line: print(line, flush=True), {options})"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)])}
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment)


def alive(pid: int) -> bool:
    """Whether the process runs; one that ended and waits to be reaped does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not (state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] == "Z")
