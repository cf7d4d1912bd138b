"""A person's word on a published version: that it may be used, or that it may not, each once a version."""

from datetime import UTC, datetime

from tasks.artifacts.errors import StoreError
from tasks.artifacts.registry import APPROVAL, REJECTION, Version, read_record
from tasks.artifacts.store import Store
from tasks.config import Config


class Decision(Config):
    """Who approved or rejected which weights."""

    by: str
    note: str
    weights: str
    """Content digest of the weights that were decided on."""
    publication: str
    """Address of the card and report that were looked at: the same weights, measured otherwise, are another matter."""
    at: str


def approval(store: Store, version: Version) -> Decision | None:
    """The approval of a version's weights; none where nobody gave it.

    Raises `StoreError` where an approval lies there that was given to other weights, or to another report on them.
    """
    return _decision(store, version, APPROVAL, "an approval", "approve")


def rejection(store: Store, version: Version) -> Decision | None:
    """A person's no to a version's weights; none where nobody said it, or somebody approved them all the same.

    Raises `StoreError` as `approval` does.
    """
    if approval(store, version) is not None:
        return None
    return _decision(store, version, REJECTION, "a rejection", "reject")


def approve(store: Store, version: Version, *, by: str, note: str) -> Decision:
    """Record an approval; gives the one that stands, which may be somebody's earlier one."""
    return _decide(store, version, APPROVAL, "an approval", "approve", by=by, note=note)


def reject(store: Store, version: Version, *, by: str, note: str) -> Decision:
    """Record a rejection; gives the one that stands, which may be somebody's earlier one."""
    return _decide(store, version, REJECTION, "a rejection", "reject", by=by, note=note)


def _decide(store: Store, version: Version, name: str, what: str, verb: str, *, by: str, note: str) -> Decision:
    if not by.strip():
        raise StoreError(f"{what} of version {version.version} of {version.model} names nobody; give a name")
    at = datetime.now(UTC).isoformat(timespec="seconds")
    given = Decision(by=by, note=note, weights=version.weights, publication=version.publication, at=at)
    store.files.create(f"{version.folder}/{name}", given.model_dump_json(indent=1).encode())
    standing = _decision(store, version, name, what, verb)
    if standing is None:
        raise StoreError(f"store {store.uri}: {version.folder}/{name} came and went; {verb} again")
    return standing


def _decision(store: Store, version: Version, name: str, what: str, verb: str) -> Decision | None:
    path = f"{version.folder}/{name}"
    found = read_record(store, Decision, path, f"to {verb} again")
    if found is None:
        return None
    other = ""
    if found.weights != version.weights:
        other = f"other weights, {found.weights[:16]}"
    elif found.publication != version.publication:
        other = f"another version, with the report {found.publication}"
    if other:
        raise StoreError(
            f"store {store.uri}: version {version.version} of {version.model} has {what} of {other}; "
            f"delete {path} and {verb} again"
        )
    return found
