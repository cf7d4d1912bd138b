"""The record of each run in the store: which recipe, which artifacts, how it ended."""

import secrets
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import ValidationError

from tasks.artifacts.errors import CorruptArtifactError
from tasks.artifacts.store import Store
from tasks.config import Config

FOLDER = "runs"

Outcome = Literal["running", "published", "refused", "evaluated", "failed"]


class StageRecord(Config):
    """One stage of a run."""

    stage: str
    verb: str
    address: str
    cached: bool
    seconds: float


class Run(Config):
    """A run of a recipe."""

    id: str
    recipe_name: str
    recipe: dict[str, Any]
    started: str
    outcome: Outcome = "running"
    message: str = ""
    seconds: float = 0.0
    stages: tuple[StageRecord, ...] = ()
    making: str = ""
    """Address of the artifact that is being made, or was when the run failed."""
    version: int | None = None

    @property
    def path(self) -> str:
        """Where the record lies in the store."""
        return f"{FOLDER}/{self.recipe_name}/{self.id}.json"


def begin(recipe_name: str, recipe: dict[str, Any]) -> Run:
    """A new run, named by its time (UTC) so that names sort by age."""
    now = datetime.now(UTC)
    run_id = f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    return Run(id=run_id, recipe_name=recipe_name, recipe=recipe, started=now.isoformat(timespec="seconds"))


def save(store: Store, run: Run) -> None:
    """Write a run's record in place of its earlier one."""
    store.files.replace(run.path, run.model_dump_json(indent=1).encode())


def recent(store: Store, recipe_name: str | None = None, *, strict: bool = False) -> list[Run]:
    """Runs, the newest first. A record that cannot be read is passed over, or raises where every run matters."""
    prefix = f"{FOLDER}/{recipe_name}" if recipe_name else FOLDER
    paths = [path for path in store.files.sizes(prefix) if path.endswith(".json")]
    runs = [run for path in paths if (run := read(store, path, strict=strict)) is not None]
    return sorted(runs, key=lambda run: run.id, reverse=True)


def read(store: Store, path: str, *, strict: bool = False) -> Run | None:
    """The record at a path; none where none is. One that cannot be read is passed over, or raises."""
    raw = store.files.read(path)
    if raw is None:
        return None
    try:
        return Run.model_validate_json(raw)
    except ValidationError as error:
        if not strict:
            return None
        raise CorruptArtifactError(
            f"store {store.uri}: the run record {path} is not readable ({error.errors()[0]['msg']}), so nobody knows "
            "which artifacts it needs. Delete the file if the run is of no more use."
        ) from None


def find(store: Store, run_id: str) -> Run | None:
    """The run whose id begins with the given text; none where no run or more than one does."""
    matches = [run for run in recent(store) if run.id.startswith(run_id)]
    return matches[0] if len(matches) == 1 else None
