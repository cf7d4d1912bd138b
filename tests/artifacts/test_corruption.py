"""What lies in the store is never trusted: a hit is whole, what is read is what was written."""

import json
from collections.abc import Callable

import pytest

from tasks.artifacts.errors import CorruptArtifactError, StoreError
from tasks.artifacts.manifest import Artifact, Manifest
from tasks.artifacts.store import MANIFEST, Store
from tests.artifacts.samples import identity, make


@pytest.fixture
def artifact(store: Store) -> Artifact:
    return make(store, files={"model/config.json": b'{"layers": 2}'})


def part_path(store: Store, artifact: Artifact) -> str:
    return f"{artifact.address}/{store.manifest(artifact).parts['conversations'][0].path}"


def require_words(error: pytest.ExceptionInfo[CorruptArtifactError], store: Store, artifact: Artifact) -> None:
    assert store.uri in str(error.value)
    assert f"the artifact {artifact.address} is corrupt" in str(error.value)
    assert f"`fettle gc --remove {artifact.address}`" in str(error.value)
    assert not error.value.transient


def test_missing_part_is_found_at_once(store: Store, artifact: Artifact) -> None:
    path = part_path(store, artifact)
    store.files.delete(path)
    with pytest.raises(CorruptArtifactError, match=r"part-00000\.parquet is missing") as error:
        store.find(artifact.address)
    require_words(error, store, artifact)
    with pytest.raises(CorruptArtifactError, match="is missing"):
        store.table(artifact, "conversations")
    with pytest.raises(CorruptArtifactError, match="is missing"), store.local_folder(artifact, "conversations"):
        pass


def test_part_of_another_size_is_found_at_once(store: Store, artifact: Artifact) -> None:
    path = part_path(store, artifact)
    size = store.files.sizes("")[path]
    store.files.write(path, (store.files.read(path) or b"")[:-1])
    with pytest.raises(CorruptArtifactError, match=rf"has {size - 1:,} bytes; its manifest says {size:,}") as error:
        store.find(artifact.address)
    require_words(error, store, artifact)


def test_changed_bytes_are_found_when_they_are_read(store: Store, artifact: Artifact) -> None:
    path = part_path(store, artifact)
    data = bytearray(store.files.read(path) or b"")
    data[len(data) // 2] ^= 1
    store.files.write(path, bytes(data))
    assert store.find(artifact.address) == artifact
    for read in (lambda: store.table(artifact, "conversations"), lambda: list(store.rows(artifact, "conversations"))):
        with pytest.raises(CorruptArtifactError, match=r"part-00000\.parquet are not those that were written") as error:
            read()
        require_words(error, store, artifact)
    with pytest.raises(CorruptArtifactError, match="not those"), store.local_folder(artifact, "conversations"):
        pass
    assert store.read_file(artifact, "model/config.json") == b'{"layers": 2}'


def edited(change: Callable[[dict[str, object]], object]) -> Callable[[bytes], bytes]:
    def edit(raw: bytes) -> bytes:
        document = json.loads(raw)
        change(document)
        return json.dumps(document).encode()

    return edit


EDITS: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda raw: raw[:-40],
    "empty": lambda raw: raw[:0],
    "no JSON": lambda raw: b"<html>" + raw,
    "no text": lambda raw: b"\xff\xfe" + raw,
    "a list": lambda raw: b"[" + raw + b"]",
    "other configuration": edited(lambda d: d["identity"]["config"].update(min_tokens=1)),  # type: ignore[index]
    "other counts": edited(lambda d: d.update(counts={"read": 1, "kept": 1, "dropped": {}})),
    "other facts": edited(lambda d: d.update(facts={"verdict": "pass"})),
    "other content": edited(lambda d: d.update(content="0" * 64)),
    "no seal": edited(lambda d: d.pop("seal")),
}


def test_manifest_that_was_altered_is_refused(store: Store, artifact: Artifact) -> None:
    path = f"{artifact.address}/{MANIFEST}"
    raw = store.files.read(path) or b""
    for edit in EDITS.values():
        store.files.replace(path, edit(raw))
        with pytest.raises(CorruptArtifactError, match="manifest") as error:
            store.find(artifact.address)
        require_words(error, store, artifact)
    store.files.replace(path, raw)
    assert store.find(artifact.address) == artifact


def test_manifest_that_was_only_laid_out_anew_is_read(store: Store, artifact: Artifact) -> None:
    path = f"{artifact.address}/{MANIFEST}"
    store.files.replace(path, json.dumps(json.loads(store.files.read(path) or b"")).encode())
    assert store.find(artifact.address) == artifact


def test_manifest_in_another_artifacts_folder_is_refused(store: Store, artifact: Artifact) -> None:
    other = identity(min_tokens=9).address
    store.files.write(f"{other}/{MANIFEST}", store.files.read(f"{artifact.address}/{MANIFEST}") or b"")
    with pytest.raises(CorruptArtifactError, match=f"{other} is corrupt: its manifest is that of {artifact.address}"):
        store.find(other)


def test_manifest_whose_parts_lie_elsewhere_is_refused(store: Store, artifact: Artifact) -> None:
    """Even with a seal that fits, for whoever can write to the store can make one."""
    manifest = store.manifest(artifact)
    own = {name: part.model_copy(update={"path": f"attempt-1/{name}"}) for name, part in manifest.files.items()}
    table = (manifest.parts["conversations"][0].model_copy(update={"path": "attempt-1/p"}),)
    harmless = manifest.model_copy(update={"attempt": "attempt-1", "files": own, "parts": {"conversations": table}})
    assert Manifest.load(harmless.dump()) == harmless
    for path in [
        "../../../outside",
        "attempt-1/../../x",
        "/etc/passwd",
        "attempt-2/x",
        "attempt-1",
        "attempt-1//x",
        "",
    ]:
        part = next(iter(own.values())).model_copy(update={"path": path})
        hostile = harmless.model_copy(update={"files": {"model/config.json": part}})
        store.files.replace(f"{artifact.address}/{MANIFEST}", hostile.dump())
        with pytest.raises(CorruptArtifactError, match="lies outside of its attempt"):
            store.read_file(artifact, "model/config.json")


PATH_OPERATIONS: dict[str, Callable[[Store, str], object]] = {
    "read": lambda store, path: store.files.read(path),
    "write": lambda store, path: store.files.write(path, b""),
    "create": lambda store, path: store.files.create(path, b""),
    "replace": lambda store, path: store.files.replace(path, b""),
    "list": lambda store, path: store.files.sizes(path),
    "delete": lambda store, path: store.files.delete(path),
    "find": lambda store, path: store.find(path),
}


@pytest.mark.parametrize("operation", PATH_OPERATIONS)
def test_no_path_leads_out_of_the_store(store: Store, operation: str) -> None:
    for path in ("../outside", "a/../../outside", "/etc/passwd", "a//b", "a/", "./a", "a\0b"):
        with pytest.raises(StoreError, match="is no place inside the store"):
            PATH_OPERATIONS[operation](store, path)


def test_file_name_of_an_attempt_cannot_lead_out(store: Store) -> None:
    with pytest.raises(StoreError, match="no place inside"), store.attempt(identity()) as attempt:
        attempt.write_file("../../../x", b"")
    with pytest.raises(StoreError, match="root is not to be deleted"):
        store.files.delete("")
    with pytest.raises(ValueError, match="pattern"):
        identity("../x")


def test_artifact_that_must_be_there_is_missed_in_words(store: Store) -> None:
    with pytest.raises(CorruptArtifactError, match="curation/0 is not there; was it deleted while in use"):
        store.manifest("curation/0")
