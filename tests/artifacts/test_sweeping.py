"""Sweeping removes what nobody needs, and nothing else."""

import os
from pathlib import Path

import pyarrow as pa
import pytest

from tasks.artifacts import registry, runs, sweeping
from tasks.artifacts.answer_book import AnswerBook
from tasks.artifacts.errors import CorruptArtifactError, StoreError
from tasks.artifacts.manifest import Artifact
from tasks.artifacts.store import MANIFEST, Store
from tests.artifacts.samples import fill, identity, make, rows


def chain(store: Store, number: int) -> list[Artifact]:
    """A small pipeline, parents first."""
    made = [make(store, identity("ingestion", n=number), {"conversations": rows(number)})]
    made.append(make(store, identity("curation", {"ingested": made[0]}), {"conversations": rows(number)}))
    made.append(make(store, identity("training", {"tokenized": made[1]}), files={"model/n": str(number).encode()}))
    made.append(make(store, identity("evaluation", {"model": made[2]})))
    made.append(make(store, identity("publication", {"e": made[3], "t": made[2]}), files={"README.md": b"#"}))
    return made


def record(
    store: Store, artifacts: list[Artifact], name: str, run_id: str, outcome: runs.Outcome = "published"
) -> runs.Run:
    stages = tuple(
        runs.StageRecord(stage=a.stage, verb=a.stage, address=a.address, cached=False, seconds=1.0) for a in artifacts
    )
    run = runs.Run(id=run_id, recipe_name=name, recipe={}, started=run_id, outcome=outcome, stages=stages)
    runs.save(store, run)
    return run


def paths(garbage: list[sweeping.Garbage]) -> set[str]:
    return {item.path for item in garbage}


def sweep(store: Store, keep_runs: int) -> list[sweeping.Garbage]:
    return sweeping.find_garbage(store, keep_runs=keep_runs, older_than_seconds=0)


def test_newest_runs_of_each_recipe_and_published_models_keep_their_whole_ancestry(store: Store) -> None:
    chains = [chain(store, number) for number in range(1, 6)]
    for number, artifacts in enumerate(chains[:3]):
        # Only the last artifact is named, as in a run that found all else in the cache of another recipe.
        record(store, artifacts[-1:], "assistant", f"2026010{number}-000000-aaaa")
    record(store, chains[3], "other", "20250101-000000-bbbb")
    published = chains[0]
    version = registry.register(store, "assistant", published[4], published[3], published[2], "pass")
    before = store.files.sizes("")
    expected = {artifact.address for artifact in [*chains[1], *chains[4]]}
    garbage = sweep(store, keep_runs=1)
    assert store.files.sizes("") == before
    assert paths(garbage) == expected
    assert {item.why for item in garbage} == {"needed by no kept run and no published model"}
    assert sweeping.remove(store, garbage) == sum(item.bytes for item in garbage) > 0
    kept = {artifact.address for number in (0, 2, 3) for artifact in chains[number]}
    assert set(store.addresses()) == kept
    assert all(store.find(address) for address in kept)
    assert registry.versions(store) == [version]
    assert sweep(store, keep_runs=1) == []
    assert not [path for path in store.files.sizes("") if any(path.startswith(address) for address in expected)]


def test_run_under_way_keeps_its_artifacts_whatever_runs_are_kept(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.probe()
    under_way, done = chain(store, 1), chain(store, 2)
    run = record(store, under_way[:2], "assistant", "20260101-000000-aaaa", "running")
    record(store, done, "assistant", "20260102-000000-aaaa")
    assert not paths(sweep(store, keep_runs=0)) & {a.address for a in under_way[:2]}
    assert {a.address for a in done} <= paths(sweep(store, keep_runs=0))
    # A run that was killed is "running" for ever; one that was silent for a week is taken for dead.
    os.utime(tmp_path / run.path, (1, 1))
    assert {a.address for a in under_way} <= paths(sweep(store, keep_runs=0))


def test_young_attempt_is_left_beside_old_leftovers(store: Store) -> None:
    store.files.write(f"{identity().address}/.{MANIFEST}.01234567", b"a commit that died")
    attempt = store.attempt(identity())
    fill(attempt, {}, {"notes.txt": b"x"})
    assert sweeping.find_garbage(store) == []
    found = sweep(store, 0)
    assert len(found) == 2
    # The draft alone is removed, not the folder with the attempt that is under way.
    sweeping.remove(store, [item for item in found if item.path.endswith("01234567")])
    assert attempt.commit({}).address == identity().address


def test_attempt_that_another_overtook_is_removed_alone(store: Store) -> None:
    artifact = make(store)
    record(store, [artifact], "assistant", "20260101-000000-aaaa")
    loser = f"{artifact.address}/attempt-20260101T000000-01234567"
    store.files.write(f"{loser}/notes.txt", b"x")
    store.files.write(f"{artifact.address}/result.json", b"{}")
    found = sweep(store, 10)
    assert [(g.path, g.why) for g in found] == [(loser, "left by an attempt that another one overtook")]
    sweeping.remove(store, found)
    assert store.find(artifact.address) == artifact
    assert store.files.read(f"{artifact.address}/result.json") == b"{}"


def test_attempt_committed_after_it_was_listed_as_garbage_stays(store: Store) -> None:
    with store.attempt(identity()) as attempt:
        fill(attempt, {}, {"notes.txt": b"x"})
        stale = sweep(store, 0)
        assert paths(stale) == {f"{identity().address}/{attempt.name}"}
        artifact = attempt.commit({})
    assert sweeping.remove(store, stale) == 0
    assert store.find(artifact.address) == artifact


def test_drafts_probes_and_orphaned_records_are_removed(store: Store) -> None:
    artifact = make(store)
    record(store, [artifact], "assistant", "20260101-000000-aaaa")
    strays = {
        "probe-0123456789abcdef",
        ".fettle-store.json.01234567",
        "runs/assistant/.20260101-000000-aaaa.json.01234567",
        "models/assistant/aliases/production/.000001.json.01234567",
        f"{artifact.address}/.{MANIFEST}.01234567",
        "mixing/0123456789abcdef/result.json",
    }
    for path in strays:
        store.files.write(path, b"x")
    found = sweep(store, 10)
    assert paths(found) == strays
    sweeping.remove(store, found)
    assert sweep(store, 10) == []
    assert store.find(artifact.address) == artifact


FOREIGN = [
    "thesis.tex",
    "photos/2026/beach.jpg",
    "src/main/attempt-1/x",
    "models/readme.md",
    "runs/notes.txt",
    "a/b/c/d",
]


def test_what_fettle_did_not_write_is_never_garbage(store: Store) -> None:
    """Somebody gave a folder that holds other things."""
    for path in FOREIGN:
        store.files.write(path, b"precious")
    assert sweep(store, 0) == []
    for path in (*FOREIGN, "photos", "../x", "photos/2026", "models/assistant", "runs", MANIFEST):
        with pytest.raises(StoreError, match="is no artifact and no leftover; nothing was removed"):
            sweeping.remove(store, [sweeping.Garbage(path=path, bytes=0, why="")])
    assert all(store.files.read(path) == b"precious" for path in FOREIGN)


def test_corrupt_artifact_is_removed_by_its_address(store: Store) -> None:
    artifact = make(store)
    store.files.replace(f"{artifact.address}/{MANIFEST}", b"{")
    with pytest.raises(CorruptArtifactError):
        store.find(artifact.address)
    sweeping.remove(store, [sweeping.Garbage(path=artifact.address, bytes=0, why="named")])
    assert store.find(artifact.address) is None
    assert make(store) == artifact


def test_nothing_is_swept_while_a_record_cannot_be_read(store: Store) -> None:
    artifact = make(store)
    run = record(store, [artifact], "assistant", "20260101-000000-aaaa")
    store.files.replace(run.path, b'{"id": ')
    with pytest.raises(CorruptArtifactError, match=rf"the run record {run.path} is not readable"):
        sweep(store, 10)
    assert runs.recent(store) == []


def test_runs_are_told_newest_first_and_found_by_their_beginning(store: Store) -> None:
    ids = ["20260101-000000-aaaa", "20260103-000000-aaaa", "20260102-000000-bbbb"]
    for run_id in ids:
        record(store, [], "assistant", run_id)
    record(store, [], "assistant-2", "20260104-000000-cccc")
    assert [run.id for run in runs.recent(store, "assistant")] == sorted(ids, reverse=True)
    assert runs.recent(store)[0].id == "20260104-000000-cccc"
    found = runs.find(store, "20260102")
    assert found is not None
    assert found.id == ids[2]
    assert runs.find(store, "2026") is None
    assert runs.find(store, "2030") is None


def test_answers_of_a_model_go_a_month_after_the_last_was_added(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.probe()
    for key in ("a" * 64, f"judge-{'b' * 16}"):
        AnswerBook(store, key).add(pa.table({"key": ["1"]}))
        AnswerBook(store, key).add(pa.table({"key": ["2"]}))
    assert sweeping.find_garbage(store, older_than_seconds=0) == []
    old, kept = sorted((tmp_path / "answers").iterdir())
    for part in old.iterdir():
        os.utime(part, (0, 0))
    os.utime(next(kept.iterdir()), (0, 0))
    garbage = sweeping.find_garbage(store)
    assert paths(garbage) == {f"answers/{old.name}"}
    assert sweeping.remove(store, garbage) == garbage[0].bytes > 0
    assert not old.exists()
    assert len(list(kept.iterdir())) == 2
