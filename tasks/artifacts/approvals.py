"""Approvals: a person's word that a published version may be used, once a version."""

from datetime import UTC, datetime

from tasks.artifacts.errors import StoreError
from tasks.artifacts.registry import APPROVAL, Version, read_record
from tasks.artifacts.store import Store
from tasks.config import Config


class Approval(Config):
    """Who approved which weights."""

    by: str
    note: str
    weights: str
    """Content digest of the weights that were approved."""
    publication: str
    """Address of the card and report that were looked at: the same weights, measured otherwise, are another matter."""
    at: str


def approval(store: Store, version: Version) -> Approval | None:
    """The approval of a version's weights; none where nobody gave it.

    Raises `StoreError` where an approval lies there that was given to other weights, or to another report on them.
    """
    found = _read(store, version)
    if found is not None and found.weights != version.weights:
        raise StoreError(
            f"store {store.uri}: version {version.version} of {version.model} has an approval of other weights, "
            f"{found.weights[:16]}; delete {_path(version)} and approve again"
        )
    if found is not None and found.publication != version.publication:
        raise StoreError(
            f"store {store.uri}: version {version.version} of {version.model} has an approval of another version, "
            f"with the report {found.publication}; delete {_path(version)} and approve again"
        )
    return found


def approve(store: Store, version: Version, *, by: str, note: str) -> Approval:
    """Record an approval; gives the one that stands, which may be somebody's earlier one."""
    if not by.strip():
        raise StoreError(f"an approval of version {version.version} of {version.model} names nobody; give a name")
    at = datetime.now(UTC).isoformat(timespec="seconds")
    given = Approval(by=by, note=note, weights=version.weights, publication=version.publication, at=at)
    store.files.create(_path(version), given.model_dump_json(indent=1).encode())
    standing = approval(store, version)
    if standing is None:
        raise StoreError(f"store {store.uri}: {_path(version)} came and went; approve again")
    return standing


def _read(store: Store, version: Version) -> Approval | None:
    return read_record(store, Approval, _path(version), "to approve again")


def _path(version: Version) -> str:
    return f"{version.folder}/{APPROVAL}"
