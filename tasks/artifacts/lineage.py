"""Where an artifact came from, and how two of them differ."""

import json
from collections.abc import Iterator
from typing import Any

from tasks.artifacts.errors import CorruptArtifactError
from tasks.artifacts.manifest import Counts, Manifest, Parent
from tasks.artifacts.store import Store
from tasks.config import Config


class Node(Config):
    """An artifact or resource in a lineage tree."""

    name: str
    """The part it played for its heir."""
    label: str
    """Stage and address, or where a resource was read from."""
    address: str | None = None
    content: str
    counts: Counts | None = None
    parents: tuple["Node", ...] = ()


class Difference(Config):
    """One place where two manifests differ."""

    place: str
    before: Any
    after: Any


def tree(store: Store, address: str, name: str = "") -> Node:
    """The lineage of an artifact, down to the files it began with. An ancestor that was swept ends its branch."""
    found = ancestors(store, address)
    if address not in found:
        raise CorruptArtifactError(f"store {store.uri}: {address} is not there; was it deleted?")
    return _node(found, address, name or found[address].identity.stage)


def _node(found: dict[str, Manifest], address: str, name: str) -> Node:
    manifest = found[address]
    return Node(
        name=name,
        label=address,
        address=address,
        content=manifest.content,
        counts=manifest.counts,
        parents=tuple(_branch(found, parent) for parent in manifest.identity.parents),
    )


def _branch(found: dict[str, Manifest], parent: Parent) -> Node:
    if parent.address is not None and parent.address in found:
        return _node(found, parent.address, parent.name)
    label = parent.uri or f"{parent.address} (no longer stored)"
    return Node(name=parent.name, label=label, address=parent.address, content=parent.content)


def ancestors(store: Store, address: str) -> dict[str, Manifest]:
    """The manifests of an artifact and of everything stored that it came from, by address, heirs first."""
    found: dict[str, Manifest] = {}
    waiting = [address]
    while waiting:
        current = waiting.pop(0)
        if current in found:
            continue
        manifest = store.find_manifest(current)
        if manifest is None:
            continue
        found[current] = manifest
        waiting += [parent.address for parent in manifest.identity.parents if parent.address]
    return found


def differences(before: Manifest, after: Manifest) -> list[Difference]:
    """Every field of identity and every count in which two artifacts differ."""
    return [
        Difference(place=place, before=left, after=right)
        for place, left, right in _compare(_comparable(before), _comparable(after), "")
    ]


def _comparable(manifest: Manifest) -> dict[str, Any]:
    identity = manifest.identity
    return {
        "stage": identity.stage,
        "version": identity.version,
        "config": identity.config,
        "parents": {p.name: {"files": p.files} if p.files else p.content[:16] for p in identity.parents},
        "counts": manifest.counts.model_dump(),
        "content": manifest.content[:16],
    }


def _compare(before: Any, after: Any, place: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            yield from _compare(before.get(key), after.get(key), f"{place}.{key}" if place else str(key))
    # 1, 1.0 and true are equal in Python, and three values in a fingerprint.
    elif json.dumps(before, sort_keys=True) != json.dumps(after, sort_keys=True):
        yield place, before, after


def changed_fields(before: Any, after: Any) -> list[Difference]:
    """The fields in which two configurations differ, with their paths."""
    return [Difference(place=place, before=left, after=right) for place, left, right in _compare(before, after, "")]
