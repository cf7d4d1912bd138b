"""Published models: numbered once, published whole, approved once."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tasks.artifacts import aliases, registry, sweeping
from tasks.artifacts.approvals import approval, approve
from tasks.artifacts.errors import CorruptArtifactError, StoreError
from tasks.artifacts.manifest import Artifact
from tasks.artifacts.store import Store
from tests.artifacts.samples import identity, make
from tests.servers.faults import FaultProxy

WEIGHTS = {"model/config.json": b"{}", "model/deep/model.safetensors": b"\0" * 5000, "adapter/a.bin": b"not published"}


def candidate(store: Store, number: int) -> tuple[Artifact, Artifact, Artifact]:
    """Publication, evaluation and training of one run."""
    trained = make(store, identity("training", n=number), files={**WEIGHTS, "model/n.txt": str(number).encode()})
    evaluated = make(store, identity("evaluation", {"model": trained}))
    page = {"README.md": b"# card", "report.html": f"<p>{number}".encode()}
    return (
        make(store, identity("publication", {"trained": trained, "evaluated": evaluated}), {}, page),
        evaluated,
        trained,
    )


def publish(store: Store, number: int, model: str = "assistant") -> registry.Version:
    publication, evaluated, trained = candidate(store, number)
    return registry.register(store, model, publication, evaluated, trained, "pass")


def test_versions_are_numbered_and_hold_weights_card_and_report(store: Store) -> None:
    first, second = publish(store, 1), publish(store, 2)
    assert [first.version, second.version] == [1, 2]
    assert registry.versions(store) == registry.versions(store, "assistant") == [first, second]
    assert set(second.files) == {"config.json", "deep/model.safetensors", "n.txt", "README.md", "report.html"}
    for name, part in second.files.items():
        data = store.files.read(f"{second.folder}/{name}")
        assert data is not None
        assert len(data) == part.bytes
    assert store.files.read(f"{second.folder}/n.txt") == b"2"
    assert [address.split("/")[0] for address in store.addresses()].count("models") == 0


def test_same_publication_is_one_version(store: Store) -> None:
    first = publish(store, 1)
    publish(store, 2)
    assert publish(store, 1) == first
    assert len(registry.versions(store)) == 2


@pytest.mark.parametrize("numbers", [[1, 2, 3, 4], [7, 7, 7, 7]])
def test_publications_at_once_share_a_number_only_when_they_are_the_same(store: Store, numbers: list[int]) -> None:
    made = {number: candidate(store, number) for number in numbers}
    barrier = threading.Barrier(len(numbers))

    def run(number: int) -> registry.Version:
        publication, evaluated, trained = made[number]
        opened = Store(store.uri)
        barrier.wait()
        return registry.register(opened, "assistant", publication, evaluated, trained, "pass")

    with ThreadPoolExecutor(len(numbers)) as pool:
        versions = list(pool.map(run, numbers))
    distinct = len(set(numbers))
    assert sorted({version.version for version in versions}) == list(range(1, distinct + 1))
    assert len(registry.versions(store)) == distinct
    for number, version in zip(numbers, versions, strict=True):
        assert version.publication == made[number][0].address
        assert store.files.read(f"{version.folder}/n.txt") == str(number).encode()


def test_publication_that_died_is_resumed_under_its_number(bucket: str, fault_proxy: FaultProxy) -> None:
    store = Store(f"{bucket}/store")
    store.probe()
    publication, evaluated, trained = candidate(store, 1)
    fault_proxy.fail("drop", method="PUT", key=registry.RECORD)
    with pytest.raises(StoreError, match=r"cannot create models/assistant/0001/version\.json"):
        registry.register(store, "assistant", publication, evaluated, trained, "pass")
    fault_proxy.mode = "pass"
    assert registry.versions(store) == []
    assert publish(store, 2).version == 2
    assert registry.register(store, "assistant", publication, evaluated, trained, "pass").version == 1
    assert [version.version for version in registry.versions(store)] == [1, 2]


@pytest.mark.parametrize("key", [registry.CLAIM, registry.RECORD])
def test_answers_that_are_lost_make_no_second_version(key: str, bucket: str, fault_proxy: FaultProxy) -> None:
    store = Store(f"{bucket}/store")
    store.probe()
    publication, evaluated, trained = candidate(store, 1)
    fault_proxy.fail("lost", method="PUT", key=key, times=1)
    version = registry.register(store, "assistant", publication, evaluated, trained, "pass")
    assert registry.versions(store) == [version]
    assert version.version == 1


def test_claim_of_a_publication_that_never_finished_is_swept(store: Store) -> None:
    published = publish(store, 1)
    folder = registry.version_folder("assistant", 2)
    store.files.create(f"{folder}/{registry.CLAIM}", b'{"publication": "publication/0"}')
    store.files.write(f"{folder}/config.json", b"{}")
    assert sweeping.find_garbage(store) == []
    found = sweeping.find_garbage(store, older_than_seconds=0)
    assert [(g.path, g.why) for g in found] == [(folder, "a publication that never finished")]
    sweeping.remove(store, found)
    assert registry.versions(store) == [published]
    assert publish(store, 2).version == 2


def test_version_published_after_it_was_listed_as_garbage_stays(store: Store) -> None:
    publication, evaluated, trained = candidate(store, 1)
    claim = f"{registry.version_folder('assistant', 1)}/{registry.CLAIM}"
    store.files.create(claim, f'{{"publication": "{publication.address}"}}'.encode())
    stale = [g for g in sweeping.find_garbage(store, older_than_seconds=0) if g.path.startswith("models/")]
    assert len(stale) == 1
    version = registry.register(store, "assistant", publication, evaluated, trained, "pass")
    assert sweeping.remove(store, stale) == 0
    assert registry.versions(store) == [version]
    assert store.files.read(f"{version.folder}/n.txt") == b"1"


def test_names_that_would_be_paths_are_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="'a/b' cannot name a model"):
        publish(store, 1, "a/b")
    with pytest.raises(StoreError, match=r"'\.\.' cannot name a model"):
        registry.version(store, "..", 1)


def test_version_that_is_not_there_is_told(store: Store) -> None:
    version = publish(store, 1)
    assert registry.version(store, "assistant", 1) == version
    with pytest.raises(StoreError, match="assistant has no version 2; `fettle models list` shows what there is"):
        registry.version(store, "assistant", 2)


def test_version_is_brought_here_whole(store: Store) -> None:
    version = publish(store, 3)
    with registry.local_version(store, version) as folder:
        assert (folder / "n.txt").read_bytes() == b"3"
        assert (folder / "deep" / "model.safetensors").stat().st_size == 5000
        assert (folder / "README.md").read_bytes() == b"# card"


@pytest.mark.parametrize(
    ("path", "data", "words"),
    [
        (
            "deep/model.safetensors",
            b"\1" * 5000,
            "the bytes of deep/model.safetensors are not those that were published",
        ),
        ("n.txt", None, "n.txt is missing"),
        ("pytorch_model.bin", b"x", "pytorch_model.bin was added afterwards"),
    ],
)
def test_version_that_was_altered_is_not_used(store: Store, path: str, data: bytes | None, words: str) -> None:
    version = publish(store, 1)
    if data is None:
        store.files.delete(f"{version.folder}/{path}")
    else:
        store.files.replace(f"{version.folder}/{path}", data)
    with (
        pytest.raises(CorruptArtifactError, match=f"version 1 of assistant is not what was published: {words}"),
        registry.local_version(store, version),
    ):
        pass


def test_drafts_and_the_registrys_own_files_are_no_change(store: Store) -> None:
    version = publish(store, 1)
    approve(store, version, by="Ada", note="")
    store.files.write(f"{version.folder}/.approval.json.0123abcd", b"half")
    store.files.write(f"{version.folder}/deep/.model.safetensors.0123abcd", b"half")
    with registry.local_version(store, version) as folder:
        assert folder.is_dir()


def test_first_approval_stands(store: Store) -> None:
    version = publish(store, 1)
    assert approval(store, version) is None
    given = approve(store, version, by="Ada", note="read 20 answers")
    assert (given.by, given.note, given.weights) == ("Ada", "read 20 answers", version.weights)
    assert approve(store, version, by="Bob", note="me too") == approval(store, version) == given


def test_approval_of_other_weights_is_none(store: Store) -> None:
    version = publish(store, 1)
    other = version.model_copy(update={"weights": "0" * 64})
    approve(store, other, by="Ada", note="")
    with pytest.raises(StoreError, match="has an approval of other weights, 0000000000000000; delete models/assistant"):
        approval(store, version)


def test_weights_cannot_pass_for_the_registrys_own_files(store: Store) -> None:
    publication, evaluated, _ = candidate(store, 1)
    trained = make(store, identity("training", n=9), files={"model/version.json": b"{}"})
    with pytest.raises(ValueError, match=r"has a file version\.json, which would pass for the registry's own"):
        registry.register(store, "assistant", publication, evaluated, trained, "pass")
    assert registry.versions(store) == []


def test_corrupt_weights_are_not_published(store: Store) -> None:
    publication, evaluated, trained = candidate(store, 1)
    part = store.manifest(trained).files["model/config.json"]
    store.files.write(f"{trained.address}/{part.path}", b"[]")
    with pytest.raises(CorruptArtifactError, match=r"config\.json are not those that were written"):
        registry.register(store, "assistant", publication, evaluated, trained, "pass")
    assert registry.versions(store) == []


def test_record_that_is_not_readable_is_named(store: Store) -> None:
    version = publish(store, 1)
    store.files.replace(f"{version.folder}/{registry.RECORD}", b"{")
    with pytest.raises(CorruptArtifactError, match=r"models/assistant/0001/version\.json is not readable"):
        registry.versions(store)


def test_number_that_an_alias_was_moved_to_is_never_given_again(store: Store) -> None:
    """An alias points to a number, so another model under it would be in production at once."""
    published = publish(store, 1)
    aliases.move(store, "assistant", "production", 1, [], kind="promotion", by="Ada", why="")
    store.files.write("models/assistant/aliases/production/.000002.json.0123abcd", b"half")
    store.files.delete(f"{published.folder}/{registry.RECORD}")
    sweeping.remove(store, sweeping.find_garbage(store, older_than_seconds=0))
    assert store.files.sizes(published.folder) == {}
    assert publish(store, 2).version == 2


def test_record_that_was_copied_from_another_version_vouches_for_nothing(store: Store) -> None:
    publish(store, 1)
    other = publish(store, 2)
    copied = store.files.read("models/assistant/0001/version.json") or b""
    store.files.replace(f"{other.folder}/{registry.RECORD}", copied)
    for look in (lambda: registry.version(store, "assistant", 2), lambda: registry.versions(store)):
        with pytest.raises(CorruptArtifactError, match=r"0002/version\.json is the record of version 1 of assistant"):
            look()


def test_drafts_in_a_published_version_are_swept_and_nothing_else_of_it(store: Store) -> None:
    version = publish(store, 1)
    before = store.files.sizes(version.folder)
    drafts = {f"{version.folder}/.model.safetensors.0123abcd", f"{version.folder}/deep/.model.safetensors.0123abcd"}
    for path in drafts:
        store.files.write(path, b"half")
    assert [g for g in sweeping.find_garbage(store) if g.path in drafts] == []
    found = sweeping.find_garbage(store, older_than_seconds=0)
    assert {g.path for g in found} == drafts
    sweeping.remove(store, found)
    assert store.files.sizes(version.folder) == before


def test_approval_of_another_report_on_the_same_weights_is_none(store: Store) -> None:
    version = publish(store, 1)
    approve(store, version.model_copy(update={"publication": "publication/0"}), by="Ada", note="")
    with pytest.raises(StoreError, match="has an approval of another version, with the report publication/0; delete"):
        approval(store, version)


def test_approval_by_nobody_is_none(store: Store) -> None:
    version = publish(store, 1)
    with pytest.raises(StoreError, match="an approval of version 1 of assistant names nobody; give a name"):
        approve(store, version, by=" ", note="")
    assert approval(store, version) is None
