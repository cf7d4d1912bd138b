"""Garbage: what crashed attempts left, and artifacts that no kept run and no published model needs."""

import re
from collections.abc import Iterable

from tasks.artifacts import answer_book, checkpoints, registry, runs
from tasks.artifacts.errors import StoreError
from tasks.artifacts.filesystem import Entry
from tasks.artifacts.lineage import ancestors
from tasks.artifacts.manifest import Manifest
from tasks.artifacts.store import MANIFEST, Store
from tasks.config import Config

LONGEST_RUN_SECONDS = 7 * 24 * 3600
"""A run whose record says "running" keeps its artifacts for so long after its last sign of life."""

LEFTOVER_SECONDS, UNFINISHED_SECONDS = 6 * 3600, 7 * 24 * 3600
_UNFINISHED = "checkpoints of an unfinished training"
BOOK_SECONDS = 30 * 24 * 3600
_INTERRUPTED = "a file left by an interrupted write"
_UNNEEDED = "needed by no kept run and no published model"
_OLD_BOOK = "a model's answers, to which none was added lately"

# Only what Fettle itself names so is ever garbage: a store may lie in a folder that holds other things.
_ADDRESS = r"[a-z][a-z0-9_-]*/[0-9a-f]{16}"
_DRAFT = r"\.[^/]+\.[0-9a-f]{8}"
_ATTEMPT = rf"{_ADDRESS}/attempt-\d{{8}}T\d{{6}}-[0-9a-f]{{8}}"
_CHECKPOINTS = rf"{_ADDRESS}/{checkpoints.FOLDER}"
_BOOK = rf"{answer_book.FOLDER}/(?:judge-)?[0-9a-f]{{16,64}}"
_VERSION = rf"{registry.FOLDER}/[^/]+/\d{{4,}}"
_STRAY = (
    rf"probe-[0-9a-f]{{16}}|{_DRAFT}"
    rf"|(?:{runs.FOLDER}/[^/]+|{registry.FOLDER}/[^/]+/(?:pushes|aliases/[^/]+)|{_ADDRESS})/{_DRAFT}"
    rf"|{_ADDRESS}/result\.json|{_VERSION}/(?:.+/)?{_DRAFT}"
)
_UNIT = re.compile(
    rf"(?P<draft>{_VERSION}/(?:.+/)?{_DRAFT})|(?P<version>{_VERSION})/.+|(?P<book>{_BOOK})/.+|(?P<attempt>{_ATTEMPT})/.+|(?P<checkpoints>{_CHECKPOINTS})/.+"
    rf"|(?P<stray>{_STRAY})"
)
_REMOVABLE = re.compile(rf"{_VERSION}|{_BOOK}|{_ATTEMPT}|{_CHECKPOINTS}|{_STRAY}|{_ADDRESS}")


class Garbage(Config):
    """A folder or file to remove."""

    path: str
    bytes: int
    why: str


def find_garbage(store: Store, *, keep_runs: int = 10, older_than_seconds: float | None = None) -> list[Garbage]:
    """What may be removed, without removing it.

    Leftovers (attempts without a manifest of theirs, claims of dead publications, drafts) must be unchanged for
    `older_than_seconds`, so that a running attempt is never taken for a dead one; so must the checkpoints of a training
    that did not finish, of which the youngest counts. When not set, that is 6 hours, and 7 days for such checkpoints:
    a training that failed on Friday can go on on Monday. Answers of a model stay for 30 days. Committed artifacts must
    be needed by no published model, by none of the newest `keep_runs` runs of any recipe and by no run under way.
    """
    store.require_marker("looking for garbage")
    entries = store.files.entries("")
    # After the listing: what is committed or run meanwhile is then needed, or not listed.
    needed = _needed(store, keep_runs, entries)
    groups: dict[tuple[str, str], dict[str, Entry]] = {}
    for path, entry in entries.items():
        found = _garbage_unit(path, entries, needed)
        if found is not None:
            groups.setdefault(found, {})[path] = entry
    return [
        Garbage(path=unit, bytes=sum(entry.bytes for entry in group.values()), why=why + _names(unit, group))
        for (unit, why), group in sorted(groups.items())
        if min(entry.age_seconds for entry in group.values()) >= _age(why, older_than_seconds)
    ]


def _age(why: str, asked_seconds: float | None) -> float:
    if why == _OLD_BOOK:  # no leftover: runs that are kept would have to ask again
        return max(BOOK_SECONDS, asked_seconds or 0)
    if asked_seconds is not None:
        return asked_seconds
    return UNFINISHED_SECONDS if why == _UNFINISHED else LEFTOVER_SECONDS


def _names(unit: str, paths: Iterable[str]) -> str:
    if re.fullmatch(_CHECKPOINTS, unit) is None:
        return ""
    names = sorted({path[len(unit) + 1 :].split("/")[0] for path in paths})
    return f": {len(names)}, {', '.join(names)}"


def _garbage_unit(path: str, entries: dict[str, Entry], needed: dict[str, Manifest | None]) -> tuple[str, str] | None:
    """What to remove because of a file, as a whole, and why; none where the file is to stay."""
    address = "/".join(path.split("/")[:2])
    committed = re.fullmatch(_ADDRESS, address) is not None and f"{address}/{MANIFEST}" in entries
    if committed and address not in needed:
        return address, _UNNEEDED
    match = _UNIT.fullmatch(path)
    if match is None:
        return None
    unit = match.group(str(match.lastgroup))
    if match.lastgroup in ("version", "draft"):
        folder = "/".join(path.split("/")[:3])
        if f"{folder}/{registry.RECORD}" not in entries:
            return folder, "a publication that never finished"
        return None if match.lastgroup == "version" else (unit, _INTERRUPTED)
    if match.lastgroup == "book":
        return unit, _OLD_BOOK
    if match.lastgroup == "stray":
        is_record = committed and not unit.rsplit("/", 1)[-1].startswith(".")
        return None if is_record else (unit, _INTERRUPTED)
    manifest = needed.get(address)
    if match.lastgroup == "checkpoints":
        return unit, "checkpoints of a finished training" if committed else _UNFINISHED
    if manifest is None:
        return None if committed else (unit, "left by an attempt that never committed")
    return None if unit == f"{address}/{manifest.attempt}" else (unit, "left by an attempt that another one overtook")


def _needed(store: Store, keep_runs: int, entries: dict[str, Entry]) -> dict[str, Manifest | None]:
    """The artifacts to keep, with the manifests of those that are there."""
    roots: list[str] = []
    for version in registry.versions(store):
        roots += [version.publication, version.evaluation, version.training]
    kept: dict[str, int] = {}
    for run in runs.recent(store, strict=True):
        kept[run.recipe_name] = kept.get(run.recipe_name, 0) + 1
        silent_seconds = entries[run.path].age_seconds if run.path in entries else 0.0
        if kept[run.recipe_name] <= keep_runs or (run.outcome == "running" and silent_seconds < LONGEST_RUN_SECONDS):
            roots += [record.address for record in run.stages]
    needed: dict[str, Manifest | None] = {}
    for root in roots:
        if root not in needed:
            needed |= {root: None, **ancestors(store, root)}
    return needed


def remove(store: Store, garbage: list[Garbage]) -> int:
    """Remove garbage, the manifest of an artifact first, so that nobody reads half of one; gives the bytes freed.

    What was committed or published since it was found stays, as does what a run under way has taken up.
    """
    freed = 0
    unneeded = any(item.why == _UNNEEDED for item in garbage)
    needed = _needed(store, 0, store.files.entries(runs.FOLDER)) if unneeded else {}
    for item in garbage:
        if not _REMOVABLE.fullmatch(item.path):
            raise StoreError(f"store {store.uri}: {item.path!r} is no artifact and no leftover; nothing was removed")
        if _came_to_life(store, item) or (item.why == _UNNEEDED and item.path in needed):
            continue
        if re.fullmatch(_ADDRESS, item.path):
            store.files.delete(f"{item.path}/{MANIFEST}")
        store.files.delete(item.path)
        freed += item.bytes
    return freed


def _came_to_life(store: Store, item: Garbage) -> bool:
    if re.fullmatch(_VERSION, item.path):
        return store.files.read(f"{item.path}/{registry.RECORD}") is not None
    if re.fullmatch(_CHECKPOINTS, item.path):
        return sum(store.files.sizes(item.path).values()) != item.bytes
    if not re.fullmatch(_ATTEMPT, item.path):
        return False
    address, attempt = item.path.rsplit("/", 1)
    manifest = store.find_manifest(address)
    return manifest is not None and manifest.attempt == attempt
