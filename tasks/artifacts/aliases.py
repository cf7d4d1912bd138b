"""Aliases such as `production`: numbered moves below `models/{name}/aliases/{alias}/`, each created exclusively.

The move with the highest number says where the alias points. So a move is one atomic creation on disk and on S3, two at
once have one winner, and all the earlier ones are the alias's history.
"""

import re
import secrets
from datetime import UTC, datetime
from typing import Literal

from pydantic import Field

from tasks.artifacts.errors import StoreError, StoreUnreachableError
from tasks.artifacts.registry import FOLDER, read_record, require_name
from tasks.artifacts.store import Store
from tasks.config import Config

Kind = Literal["promotion", "rollback"]
_NUMBER = re.compile(r"(\d{6,})\.json")


class Move(Config):
    """One move of an alias: who let it point to which version, and why."""

    alias: str
    number: int = Field(ge=1)
    version: int
    before: int | None
    """The version that it pointed to until then; none where it was new."""
    kind: Kind
    by: str
    why: str
    at: str
    key: str
    """Random: tells a move's own record from another one of the same words."""


class MovedMeanwhileError(StoreError):
    """Somebody else moved the alias between the look at it and the move."""


def aliases(store: Store, model: str) -> dict[str, int]:
    """Which version each alias of a model points to."""
    return {name: move.version for name, move in latest_moves(store, model).items()}


def latest_moves(store: Store, model: str) -> dict[str, Move]:
    """The last move of each alias of a model."""
    folder = f"{FOLDER}/{model}/aliases"
    last: dict[str, int] = {}
    for path in store.files.sizes(folder):
        name, _, file = path.removeprefix(f"{folder}/").partition("/")
        found = _NUMBER.fullmatch(file)
        if found:
            last[name] = max(last.get(name, 0), int(found[1]))
    return {name: _read(store, model, name, number) for name, number in sorted(last.items())}


def history(store: Store, model: str, alias: str) -> list[Move]:
    """Every move of an alias, the first one first; empty where it was never set."""
    require_name(model)
    require_name(alias)
    folder = f"{FOLDER}/{model}/aliases/{alias}"
    found = [_NUMBER.fullmatch(path.removeprefix(f"{folder}/")) for path in store.files.sizes(folder)]
    return [_read(store, model, alias, number) for number in sorted(int(each[1]) for each in found if each)]


def version_before(moves: list[Move]) -> int | None:
    """Where a rollback leads: to the version before the last promotion that was not itself rolled back."""
    trail: list[int] = []
    for move in moves:
        if move.kind == "promotion":
            trail.append(move.version)
        elif trail:
            trail.pop()
    return trail[-2] if len(trail) > 1 else None


def move(
    store: Store, model: str, alias: str, version: int, seen: list[Move], *, kind: Kind, by: str, why: str
) -> Move:
    """Let an alias point to a version, if nobody moved it since its history was `seen`.

    Raises `MovedMeanwhileError` where somebody did: then nothing was changed.
    """
    require_name(model)
    require_name(alias)
    number = seen[-1].number + 1 if seen else 1
    made = Move(
        alias=alias,
        number=number,
        version=version,
        before=seen[-1].version if seen else None,
        kind=kind,
        by=by,
        why=why,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        key=secrets.token_hex(8),
    )
    if not _create(store, model, made):
        standing = _read(store, model, alias, number)
        # A creation whose first answer was lost is repeated by the client, and then meets its own record.
        if standing.key != made.key:
            raise MovedMeanwhileError(
                f"store {store.uri}: {alias} of {model} was moved to version {standing.version} by {standing.by} "
                "in the same moment; nothing else was changed. Look with `fettle models list`, and ask again if need be"
            )
    return made


def _create(store: Store, model: str, made: Move) -> bool:
    """Whether a move's record stands for sure; false where some record does, which may be its own."""
    path = _path(model, made.alias, made.number)
    try:
        return store.files.create(path, made.model_dump_json(indent=1).encode())
    except StoreError as error:
        if not error.transient:
            raise
        lost = error
    try:
        if store.files.read(path) is not None:
            return False
    except StoreError as error:
        lost = error
    # A rollback that is asked for twice goes back twice.
    raise StoreUnreachableError(
        f"{lost} Whether {made.alias} of {model} was moved to version {made.version} is not known: look with "
        "`fettle models list` before you ask again."
    ) from lost


def _path(model: str, alias: str, number: int) -> str:
    return f"{FOLDER}/{model}/aliases/{alias}/{number:06d}.json"


def _read(store: Store, model: str, alias: str, number: int) -> Move:
    path = _path(model, alias, number)
    found = read_record(store, Move, path, "to go back to the move before")
    if found is None:
        raise StoreError(f"store {store.uri}: {path} was there a moment ago and is gone; look again")
    return found
