"""Checkpoints of an unfinished training: whole or not there, and always one to go on from."""

import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from tasks.artifacts import sweeping
from tasks.artifacts.checkpoints import RECORD, Checkpoints, Mirror
from tasks.artifacts.store import Store
from tests.artifacts.samples import fill, identity, make
from tests.servers.faults import FaultProxy

ADDRESS = identity("training").address
WHERE = f"{ADDRESS}/checkpoints"


def written(folder: Path, kind: str, step: int, text: str = "weights") -> Path:
    """A local folder as a trainer writes it."""
    made = folder / f"{kind}-{step}"
    (made / "deep").mkdir(parents=True)
    (made / "weights.bin").write_text(f"{text} of {kind} {step}")
    (made / "deep" / "state.json").write_text(str(step))
    return made


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def stored(store: Store, kind: str = "step") -> list[int]:
    """The steps of the stored folders that have a record."""
    paths = [path.split("/") for path in store.files.sizes(WHERE) if path.endswith(RECORD)]
    return sorted(int(steps[3].split("-")[1]) for steps in paths if steps[3].startswith(kind))


def place(store: Store, name: str) -> str:
    """Where the stored folder of a local one lies."""
    (found,) = {"/".join(p.split("/")[:4]) for p in store.files.sizes(WHERE) if p.split("/")[3].startswith(f"{name}-")}
    return found


@pytest.fixture
def warnings() -> list[str]:
    return []


def test_newest_checkpoint_comes_back_with_its_best_weights(store: Store, tmp_path: Path, warnings: list[str]) -> None:
    machine, other = tmp_path / "machine", tmp_path / "other"
    checkpoints = Checkpoints(store, ADDRESS)
    assert checkpoints.restore(other, warnings.append) is None
    best = written(machine, "best", 3)
    for step in (5, 40):
        checkpoints.save(written(machine, "step", step), best)
    assert Checkpoints(store, ADDRESS).restore(other, warnings.append) == other / "step-40"
    assert contents(other) == {name: data for name, data in contents(machine).items() if "step-5" not in name}
    assert store.addresses() == []
    assert warnings == []


def test_two_stay_and_the_best_never_goes(store: Store, tmp_path: Path) -> None:
    checkpoints = Checkpoints(store, ADDRESS)
    best = written(tmp_path, "best", 1)
    for step in (2, 9, 10, 11):
        checkpoints.save(written(tmp_path, "step", step), best)
        assert stored(store)[-2:] == stored(store)
        assert stored(store, "best") == [1]
    assert stored(store) == [10, 11]
    better = written(tmp_path, "best", 12)
    checkpoints.save(written(tmp_path, "step", 13), better)
    assert stored(store, "best") == [1, 12]
    checkpoints.save(written(tmp_path, "step", 14), better)
    assert (stored(store), stored(store, "best")) == ([13, 14], [12])
    assert {path.split("/")[3].split("-")[0] for path in store.files.sizes(WHERE)} == {"step", "best"}


def test_best_weights_that_were_written_again_are_stored_again(store: Store, tmp_path: Path) -> None:
    """As after a smaller micro-batch: the same step, other bits."""
    checkpoints = Checkpoints(store, ADDRESS)
    best = written(tmp_path / "one", "best", 1)
    checkpoints.save(written(tmp_path / "one", "step", 2), best)
    best = written(tmp_path / "two", "best", 1, "other weights")
    checkpoints.save(written(tmp_path / "two", "step", 3), best)
    checkpoints.restore(tmp_path / "back", pytest.fail)
    assert contents(tmp_path / "back" / "best-1") == contents(best)


def test_resumed_run_stores_no_best_weights_twice(store: Store, tmp_path: Path) -> None:
    Checkpoints(store, ADDRESS).save(written(tmp_path, "step", 2), written(tmp_path, "best", 1))
    resumed = Checkpoints(store, ADDRESS)
    resumed.restore(tmp_path / "back", pytest.fail)
    resumed.save(written(tmp_path / "back", "step", 3), tmp_path / "back" / "best-1")
    assert stored(store, "best") == [1]


def test_half_written_checkpoints_are_passed_over(store: Store, tmp_path: Path, warnings: list[str]) -> None:
    """A record is written last: without it, or without a file that it names, there is no checkpoint."""
    checkpoints = Checkpoints(store, ADDRESS)
    for step in (10, 20):
        checkpoints.save(written(tmp_path, "step", step), written(tmp_path, "best", step - 1))
    store.files.write(f"{WHERE}/step-30-01234567/weights.bin", b"half")
    store.files.delete(f"{place(store, 'best-19')}/weights.bin")
    assert checkpoints.restore(tmp_path / "back", warnings.append) == tmp_path / "back" / "step-10"
    assert sorted(path.name for path in (tmp_path / "back").iterdir()) == ["best-9", "step-10"]
    assert warnings == []


@pytest.mark.parametrize("damaged", ["step-20", "best-19"])
def test_damaged_checkpoint_is_told_and_the_one_before_taken(
    store: Store, tmp_path: Path, warnings: list[str], damaged: str
) -> None:
    checkpoints = Checkpoints(store, ADDRESS)
    for step in (10, 20):
        checkpoints.save(written(tmp_path, "step", step), written(tmp_path, "best", step - 1))
    path = f"{place(store, damaged)}/weights.bin"
    size = store.files.sizes(WHERE)[path]
    store.files.replace(path, b"X" * size)
    assert checkpoints.restore(tmp_path / "back", warnings.append) == tmp_path / "back" / "step-10"
    (warning,) = warnings
    assert f"{place(store, 'step-20')} is damaged and passed over: the bytes of weights.bin" in warning


@pytest.mark.parametrize("record", [b"{", b'{"folder": "step-20", "files": {"../../x": {"bytes": 1, "sha256": ""}}}'])
def test_record_that_cannot_be_trusted_is_told(
    store: Store, tmp_path: Path, warnings: list[str], record: bytes
) -> None:
    checkpoints = Checkpoints(store, ADDRESS)
    for step in (10, 20):
        checkpoints.save(written(tmp_path, "step", step), None)
    store.files.replace(f"{place(store, 'step-20')}/{RECORD}", record)
    assert checkpoints.restore(tmp_path / "back", warnings.append) == tmp_path / "back" / "step-10"
    assert "its record is not readable" in warnings[0]
    # What is no checkpoint pushes none out.
    checkpoints.prune()
    assert stored(store)[0] == 10


def test_two_runs_that_train_the_same_disturb_neither(store: Store, tmp_path: Path) -> None:
    one, two = Checkpoints(store, ADDRESS), Checkpoints(store, ADDRESS)
    for name, checkpoints in (("one", one), ("two", two)):
        best = written(tmp_path / name, "best", 1, name)
        for step in (2, 3, 4):
            checkpoints.save(written(tmp_path / name, "step", step, name), best)
    # The slower one's weights of the best step were pruned with its checkpoints; it stores them again.
    one.save(written(tmp_path / "one", "step", 9, "one"), tmp_path / "one" / "best-1")
    assert Checkpoints(store, ADDRESS).restore(tmp_path / "back", pytest.fail) == tmp_path / "back" / "step-9"
    assert contents(tmp_path / "back" / "best-1") == contents(tmp_path / "one" / "best-1")


def test_checkpoints_go_with_the_commit_and_stay_with_a_failed_attempt(store: Store, tmp_path: Path) -> None:
    made = identity("training")
    checkpoints = Checkpoints(store, made.address)
    checkpoints.save(written(tmp_path, "step", 2), written(tmp_path, "best", 1))
    with suppress(KeyboardInterrupt), store.attempt(made) as attempt:
        fill(attempt, {}, {"notes.txt": b"x"})
        attempt.after_commit(checkpoints.remove)
        raise KeyboardInterrupt
    assert stored(store) == [2]
    with store.attempt(made) as attempt:
        fill(attempt, {}, {"notes.txt": b"x"})
        attempt.after_commit(checkpoints.remove)
        attempt.commit({})
    assert store.files.sizes(WHERE) == {}
    assert store.addresses() == [made.address]


def test_incidental_files_are_kept_and_are_no_part_of_the_content(store: Store, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    found = []
    for number in range(2):
        (tmp_path / "logs" / "events").write_text(f"at {number}")
        with store.attempt(identity("training", n=number)) as attempt:
            fill(attempt, {}, {"weights": b"x"})
            attempt.write_folder("tensorboard", tmp_path / "logs", incidental=True)
            found.append(attempt.commit({}))
    assert found[0].content == found[1].content
    assert store.read_file(found[1], "tensorboard/events") == b"at 1"
    assert found[0].content == make(store, identity("training", n=3), {}, {"weights": b"x"}).content


def test_gc_keeps_young_checkpoints_and_names_the_old(store: Store, tmp_path: Path) -> None:
    Checkpoints(store, ADDRESS).save(written(tmp_path, "step", 20), written(tmp_path, "best", 10))
    assert sweeping.find_garbage(store) == []
    (garbage,) = sweeping.find_garbage(store, older_than_seconds=0)
    assert garbage.path == WHERE
    assert garbage.why.startswith("checkpoints of an unfinished training: 2, best-10-")
    assert place(store, "step-20").split("/")[-1] in garbage.why
    assert garbage.bytes == sum(store.files.sizes(WHERE).values())
    assert sweeping.remove(store, [garbage]) == garbage.bytes
    assert store.files.sizes(WHERE) == {}


def test_gc_goes_by_the_youngest_checkpoint_of_a_training(tmp_path: Path) -> None:
    """The best weights may be days older than the newest step, which needs them."""
    store = Store(str(tmp_path / "store"))
    store.probe()
    Checkpoints(store, ADDRESS).save(written(tmp_path, "step", 20), written(tmp_path, "best", 10))
    for path in (tmp_path / "store" / place(store, "best-10")).rglob("*"):
        os.utime(path, (1, 1))
    assert sweeping.find_garbage(store) == []


def test_gc_leaves_a_training_that_went_on_meanwhile(store: Store, tmp_path: Path) -> None:
    checkpoints = Checkpoints(store, ADDRESS)
    checkpoints.save(written(tmp_path, "step", 20), None)
    garbage = sweeping.find_garbage(store, older_than_seconds=0)
    checkpoints.save(written(tmp_path, "step", 30), None)
    assert sweeping.remove(store, garbage) == 0
    assert stored(store) == [20, 30]


def test_mirror_stores_while_training_goes_on_and_drops_what_is_replaced(store: Store, tmp_path: Path) -> None:
    mirror = Mirror(Checkpoints(store, ADDRESS), pytest.fail)
    for step in (2, 4):
        mirror.offer(written(tmp_path, "step", step), written(tmp_path, "best", step - 1))
    mirror.close(needed=True)
    assert stored(store)[-1] == 4
    assert (mirror.latest, mirror.stored, mirror.failures) == (tmp_path / "step-4", tmp_path / "step-4", 0)
    assert sorted(path.name for path in tmp_path.iterdir() if "-" in path.name) == ["best-3", "step-4"]


def test_mirror_tells_of_a_store_that_fails_and_stores_the_next(
    fault_proxy: FaultProxy, bucket: str, tmp_path: Path, warnings: list[str]
) -> None:
    store = Store(f"{bucket}/runs")
    store.probe()
    mirror = Mirror(Checkpoints(store, ADDRESS), warnings.append)
    fault_proxy.fail("error500", method="PUT", key="/checkpoints/")
    mirror.offer(written(tmp_path, "step", 2), None)
    done = threading.Event()
    while not warnings and not done.wait(0.05):
        pass
    assert "the checkpoint step-2 could not be stored, and none was stored before: store s3://" in warnings[0]
    fault_proxy.mode = "pass"
    mirror.offer(written(tmp_path, "step", 4), None)
    mirror.close(needed=True)
    assert stored(store) == [4]
    assert (mirror.failures, len(warnings)) == (1, 1)


def test_full_disk_of_a_local_store_is_told_in_words(tmp_path: Path, warnings: list[str]) -> None:
    """By a limit on the size of files: whoever runs the tests may not mount a small disk."""
    import resource
    import signal

    store = Store(str(tmp_path / "store"))
    store.probe()
    step = written(tmp_path, "step", 2, "weights" * 2000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    mirror = Mirror(Checkpoints(store, ADDRESS), warnings.append)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        mirror.offer(step, None)
        mirror.close(needed=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert "step-2 could not be stored" in warnings[0]
    assert "no space is left" in warnings[0]
    assert Checkpoints(store, ADDRESS).restore(tmp_path / "back", pytest.fail) is None
    assert step.is_dir()
