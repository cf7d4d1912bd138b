"""Published models: numbered versions below `models/{name}/`; what points to them is in `aliases`."""

import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, ValidationError

from tasks.artifacts.errors import CorruptArtifactError, StoreError
from tasks.artifacts.fingerprint import digest_file
from tasks.artifacts.manifest import Artifact, Manifest, Part
from tasks.artifacts.store import Store
from tasks.config import Config

FOLDER = "models"
PRIVATE = frozenset({"masks.html", "suspects.csv"})
"""Show training rows, which are no part of what is published."""
RECORD = "version.json"
CLAIM = "claim.json"
APPROVAL, REJECTION = "approval.json", "rejection.json"
OWN = frozenset({RECORD, CLAIM, APPROVAL, REJECTION})
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_DRAFT = re.compile(r"(?:.+/)?\.[^/]+\.[0-9a-f]{8}")


class Version(Config):
    """One published version of a model. Its record is written last: its existence is the publication."""

    model: str
    version: int = Field(ge=1)
    publication: str
    """Address of the artifact with the card and the report."""
    evaluation: str
    training: str
    weights: str
    """Content digest of the trained artifact that was copied here."""
    verdict: str
    terms: dict[str, Any] = Field(default_factory=dict)
    """What the recipe asked of its publication."""
    at: str
    files: dict[str, Part]

    @property
    def folder(self) -> str:
        """Where its files lie in the store."""
        return version_folder(self.model, self.version)


_Record = TypeVar("_Record", bound=Config)


def version_folder(model: str, number: int) -> str:
    """The folder of a version in the store."""
    return f"{FOLDER}/{model}/{number:04d}"


def versions(store: Store, model: str | None = None) -> list[Version]:
    """Published versions, by model and number."""
    records = [path for path in sorted(_paths(store, model)) if _number(path) and path.count("/") == 3]
    found = [_read_version(store, path) for path in records if path.endswith(f"/{RECORD}")]
    return [version for version in found if version is not None]


def version(store: Store, model: str, number: int) -> Version:
    """One version, which must be there."""
    require_name(model)
    found = _read_version(store, f"{version_folder(model, number)}/{RECORD}")
    if found is None:
        store.require_marker(f"looking for version {number} of {model}")
        raise StoreError(
            f"store {store.uri}: {model} has no version {number}; `fettle models list` shows what there is"
        )
    return found


def _read_version(store: Store, path: str) -> Version | None:
    found = read_record(store, Version, path)
    # A record that was copied would vouch for files that are not its own.
    if found is not None and path != f"{found.folder}/{RECORD}":
        raise CorruptArtifactError(
            f"store {store.uri}: {path} is the record of version {found.version} of {found.model}; restore it, or "
            "delete it to unpublish what lies beside it"
        )
    return found


@contextmanager
def local_version(store: Store, published: Version) -> Iterator[Path]:
    """A version's files as a folder on this machine while the block runs, every byte checked against the record.

    Raises `CorruptArtifactError` for a file that is missing, was altered, or is not named by the record. A local store
    gives its own folder, without a copy.
    """
    stray = _stray(store, published)
    if stray is not None:
        raise _corrupt(store, published, f"{stray} was added afterwards")
    with tempfile.TemporaryDirectory(prefix="fettle-") as temporary:
        folder = Path(store.files.absolute(published.folder)) if store.files.is_local else Path(temporary)
        for name, part in published.files.items():
            path = folder / name
            there = path.is_file() if store.files.is_local else store.files.download(f"{published.folder}/{name}", path)
            if not there:
                raise _corrupt(store, published, f"{name} is missing")
            if digest_file(path) != part.sha256:
                raise _corrupt(store, published, f"the bytes of {name} are not those that were published")
        yield folder


def _stray(store: Store, published: Version) -> str | None:
    """A file in a version's folder that neither its record nor the registry put there; drafts are of the store."""
    found = {path.removeprefix(f"{published.folder}/") for path in store.files.sizes(published.folder)}
    return next((name for name in sorted(found - {*published.files, *OWN}) if not _DRAFT.fullmatch(name)), None)


def _corrupt(store: Store, published: Version, what: str) -> CorruptArtifactError:
    return CorruptArtifactError(
        f"store {store.uri}: version {published.version} of {published.model} is not what was published: {what}. "
        f"Restore {published.folder}, or promote another version."
    )


def _paths(store: Store, model: str | None) -> list[str]:
    return list(store.files.sizes(f"{FOLDER}/{model}" if model else FOLDER))


def _number(path: str) -> int | None:
    """The version in whose folder a path lies."""
    steps = path.split("/")
    return int(steps[2]) if len(steps) > 3 and steps[2].isdecimal() else None


def published_files(store: Store, training: str, publication: str) -> dict[str, Part]:
    """What a version of them holds, by name: the weights, the card and the report."""
    return {**_chosen(store.manifest(training), "model/"), **_chosen(store.manifest(publication), "")}


def read_record(
    store: Store, kind: type[_Record], path: str, remedy: str = "to unpublish what it names"
) -> _Record | None:
    """A record in the store; none where none is. Raises `CorruptArtifactError` for one that cannot be read."""
    raw = store.files.read(path)
    if raw is None:
        return None
    try:
        return kind.model_validate_json(raw)
    except ValidationError as error:
        raise CorruptArtifactError(
            f"store {store.uri}: {path} is not readable ({error.errors()[0]['msg']}); restore it, or delete it {remedy}"
        ) from None


def find(store: Store, model: str, publication: Artifact) -> Version | None:
    """The version that published an artifact, if one did."""
    return next((v for v in versions(store, model) if v.publication == publication.address), None)


def register(
    store: Store,
    model: str,
    publication: Artifact,
    evaluation: Artifact,
    training: Artifact,
    verdict: str,
    terms: dict[str, Any] | None = None,
) -> Version:
    """Copy weights, card and report to the next version's folder, and commit it with its record.

    The same publication registered twice, or by two at once, gives one version; a number claimed by a run that
    died is taken up again by the next run of the same publication.
    """
    require_name(model)
    # In a store that vanished no version would be found either, and the numbers would begin again.
    store.require_marker(f"publishing {model}")
    # Listed first: whoever publishes the same after that is met at the claim, whoever did before is found.
    paths = _paths(store, model)
    known = find(store, model, publication)
    if known is not None:
        return known
    number = _claim(store, model, publication.address, paths)
    folder = version_folder(model, number)
    files = {**_copy(store, training, folder, prefix="model/"), **_copy(store, publication, folder, prefix="")}
    record = Version(
        model=model,
        version=number,
        publication=publication.address,
        evaluation=evaluation.address,
        training=training.address,
        weights=training.content,
        verdict=verdict,
        terms=terms or {},
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        files=files,
    )
    if not store.files.create(f"{folder}/{RECORD}", record.model_dump_json(indent=1).encode()):
        known = find(store, model, publication)
        if known is None:
            raise StoreError(f"store {store.uri}: {folder} was published by another run; run again for a new number")
        return known
    return record


def require_name(name: str) -> None:
    """Raise `StoreError` for what cannot name a model or an alias."""
    if not _NAME.fullmatch(name):
        raise StoreError(f"{name!r} cannot name a model or alias; use small letters, digits and hyphens")


def _claim(store: Store, model: str, publication: str, paths: list[str]) -> int:
    """A number of this publication's own: that of an earlier, unfinished claim of it, or the next after all others."""
    # A claim that is being written shows as a draft: it takes no number before it stands and tells whose it is.
    claims = [path for path in paths if path.endswith((f"/{CLAIM}", f"/{RECORD}"))]
    taken = {number for path in claims if (number := _number(path)) is not None}
    for number in sorted(taken):
        folder = version_folder(model, number)
        if f"{folder}/{RECORD}" not in paths and _claimant(store, folder) == publication:
            return number
    # Nor a number that an alias was ever moved to: it would point to a model that nobody let it point to.
    number = max(taken | _pointed_to(store, paths), default=0)
    while True:
        number += 1
        folder = version_folder(model, number)
        claimed = store.files.create(f"{folder}/{CLAIM}", json.dumps({"publication": publication}).encode())
        # The claim may be ours although it was refused: its first answer was lost, or another run publishes the same.
        if claimed or _claimant(store, folder) == publication:
            return number


def _pointed_to(store: Store, paths: list[str]) -> set[int]:
    found = set()
    for path in paths:
        steps = path.split("/")
        if len(steps) == 5 and steps[2] == "aliases" and not steps[4].startswith("."):
            found.add(_version_in(store.files.read(path)))
    return found


def _version_in(raw: bytes | None) -> int:
    # One that cannot be read is told of where the alias is read.
    try:
        return int(json.loads(raw or b"{}")["version"])
    except (ValueError, KeyError, TypeError):
        return 0


def _claimant(store: Store, folder: str) -> str | None:
    raw = store.files.read(f"{folder}/{CLAIM}")
    try:
        claim: dict[str, Any] = json.loads(raw or b"{}")
    except ValueError:
        return None
    return claim.get("publication")


def _copy(store: Store, artifact: Artifact, folder: str, prefix: str) -> dict[str, Part]:
    wanted = _chosen(store.manifest(artifact), prefix)
    reserved = sorted(OWN & set(wanted))
    if reserved:
        raise ValueError(f"{artifact.address} has a file {reserved[0]}, which would pass for the registry's own")
    with store.local_folder(artifact, prefix.rstrip("/")) as local:
        for path in wanted:
            store.files.upload(f"{folder}/{path}", local / path)
    return {path: part.model_copy(update={"path": path}) for path, part in wanted.items()}


def _chosen(manifest: Manifest, prefix: str) -> dict[str, Part]:
    chosen = {name: part for name, part in manifest.files.items() if name.startswith(prefix) and name not in PRIVATE}
    return {name.removeprefix(prefix): part for name, part in chosen.items()}
