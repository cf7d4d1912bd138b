"""Nothing is published, and no alias moves, but to what the gate passed, and those very weights."""

import hashlib
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tasks.artifacts import aliases, approvals, registry, sweeping
from tasks.artifacts.errors import CorruptArtifactError, StoreError
from tasks.artifacts.manifest import Identity, Part
from tasks.artifacts.store import MANIFEST, Store
from tasks.gate_record import GateRefusedError
from tasks.promotion import (
    PublicationConfig,
    Published,
    UnapprovedError,
    approve,
    is_waiting,
    promote,
    publish_passed,
    reject,
    rollback,
)
from tests.stages.candidates import Candidate, candidate, judged, make

PERSON = PublicationConfig(approval="person")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(str(tmp_path / "store"))
    made.probe()
    return made


def publish(store: Store, name: str, config: PublicationConfig = PublicationConfig()) -> Published:  # noqa: B008
    return publish_passed(store, config, "m", *candidate(store, name=name))


def production(store: Store) -> int | None:
    return aliases.aliases(store, "m").get("production")


def test_passed_weights_become_a_version_with_its_alias(store: Store) -> None:
    published = publish(store, "w")
    assert (published.version, published.aliases, published.waiting, published.remarks) == (
        1,
        ("production",),
        False,
        (),
    )
    assert production(store) == 1
    assert store.files.read(f"{published.folder}/model.safetensors") == b"w pass"
    (move,) = aliases.history(store, "m", "production")
    assert (move.by, move.why) == ("fettle run", "because")


@pytest.mark.parametrize("verdict", ["fail", "underpowered", "investigate"])
def test_anything_else_is_refused(store: Store, verdict: str) -> None:
    with pytest.raises(GateRefusedError, match=f"the gate says {verdict}. because"):
        publish_passed(store, PublicationConfig(), "m", *candidate(store, verdict))
    assert registry.versions(store) == []


def test_a_drop_to_look_at_is_published_only_where_the_recipe_says_so(store: Store) -> None:
    lenient = PublicationConfig(accept_investigate=True)
    assert publish_passed(store, lenient, "m", *candidate(store, "investigate")).verdict == "investigate"
    for verdict in ("fail", "underpowered"):
        with pytest.raises(GateRefusedError, match=f"the gate says {verdict}"):
            publish_passed(store, lenient, "m", *candidate(store, verdict))
    publish(store, "next")
    assert promote(store, "m", 1, "production", by="Ada", why="").version == 1


def test_a_gate_that_is_missing_or_cannot_be_read_publishes_nothing(store: Store) -> None:
    made = candidate(store)
    whole = json.loads(store.read_file(made.evaluated, "gates.json"))
    measured = {side: store.manifest(address).artifact for side, address in whole["measured"].items()}
    cut = {key: value for key, value in whole.items() if key != "measured"}
    for files, words in (
        ({"other.json": b"{}"}, "has no gates.json, so nobody knows whether its model passed; evaluate again"),
        ({"gates.json": b'{"verdict": "pa'}, "gates.json of evaluation/.* cannot be read at the file: Invalid JSON"),
        ({"gates.json": json.dumps(cut).encode()}, "cannot be read at measured: Field required"),
        ({"gates.json": json.dumps({**whole, "verdict": "passed"}).encode()}, "cannot be read at verdict"),
    ):
        with pytest.raises(GateRefusedError, match=words):
            publish_passed(store, PublicationConfig(), "m", *judged(store, made.trained, measured, files))
    assert registry.versions(store) == []


def test_a_gate_file_that_was_torn_or_edited_publishes_nothing(store: Store) -> None:
    made = candidate(store, "fail")
    path = store.manifest(made.evaluated).files["gates.json"].path
    data = store.read_file(made.evaluated, "gates.json")
    for torn in (data[: len(data) // 2], data.replace(b'"verdict": "fail"', b'"verdict": "pass"')):
        store.files.replace(f"{made.evaluated.address}/{path}", torn)
        with pytest.raises(CorruptArtifactError, match=r"the bytes of .*gates\.json are not those that were written"):
            publish_passed(store, PublicationConfig(), "m", *made)
    assert registry.versions(store) == []


def test_a_verdict_on_other_weights_publishes_nothing(store: Store) -> None:
    with pytest.raises(GateRefusedError, match="the gate judged the weights 0123456789abcdef, not"):
        publish_passed(store, PublicationConfig(), "m", *candidate(store, weights="0123456789abcdef" * 4))
    other = candidate(store, name="other")
    made = candidate(store)
    with pytest.raises(GateRefusedError, match=f"not {other.trained.content[:16]}, which were to be published"):
        publish_passed(store, PublicationConfig(), "m", made.publication, made.evaluated, other.trained)
    assert registry.versions(store) == []


def test_the_report_of_another_run_publishes_nothing(store: Store) -> None:
    made, other = candidate(store), candidate(store, name="other")
    words = f"the report and card in {other.publication.address} are not of "
    with pytest.raises(GateRefusedError, match=words):
        publish_passed(store, PublicationConfig(), "m", other.publication, made.evaluated, made.trained)
    assert registry.versions(store) == []


def stale_gates(store: Store, made: Candidate) -> list[tuple[dict[str, Any], str]]:
    measured = json.loads(store.read_file(made.evaluated, "gates.json"))["measured"]
    other = candidate(store, name="other")
    others = json.loads(store.read_file(other.evaluated, "gates.json"))["measured"]
    return [
        ({"measured": {**measured, "tuned": others["tuned"]}}, "as tuned, which it did not compare; evaluate again"),
        ({"measured": {"base": measured["base"]}}, "it tells of no measurement as tuned"),
        ({"measured": {**measured, "tuned": measured["base"]}}, "is no measurement of the tuned weights"),
        ({"base_weights": "c" * 64}, "is no measurement of the base weights cccccccccccccccc"),
        ({"measured": {**measured, "production": others["tuned"]}}, "as production, which it did not compare"),
    ]


def test_a_verdict_that_tells_of_something_else_than_was_compared_publishes_nothing(store: Store) -> None:
    for overrides, words in stale_gates(store, candidate(store)):
        with pytest.raises(GateRefusedError, match=f"the verdict of evaluation/.* is stale: .*{words}"):
            publish_passed(store, PublicationConfig(), "m", *candidate(store, **overrides))
    assert registry.versions(store) == []


def test_a_verdict_on_a_measurement_that_is_gone_or_was_made_anew_is_stale(store: Store) -> None:
    made = candidate(store)
    address = json.loads(store.read_file(made.evaluated, "gates.json"))["measured"]["tuned"]
    identity = store.manifest(address).identity
    store.files.delete(address)
    with pytest.raises(GateRefusedError, match=f"the measurement {address} that it compared is gone"):
        publish_passed(store, PublicationConfig(), "m", *made)
    with store.attempt(identity) as attempt:
        attempt.write_file("answers", b"other answers of the same model")
        attempt.counts = store.manifest(made.trained).counts
        attempt.commit({})
    with pytest.raises(GateRefusedError, match=f"the measurement {address} was made anew since it was compared"):
        publish_passed(store, PublicationConfig(), "m", *made)
    assert registry.versions(store) == []


@pytest.mark.parametrize("again", ["promote", "run", "approve", "rollback"])
def test_weights_that_were_altered_in_the_store_get_no_alias(store: Store, again: str) -> None:
    waiting = PERSON if again == "approve" else PublicationConfig(alias=None)
    published = publish(store, "one", waiting)
    if again == "rollback":
        promote(store, "m", 1, "production", by="Ada", why="")
        publish(store, "two")
    before = aliases.aliases(store, "m")
    store.files.replace(f"{published.folder}/model.safetensors", b"one past")
    ways: dict[str, Callable[[], object]] = {
        "promote": lambda: promote(store, "m", 1, "production", by="Ada", why=""),
        "run": lambda: publish(store, "one"),
        "approve": lambda: approve(store, "m", 1, by="Ada", note=""),
        "rollback": lambda: rollback(store, "m", "production", by="Ada", why=""),
    }
    with pytest.raises(CorruptArtifactError, match=r"the bytes of model\.safetensors are not those that were"):
        ways[again]()
    assert aliases.aliases(store, "m") == before


def test_a_record_that_was_edited_to_fit_altered_weights_gets_no_alias(store: Store) -> None:
    published = publish(store, "one", PublicationConfig(alias=None))
    version = registry.version(store, "m", 1)
    store.files.replace(f"{published.folder}/model.safetensors", b"two pass")
    other = store.manifest(candidate(store, name="two").trained).files["model/model.safetensors"]
    files = {**version.files, "model.safetensors": other.model_copy(update={"path": "model.safetensors"})}
    edited = version.model_copy(update={"files": files})
    store.files.replace(f"{version.folder}/{registry.RECORD}", edited.model_dump_json().encode())
    with pytest.raises(GateRefusedError, match=r"names another model/model\.safetensors than .* was edited"):
        promote(store, "m", 1, "production", by="Ada", why="")
    assert aliases.aliases(store, "m") == {}


def test_a_refused_verdict_can_never_be_promoted(store: Store) -> None:
    """Not even where somebody wrote it into the registry by other ways, and says that it passed."""
    made = candidate(store, "fail")
    terms = {"accept_investigate": True, "approval": None}
    registry.register(store, "m", *made, "pass", terms)
    with pytest.raises(GateRefusedError, match="the gate says fail"):
        promote(store, "m", 1, "production", by="Ada", why="")
    with pytest.raises(GateRefusedError, match="the gate says fail"):
        approve(store, "m", 1, by="Ada", note="")
    store.files.delete(f"{made.evaluated.address}/{MANIFEST}")
    with pytest.raises(CorruptArtifactError, match=f"{made.evaluated.address} is not there"):
        promote(store, "m", 1, "production", by="Ada", why="")
    assert aliases.aliases(store, "m") == {}


def test_terms_that_cannot_be_read_are_not_guessed(store: Store) -> None:
    registry.register(store, "m", *candidate(store), "pass", {"approval": "a committee"})
    with pytest.raises(GateRefusedError, match="under terms that cannot be read at approval"):
        promote(store, "m", 1, "production", by="Ada", why="")


def test_an_alias_waits_for_a_person_where_the_recipe_says_so(store: Store) -> None:
    publish(store, "first")
    published = publish(store, "second", PERSON)
    assert (published.version, published.waiting, production(store)) == (2, True, 1)
    assert "fettle models approve m 2 --by NAME" in published.remarks[0]
    assert publish(store, "second", PERSON).waiting
    with pytest.raises(UnapprovedError, match="version 2 of m waits for a person's approval"):
        promote(store, "m", 2, "production", by="Bob", why="")
    # Nor is it enough to take the wish out of the recipe.
    assert publish(store, "second").waiting
    assert production(store) == 1

    given, approved = approve(store, "m", 2, by="Ada", note="read 20 answers")
    assert (given.by, approved.waiting, approved.aliases, production(store)) == ("Ada", False, ("production",), 2)
    assert aliases.history(store, "m", "production")[-1].why == "read 20 answers"
    rollback(store, "m", "production", by="Bob", why="")
    assert approve(store, "m", 2, by="Eve", note="")[0] == given
    assert publish(store, "second", PERSON).remarks[0].startswith("production points to version 1, as Bob wished")
    assert production(store) == 1


def test_a_persons_no_stands_until_somebody_approves(store: Store) -> None:
    publish(store, "first", PERSON)
    version = registry.version(store, "m", 1)
    assert is_waiting(store, version)
    said = reject(store, "m", 1, by="Bob", note="too curt")
    assert (said.by, said.note, is_waiting(store, version)) == ("Bob", "too curt", False)
    assert reject(store, "m", 1, by="Eve", note="") == said
    again = publish(store, "first", PERSON)
    assert (again.version, again.waiting, again.aliases) == (1, True, ())
    assert again.remarks[0].startswith("version 1 of m was rejected by Bob: too curt; `fettle models approve m 1")
    with pytest.raises(UnapprovedError, match="was rejected by Bob"):
        promote(store, "m", 1, "production", by="Bob", why="")
    approve(store, "m", 1, by="Ada", note="I like it")
    assert production(store) == 1
    assert approvals.rejection(store, version) is None
    with pytest.raises(GateRefusedError, match="was approved by Ada, so there is nothing to reject"):
        reject(store, "m", 1, by="Bob", note="")


def test_what_waits_for_nobody_is_not_rejected(store: Store) -> None:
    publish(store, "first")
    with pytest.raises(GateRefusedError, match="waits for nobody's word"):
        reject(store, "m", 1, by="Bob", note="")


def test_approving_an_older_version_does_not_bring_it_back(store: Store) -> None:
    publish(store, "old", PERSON)
    publish(store, "new", PERSON)
    approve(store, "m", 2, by="Ada", note="")
    _, published = approve(store, "m", 1, by="Ada", note="")
    assert published.remarks[0].startswith("production points to version 2, which version 1 was not compared with; ")
    assert production(store) == 2


def test_of_two_that_wait_for_a_person_the_second_takes_no_place_of_one_that_it_never_met(store: Store) -> None:
    publish(store, "first")
    publish(store, "second", PERSON)
    publish(store, "third", PERSON)
    approve(store, "m", 2, by="Ada", note="")
    given, published = approve(store, "m", 3, by="Bob", note="")
    assert (given.by, published.waiting, published.aliases) == ("Bob", False, ())
    assert "version 2, which version 3 was not compared with" in published.remarks[0]
    assert production(store) == 2
    assert promote(store, "m", 3, "production", by="Bob", why="I compared them myself").before == 2


def test_rollback_goes_back_one_promotion_at_a_time(store: Store) -> None:
    for name in ("a", "b", "c"):
        publish(store, name)
    assert [rollback(store, "m", "production", by="Ada", why="").version for _ in range(2)] == [2, 1]
    with pytest.raises(StoreError, match="production of m points to version 1 and had none before; there is nothing"):
        rollback(store, "m", "production", by="Ada", why="")
    with pytest.raises(StoreError, match="canary of m points to nothing"):
        rollback(store, "m", "canary", by="Ada", why="")
    publish(store, "d")
    assert production(store) == 4
    assert rollback(store, "m", "production", by="Ada", why="it swears").before == 4
    assert production(store) == 1


def test_registering_again_neither_repeats_nor_overrules_a_rollback(store: Store) -> None:
    publish(store, "one")
    assert publish(store, "two").version == 2
    rollback(store, "m", "production", by="Ada", why="")
    assert publish(store, "two").version == 2
    assert production(store) == 1
    assert len(registry.versions(store)) == 2


def test_an_older_model_that_runs_again_does_not_push_a_newer_one_aside(store: Store) -> None:
    one = candidate(store, name="one")
    publish_passed(store, PublicationConfig(alias=None), "m", *one)
    publish(store, "two")
    (remark,) = publish_passed(store, PublicationConfig(), "m", *one).remarks
    assert "fettle models promote m 1 --alias production" in remark
    assert production(store) == 2
    promote(store, "m", 1, "production", by="Ada", why="")
    assert promote(store, "m", 1, "production", by="Ada", why="").number == 2
    assert production(store) == 1


def test_an_alias_that_a_crash_left_out_comes_with_the_next_run(store: Store) -> None:
    publish(store, "w", PublicationConfig(alias=None))
    assert aliases.aliases(store, "m") == {}
    publish(store, "w", PublicationConfig(alias="staging"))
    assert aliases.aliases(store, "m") == {"staging": 1}


def test_the_whole_way_on_object_storage(bucket: str) -> None:
    remote = Store(f"{bucket}/store")
    remote.probe()
    publish(remote, "one")
    assert publish(remote, "two", PERSON).waiting
    approve(remote, "m", 2, by="Ada", note="")
    assert production(remote) == 2
    rollback(remote, "m", "production", by="Ada", why="")
    remote.files.replace("models/m/0002/model.safetensors", b"two past")
    with pytest.raises(CorruptArtifactError, match=r"the bytes of model\.safetensors"):
        promote(remote, "m", 2, "production", by="Ada", why="")
    assert production(remote) == 1


@pytest.mark.parametrize("registered", ["in the order of their moves", "the other way round"])
def test_of_two_runs_that_met_the_same_rival_the_second_moves_nothing(store: Store, registered: str) -> None:
    publish(store, "rival")
    quick, slow = candidate(store, name="quick"), candidate(store, name="slow")
    if registered == "the other way round":
        registry.register(store, "m", *slow, "pass", PublicationConfig().model_dump(mode="json"))
    winner = publish_passed(store, PublicationConfig(), "m", *quick)
    assert production(store) == winner.version
    for _ in range(2):
        loser = publish_passed(store, PublicationConfig(), "m", *slow)
        assert (loser.aliases, len(loser.remarks), production(store)) == ((), 1, winner.version)
        told = f"points to version {winner.version}, which version {loser.version} was not compared with; run its rec"
        assert told in loser.remarks[0]
    # Its next run meets the winner; from then on neither recipe's runs change anything.
    again = publish(store, "slow")
    assert (again.version, again.aliases, again.remarks) == (4, ("production",), ())
    assert publish(store, "slow") == again
    assert publish(store, "quick").remarks[0].startswith("production points to version 4, as fettle run wished; ")
    assert (production(store), len(registry.versions(store))) == (4, 4)


def test_what_was_rolled_back_to_meanwhile_is_not_replaced_unmet(store: Store) -> None:
    publish(store, "one")
    publish(store, "two")
    made = candidate(store, name="three")
    rollback(store, "m", "production", by="Ada", why="")
    (remark,) = publish_passed(store, PublicationConfig(), "m", *made).remarks
    assert remark.startswith("production points to version 1, which version 3 was not compared with; run its recipe")
    promote(store, "m", 3, "production", by="Ada", why="")
    assert publish_passed(store, PublicationConfig(), "m", *made).remarks == ()
    assert production(store) == 3


def test_the_same_weights_evaluated_anew_take_nobodys_place(store: Store) -> None:
    anew = {"reason": "with one more benchmark"}
    first = candidate(store, name="one")
    publish_passed(store, PublicationConfig(), "m", *first)
    second = publish_passed(store, PublicationConfig(), "m", *candidate(store, name="one", **anew))
    assert (second.version, second.aliases) == (2, ("production",))
    assert publish_passed(store, PublicationConfig(), "m", *first).remarks[0].startswith("production points to version")
    publish(store, "other")
    third = candidate(store, name="one", reason="with two more")
    (remark,) = publish_passed(store, PublicationConfig(), "m", *third).remarks
    assert remark.startswith("production points to version 3, as fettle run wished; `fettle models promote m 4")
    assert production(store) == 3


def test_runs_that_publish_at_once_leave_one_winner(store: Store) -> None:
    made = [candidate(store, name=name) for name in "abcdef"]
    barrier = threading.Barrier(len(made))

    def run(one: Candidate) -> Published:
        barrier.wait()
        return publish_passed(Store(store.uri), PublicationConfig(), "m", *one)

    with ThreadPoolExecutor(len(made)) as pool:
        published = list(pool.map(run, made))
    assert sorted(each.version for each in published) == [1, 2, 3, 4, 5, 6]
    (move,) = aliases.history(store, "m", "production")
    assert [each.version for each in published if not each.remarks] == [move.version] == [production(store)]
    losers = [each for each in published if each.remarks]
    assert all(f"which version {each.version} was not compared with" in each.remarks[0] for each in losers)


def test_a_version_of_a_training_that_was_made_anew_gets_no_alias(store: Store) -> None:
    publish(store, "one", PublicationConfig(alias=None))
    address = registry.version(store, "m", 1).training
    identity = store.manifest(address).identity
    store.files.delete(address)
    with store.attempt(identity) as attempt:
        attempt.write_file("model/model.safetensors", b"other weights")
        attempt.counts = make(store, "training", {"x": b""}).counts
        attempt.commit({})
    with pytest.raises(GateRefusedError, match=r"now holds the weights .*, of which version 1 of m was made"):
        promote(store, "m", 1, "production", by="Ada", why="")


def test_a_file_that_was_added_to_a_version_and_its_record_gets_no_alias(store: Store) -> None:
    published = publish(store, "one", PublicationConfig(alias=None))
    version = registry.version(store, "m", 1)
    data = b"import os"
    store.files.write(f"{published.folder}/modeling.py", data)
    part = Part(path="modeling.py", bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    edited = version.model_copy(update={"files": {**version.files, "modeling.py": part}})
    store.files.replace(f"{version.folder}/{registry.RECORD}", edited.model_dump_json().encode())
    with pytest.raises(GateRefusedError, match=r"names another modeling\.py than .* hold; it was edited"):
        promote(store, "m", 1, "production", by="Ada", why="")
    assert aliases.aliases(store, "m") == {}


def test_a_training_made_again_to_the_same_weights_has_the_same_report(store: Store) -> None:
    made = candidate(store)
    identity = Identity(stage="training", version=1, config={"patience": 5}, parents=())
    with store.attempt(identity) as attempt:
        attempt.write_file("model/model.safetensors", b"w pass")
        attempt.counts = store.manifest(made.trained).counts
        again = attempt.commit({})
    assert (again.content, again.address != made.trained.address) == (made.trained.content, True)
    assert publish_passed(store, PublicationConfig(), "m", made.publication, made.evaluated, again).version == 1


def test_what_a_version_needs_is_not_swept_that_was_published_after_the_look(store: Store) -> None:
    made = candidate(store)
    stale = sweeping.find_garbage(store, older_than_seconds=0)
    assert made.trained.address in {garbage.path for garbage in stale}
    publish_passed(store, PublicationConfig(), "m", *made)
    assert sweeping.remove(store, stale) == 0
    publish(store, "next")
    assert rollback(store, "m", "production", by="Ada", why="").version == 1
