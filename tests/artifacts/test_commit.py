"""The manifest is the commit: before it nothing is there, after it everything is, and only one attempt wins."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from tasks.artifacts import sweeping
from tasks.artifacts.errors import StoreError, StoreUnreachableError
from tasks.artifacts.manifest import Artifact, Counts, Identity
from tasks.artifacts.store import MANIFEST, Store
from tests.artifacts.samples import fill, finished, identity, make, rows, start
from tests.servers import faults
from tests.servers.faults import FaultProxy


def attempts(store: Store) -> set[str]:
    """The attempts of which the store holds files."""
    return {path.split("/")[2] for path in store.files.sizes("") if "/attempt-" in path}


def test_nothing_is_there_before_the_manifest_and_everything_after(store: Store) -> None:
    made = identity()
    with store.attempt(made) as attempt:
        fill(attempt, {"conversations": rows(5)}, {"card/readme.md": b"hello"})
        for writer in attempt._writers.values():
            writer.close()
        assert attempts(store) == {attempt.name}
        assert store.find(made.address) is None
        assert store.addresses() == []
    artifact = make(store, made, files={"card/readme.md": b"hello"})
    assert store.find(made.address) == artifact
    assert store.addresses() == [made.address]
    assert store.table(artifact, "conversations").equals(rows(5))
    assert [row["id"] for row in store.rows(artifact, "conversations", ["id"])] == [f"row {n}" for n in range(5)]
    assert store.read_file(artifact, "card/readme.md") == b"hello"
    assert len(artifact.model_dump_json()) < 2048


def test_attempt_that_fails_leaves_nothing(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.attempt(identity()) as attempt:  # noqa: PT012
        fill(attempt, {}, {"notes.txt": b"x"})
        raise ZeroDivisionError
    assert set(store.files.sizes("")) == {"fettle-store.json"}
    assert store.find(identity().address) is None


def test_attempt_without_counts_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="without counts"), store.attempt(identity()) as attempt:
        attempt.commit({})
    with pytest.raises(ValueError, match="not conserved: read 3, kept 1"):
        Counts(read=3, kept=1, dropped={"short": 1})


def test_table_without_rows_is_stored_with_its_columns(store: Store) -> None:
    artifact = make(store, tables={"dropped": rows(0)})
    assert store.table(artifact, "dropped").schema.names == ["id", "ids", "score"]
    assert artifact.tables["dropped"].rows == 0


def test_files_of_a_folder_come_back_as_a_folder(store: Store, tmp_path: Path) -> None:
    (tmp_path / "model" / "deep").mkdir(parents=True)
    (tmp_path / "model" / "config.json").write_bytes(b"{}")
    (tmp_path / "model" / "deep" / "weights [1]*.bin").write_bytes(b"\0" * 1000)
    with store.attempt(identity()) as attempt:
        attempt.write_folder("model", tmp_path / "model")
        attempt.write_file("modelling.md", b"not part of the folder")
        attempt.counts = Counts(read=0, kept=0)
        artifact = attempt.commit({})
    with store.local_folder(artifact, "model") as folder:
        assert {p.relative_to(folder).as_posix(): p.stat().st_size for p in folder.rglob("*") if p.is_file()} == {
            "config.json": 2,
            "deep/weights [1]*.bin": 1000,
        }
    with store.local_folder(artifact, "model/deep") as folder:
        assert [path.name for path in folder.iterdir()] == ["weights [1]*.bin"]
    with store.local_folder(artifact, "") as folder:
        assert (folder / "modelling.md").is_file()
    with pytest.raises(KeyError, match="nothing below 'mode'"), store.local_folder(artifact, "mode"):
        pass


def race(store: Store, number: int) -> list[Artifact]:
    """Attempts at one address with different rows, all committing in the same moment."""
    barrier = threading.Barrier(number)

    def run(mine: int) -> Artifact:
        with Store(store.uri).attempt(identity()) as attempt:
            fill(attempt, {"weights": rows(3, start=mine)}, {"model/config.json": str(mine).encode()})
            barrier.wait()
            return attempt.commit({"thread": mine})

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(run, range(number)))


@pytest.mark.parametrize("number", [2, 8])
def test_of_attempts_at_once_one_wins_and_all_get_its_artifact(store: Store, number: int) -> None:
    artifacts = race(store, number)
    require_one_winner(store, artifacts)


def require_one_winner(store: Store, artifacts: list[Artifact]) -> None:
    assert len(set(map(Artifact.model_dump_json, artifacts))) == 1
    manifest = store.manifest(artifacts[0])
    assert attempts(store) == {manifest.attempt}
    assert store.find(manifest.identity.address) == artifacts[0]
    assert store.table(artifacts[0], "weights").num_rows == 3
    first = store.table(artifacts[0], "weights")["id"][0].as_py()
    assert first == f"row {store.read_file(artifacts[0], 'model/config.json').decode()}"


RACER = """
import sys
from tests.artifacts.samples import fill, identity, rows
from tasks.artifacts.store import Store
mine = int(sys.argv[2])
with Store(sys.argv[1]).attempt(identity()) as attempt:
    fill(attempt, {"weights": rows(3, start=mine)}, {"model/config.json": str(mine).encode()})
    print("ready", flush=True)
    sys.stdin.readline()
    print(attempt.commit({}).model_dump_json())
"""


def test_of_processes_at_once_one_wins(store: Store) -> None:
    started = [start(RACER, store.uri, str(n), environment=os.environ) for n in range(3)]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    outputs = finished(started)
    require_one_winner(store, [Artifact.model_validate_json(output) for output in outputs])


VICTIM = """
import sys
from tests.artifacts.samples import fill, identity, rows
from tasks.artifacts.store import Store
with Store(sys.argv[1]).attempt(identity(victim=True)) as attempt:
    fill(attempt, {"conversations": rows(5)}, {"notes.txt": b"half"})
    for writer in attempt._writers.values():
        writer.close()
    print("written", flush=True)
    sys.stdin.readline()
"""


def test_process_killed_before_its_manifest_leaves_only_garbage(store: Store) -> None:
    whole = make(store, identity(victim=False))
    process = start(VICTIM, store.uri, environment=os.environ)
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    process.kill()
    process.communicate()
    address = identity(victim=True).address
    assert store.find(address) is None
    assert store.addresses() == [whole.address]
    assert sweeping.find_garbage(store, keep_runs=0) == []
    found = [g for g in sweeping.find_garbage(store, older_than_seconds=0) if g.path.startswith(address)]
    assert [(g.path.count("/"), g.why) for g in found] == [(2, "left by an attempt that never committed")]
    assert found[0].bytes == sum(size for path, size in store.files.sizes("").items() if path.startswith(address))
    assert sweeping.remove(store, found) == found[0].bytes
    assert not [path for path in store.files.sizes("") if path.startswith(address)]
    assert store.find(whole.address) == whole


def test_attempt_whose_parts_were_swept_is_not_committed(store: Store) -> None:
    attempt = store.attempt(identity())
    fill(attempt, {}, {"notes.txt": b"x"})
    store.files.delete(f"{identity().address}/{attempt.name}")
    with pytest.raises(StoreUnreachableError, match=r"notes\.txt is missing before its commit. Was it swept") as caught:
        attempt.commit({})
    assert caught.value.transient
    assert store.find(identity().address) is None


@pytest.fixture
def behind_proxy(bucket: str, fault_proxy: FaultProxy) -> Store:
    opened = Store(f"{bucket}/store")
    opened.probe()
    return opened


def commit_under(store: Store, fault_proxy: FaultProxy, mode: faults.Mode, times: int | None) -> Artifact:
    with store.attempt(identity()) as attempt:
        fill(attempt, {"weights": rows(3)})
        fault_proxy.fail(mode, method="PUT", key=MANIFEST, times=times)
        return attempt.commit({})


def test_create_whose_answer_was_lost_is_our_own_win(behind_proxy: Store, fault_proxy: FaultProxy) -> None:
    artifact = commit_under(behind_proxy, fault_proxy, "lost", times=1)
    assert behind_proxy.find(artifact.address) == artifact
    assert attempts(behind_proxy) == {behind_proxy.manifest(artifact).attempt}
    assert behind_proxy.table(artifact, "weights").num_rows == 3


def test_create_of_which_every_answer_was_lost_is_our_own_win(behind_proxy: Store, fault_proxy: FaultProxy) -> None:
    artifact = commit_under(behind_proxy, fault_proxy, "lost", times=None)
    fault_proxy.mode = "pass"
    assert behind_proxy.find(artifact.address) == artifact
    assert behind_proxy.table(artifact, "weights").num_rows == 3


def test_commit_of_unknown_fate_keeps_its_parts(behind_proxy: Store, fault_proxy: FaultProxy) -> None:
    """The store takes the manifest and then answers no more, neither to the create nor to any question about it."""
    with pytest.raises(StoreUnreachableError), behind_proxy.attempt(identity()) as attempt:  # noqa: PT012
        fill(attempt, {"weights": rows(3)})
        fault_proxy.fail("lost", key=MANIFEST)
        attempt.commit({})
    fault_proxy.mode = "pass"
    found = behind_proxy.find(identity().address)
    assert found is not None
    assert behind_proxy.table(found, "weights").num_rows == 3


def test_commit_that_never_arrived_is_no_artifact(behind_proxy: Store, fault_proxy: FaultProxy) -> None:
    with pytest.raises(StoreUnreachableError, match=rf"cannot create {identity().address}/{MANIFEST}"):
        commit_under(behind_proxy, fault_proxy, "error500", times=None)
    fault_proxy.mode = "pass"
    assert behind_proxy.find(identity().address) is None
    assert make(behind_proxy, tables={"weights": rows(3)}).address == identity().address


def test_refused_commit_leaves_nothing(behind_proxy: Store, fault_proxy: FaultProxy) -> None:
    with pytest.raises(StoreError, match="cannot create") as caught:
        commit_under(behind_proxy, fault_proxy, "denied", times=None)
    assert not caught.value.transient
    assert attempts(behind_proxy) == set()


def test_creations_that_collide_are_repeated(
    behind_proxy: Store, fault_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS answers 409 to both when two create the same key in the same moment, and has done neither."""
    conflict = (409, "ConditionalRequestConflict", "A conflicting operation is in progress.")
    monkeypatch.setitem(faults.ERRORS, "slow_down", conflict)
    artifact = commit_under(behind_proxy, fault_proxy, "slow_down", times=2)
    assert behind_proxy.find(artifact.address) == artifact


def test_equal_rows_under_other_settings_leave_heirs_as_they_are(store: Store) -> None:
    before, after = make(store, identity(threads=1)), make(store, identity(threads=2))
    assert before.address != after.address
    assert before.content == after.content
    heirs = {identity("mixing", {"data": parent}).fingerprint for parent in (before, after)}
    assert len(heirs) == 1
    other = make(store, identity(threads=3), {"conversations": rows(6)})
    assert identity("mixing", {"data": other}).fingerprint not in heirs


def test_view_of_some_tables_ignores_the_others(store: Store) -> None:
    first = make(store, identity(n=1), {"kept": rows(4), "dropped": rows(1)})
    second = make(store, identity(n=2), {"kept": rows(4), "dropped": rows(2)})
    assert first.content != second.content
    assert first.only("kept").content == second.only("kept").content
    assert first.only("kept", "dropped").content == first.only("dropped", "kept").content
    with pytest.raises(KeyError, match=r"has no table \['absent'\]; it has \['dropped', 'kept'\]"):
        first.only("absent")


def test_incidental_tables_are_no_content(store: Store) -> None:
    contents = set()
    for number in (1, 2):
        with store.attempt(identity(n=number)) as attempt:
            attempt.write("metrics", pa.table({"seconds": [number]}), incidental=True)
            fill(attempt, {"kept": rows(4)})
            contents.add(attempt.commit({}).content)
    assert len(contents) == 1


def test_role_of_a_parent_is_part_of_the_identity(store: Store) -> None:
    parent = make(store)
    made: list[Identity] = [identity("mixing", {name: parent}) for name in ("train", "test")]
    assert made[0].fingerprint != made[1].fingerprint
