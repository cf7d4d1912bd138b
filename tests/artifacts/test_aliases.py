"""Aliases: moved in one step, by one at a time, with a history that leads back."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tasks.artifacts import aliases, sweeping
from tasks.artifacts.aliases import Kind, Move, MovedMeanwhileError
from tasks.artifacts.errors import CorruptArtifactError, StoreError, StoreUnreachableError
from tasks.artifacts.store import Store
from tests.artifacts.samples import finished, start
from tests.servers.faults import FaultProxy

# Every process moves the alias four times, asking again whenever another one was faster.
MOVER = """
import sys
from tasks.artifacts import aliases, sweeping
from tasks.artifacts.store import Store

store, version, lost, done = Store(sys.argv[1]), int(sys.argv[2]), 0, 0
while done < 4:
    seen = aliases.history(store, "m", "production")
    try:
        aliases.move(store, "m", "production", version, seen, kind="promotion", by=sys.argv[2], why="")
    except aliases.MovedMeanwhileError:
        lost += 1
    else:
        done += 1
print(lost)
"""


def point(store: Store, version: int, kind: Kind = "promotion", alias: str = "production") -> Move:
    seen = aliases.history(store, "m", alias)
    return aliases.move(store, "m", alias, version, seen, kind=kind, by="Ada", why=f"because of {version}")


def test_the_last_move_of_each_alias_counts_and_all_are_kept(store: Store) -> None:
    assert aliases.aliases(store, "m") == {}
    for version in (1, 2, 3):
        point(store, version)
    point(store, 2, alias="canary")
    assert aliases.aliases(store, "m") == {"production": 3, "canary": 2}
    assert aliases.aliases(store, "other") == {}
    moves = aliases.history(store, "m", "production")
    assert [(move.number, move.before, move.version) for move in moves] == [(1, None, 1), (2, 1, 2), (3, 2, 3)]
    assert {(move.by, move.kind) for move in moves} == {("Ada", "promotion")}
    assert moves[1].why == "because of 2"
    assert moves[0].at <= moves[2].at


@pytest.mark.parametrize(
    ("steps", "before"),
    [
        ("", None),
        ("1", None),
        ("1 2", 1),
        ("1 2 3", 2),
        ("1 2 3 <2", 1),
        ("1 2 3 <2 <1", None),
        ("1 2 3 <2 4", 2),
        ("1 2 3 <2 4 <2", 1),
        ("1 2 1", 2),
    ],
)
def test_a_rollback_leads_to_what_was_there_before_and_further_back_each_time(steps: str, before: int | None) -> None:
    moves = [
        Move(
            alias="a",
            number=number,
            version=int(step.removeprefix("<")),
            before=None,
            kind="rollback" if step.startswith("<") else "promotion",
            by="",
            why="",
            at="",
            key="",
        )
        for number, step in enumerate(steps.split(), start=1)
    ]
    assert aliases.version_before(moves) == before


def test_of_moves_in_the_same_moment_one_wins_and_the_others_are_told(store: Store) -> None:
    point(store, 1)
    seen = aliases.history(store, "m", "production")
    barrier = threading.Barrier(6)

    def run(version: int) -> Move | str:
        opened = Store(store.uri)
        barrier.wait()
        try:
            return aliases.move(opened, "m", "production", version, seen, kind="promotion", by=f"run {version}", why="")
        except MovedMeanwhileError as error:
            return str(error)

    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(run, range(2, 8)))
    (winner,) = [each for each in outcomes if isinstance(each, Move)]
    told = [each for each in outcomes if isinstance(each, str)]
    words = f"production of m was moved to version {winner.version} by run {winner.version} in the same moment"
    assert len(told) == 5
    assert all(words in each for each in told)
    assert aliases.history(store, "m", "production") == [*seen, winner]


def test_processes_that_move_an_alias_at_once_leave_one_unbroken_history(store: Store) -> None:
    environment = dict(os.environ)
    movers = [start(MOVER, store.uri, str(version), environment=environment) for version in (1, 2)]
    lost = finished(movers)
    moves = aliases.history(store, "m", "production")
    assert [move.number for move in moves] == list(range(1, 9))
    assert [move.before for move in moves] == [None, *(move.version for move in moves[:-1])]
    assert sorted(move.version for move in moves) == [1] * 4 + [2] * 4
    assert aliases.aliases(store, "m") == {"production": moves[-1].version}
    assert all(count.isdecimal() for count in lost)


def test_an_alias_is_never_read_half_moved(store: Store) -> None:
    point(store, 1)
    stop = threading.Event()

    def write() -> int:
        moves = 0
        while not stop.is_set():
            moves += point(store, 1).number
        return moves

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        seen = [aliases.aliases(Store(store.uri), "m") for _ in range(15)]
        stop.set()
        assert writing.result() > 0
    assert seen == [{"production": 1}] * 15


def test_a_move_whose_answer_is_lost_is_made_once(bucket: str, fault_proxy: FaultProxy) -> None:
    store = Store(f"{bucket}/store")
    store.probe()
    point(store, 1)
    fault_proxy.fail("lost", method="PUT", key="000002.json", times=1)
    made = point(store, 2)
    assert aliases.history(store, "m", "production")[1:] == [made]


def test_a_record_that_is_not_readable_is_named(store: Store) -> None:
    point(store, 1)
    point(store, 2)
    store.files.replace("models/m/aliases/production/000002.json", b'{"version": ')
    with pytest.raises(CorruptArtifactError, match=r"production/000002\.json is not readable .* the move before"):
        aliases.aliases(store, "m")
    store.files.delete("models/m/aliases/production/000002.json")
    assert aliases.aliases(store, "m") == {"production": 1}
    store.files.write("models/m/aliases/production/.000002.json.0123abcd", b"half")
    assert aliases.aliases(store, "m") == {"production": 1}


@pytest.mark.parametrize(("model", "alias"), [("m", "../x"), ("m", "A"), ("a/b", "production")])
def test_names_that_would_be_paths_are_refused(store: Store, model: str, alias: str) -> None:
    with pytest.raises(StoreError, match="cannot name a model or alias; use small letters, digits and hyphens"):
        aliases.move(store, model, alias, 1, [], kind="promotion", by="", why="")
    with pytest.raises(StoreError, match="cannot name a model or alias"):
        aliases.history(store, model, alias)


def test_a_draft_that_a_crash_left_is_swept_and_no_move(store: Store) -> None:
    point(store, 1)
    drafts = {"models/m/aliases/production/.000002.json.0123abcd", "models/m/pushes/.0001-ab.json.0123abcd"}
    for draft in drafts:
        store.files.write(draft, b"half")
    found = sweeping.find_garbage(store, older_than_seconds=0)
    assert {item.path for item in found} == drafts
    sweeping.remove(store, found)
    assert aliases.aliases(store, "m") == {"production": 1}


def test_a_move_whose_every_answer_is_lost_is_known_to_be_made(bucket: str, fault_proxy: FaultProxy) -> None:
    """Or whoever asks again for a rollback would go back twice."""
    store = Store(f"{bucket}/store")
    store.probe()
    point(store, 1)
    fault_proxy.fail("lost", method="PUT", key="000002.json")
    made = point(store, 2)
    fault_proxy.mode = "pass"
    assert aliases.history(store, "m", "production")[1:] == [made]


def test_a_move_that_may_have_been_made_is_told(bucket: str, fault_proxy: FaultProxy) -> None:
    store = Store(f"{bucket}/store")
    store.probe()
    point(store, 1)
    fault_proxy.fail("drop", key="000002.json")
    words = "Whether production of m was moved to version 2 is not known: look with `fettle models list` before you ask"
    with pytest.raises(StoreUnreachableError, match=words):
        point(store, 2)
