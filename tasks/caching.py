"""What makes a function a stage: identity from its arguments, the cache, the retry rule, and what people see."""

import inspect
import logging
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, Protocol

import httpx
from prefect import Task
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.cache_policies import CacheKeyFnPolicy
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import MissingContextError, ObjectAlreadyExists
from prefect.filesystems import WritableFileSystem
from prefect.logging import get_run_logger

from tasks.artifacts.fingerprint import digest
from tasks.artifacts.manifest import Artifact, Identity, Parent
from tasks.artifacts.resource import Resource
from tasks.artifacts.store import Attempt, Store
from tasks.config import Config
from tasks.reporting.tables import escape_markdown, markdown_table

RETRY_DELAYS_SECONDS = tuple(float(each) for each in os.environ.get("FETTLE_RETRY_DELAYS_SECONDS", "2,8,30").split(","))
"""Pauses before each retry; Prefect adds up to half of each at random."""
RECORD = "result.json"

Parameters = ParamSpec("Parameters")


class Watcher(Protocol):
    """Sees stages begin, move and end; the terminal's progress bars are one."""

    def began(self, stage: "Stage[Any]", identity: Identity) -> None: ...
    def moved(self, stage: "Stage[Any]", done: int, total: int | None, unit: str) -> None: ...
    def ended(self, stage: "Stage[Any]", artifact: Artifact, *, cached: bool, seconds: float) -> None: ...


_watchers: ContextVar[tuple[Watcher, ...]] = ContextVar("watchers", default=())


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Let a watcher see every stage that runs inside the block."""
    token = _watchers.set((*_watchers.get(), watcher))
    try:
        yield
    finally:
        _watchers.reset(token)


class Planner(Protocol):
    """Foretells what stages would do, in their place."""

    def foresee(self, stage: "Stage[Any]", identity: Identity, compute: Callable[[], Artifact]) -> Artifact: ...


_planner: ContextVar[Planner | None] = ContextVar("planner", default=None)


@contextmanager
def foretold_by(planner: Planner) -> Iterator[None]:
    """Let the stages inside the block be foretold instead of run."""
    token = _planner.set(planner)
    try:
        yield
    finally:
        _planner.reset(token)


class ArtifactRecords(WritableFileSystem):
    """Prefect's result records, each in the folder of its artifact: `{store}/{stage}/{fingerprint}/result.json`.

    A record is given only when its artifact is there and whole, so a hit is always verified. What keeps a record
    from being read is never a reason to compute again: the stage itself looks into the store first, and raises.
    """

    _block_type_slug = "fettle-artifact-records"
    _block_type_name = "Fettle artifact records"
    store_uri: str

    async def aread_path(self, path: str) -> bytes:
        """The record at `{address}/result.json`."""
        return self._read(path)

    async def awrite_path(self, path: str, content: bytes) -> None:
        """Write a record beside its manifest."""
        self._write(path, content)

    def read_path(self, path: str, **_dispatch: Any) -> bytes:  # type: ignore[override] # Prefect declares it async
        """As `aread_path`; Prefect adds `_sync=True` when it calls a block from synchronous code."""
        return self._read(path)

    def write_path(self, path: str, content: bytes, **_dispatch: Any) -> None:  # type: ignore[override]
        """As `awrite_path`."""
        self._write(path, content)

    def _read(self, path: str) -> bytes:
        store = Store(self.store_uri)
        if store.find(path.removesuffix(f"/{RECORD}")) is None:
            raise FileNotFoundError(path)
        record = store.files.read(path)
        if record is None:
            raise FileNotFoundError(path)
        return record

    def _write(self, path: str, content: bytes) -> None:
        Store(self.store_uri).files.replace(path, content)


@cache
def _records(store_uri: str) -> ArtifactRecords:
    # Prefect wants the block of a result storage saved; it holds an address and no secret.
    records = ArtifactRecords(store_uri=store_uri)
    for pause_seconds in (0.2, 0.5, 1.0, 2.0):
        try:
            records.save(f"store-{digest(store_uri)[:12]}", overwrite=True)
        except ObjectAlreadyExists:
            # Another run registers the same kind of block at this moment.
            time.sleep(pause_seconds)
        else:
            return records
    raise ConnectionError(f"Prefect's server would not take the block for {store_uri}; run again")


def is_transient(_task: Any, _run: Any, state: Any) -> bool:
    """Retry what storage, the network or the machine did; never bad config, bad data or a diverged loss.

    Errors that can be either (of the store, of a trainer process) say so themselves.
    """
    error = state.result(raise_on_failure=False)
    transient = getattr(error, "transient", None)
    return isinstance(error, ConnectionError | TimeoutError) if transient is None else bool(transient)


RETRY_RULE: dict[str, Any] = {
    "retries": len(RETRY_DELAYS_SECONDS),
    "retry_delay_seconds": list(RETRY_DELAYS_SECONDS),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": is_transient,
}
"""What every task that touches the store is made with."""


@dataclass(frozen=True)
class Stage(Generic[Parameters]):
    """A cached step of the pipeline. `stage(store, config, *parents)` gives its artifact.

    All arguments after the store are identity: the configuration by value, artifacts and resources by content.
    """

    name: str
    """The noun that addresses begin with."""
    verb: str
    version: int
    body: Callable[Concatenate[Attempt, Parameters], None]
    task: Task[Any, Artifact] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        made: Task[Any, Artifact] = Task(
            fn=self._run,
            name=self.verb,
            description=inspect.getdoc(self.body),
            persist_result=True,
            result_serializer="json",
            cache_policy=CacheKeyFnPolicy(cache_key_fn=_record_path),
        )
        object.__setattr__(self, "task", made)

    def identity(self, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Identity:
        """What decides the result for these arguments, read off the signature."""
        bound = inspect.signature(self.body).bind(None, *args, **kwargs)
        config: dict[str, Any] = {}
        parents: list[Parent] = []
        for name, value in list(bound.arguments.items())[1:]:
            if isinstance(value, Artifact | Resource):
                parents.append(value.as_parent(name))
            elif isinstance(value, Config):
                config.update(value.identity())
            elif isinstance(value, tuple | list) and all(isinstance(item, Artifact | Resource) for item in value):
                parents.extend(item.as_parent(f"{name}[{index}]") for index, item in enumerate(value))
            else:
                config[name] = value
        return Identity(stage=self.name, version=self.version, config=config, parents=tuple(parents))

    def __call__(self, store: Store, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Artifact:
        """The stage's artifact, from the cache or computed; as a Prefect task inside a flow."""
        identity = self.identity(*args, **kwargs)
        work = _Work(store, identity, lambda attempt: self.body(attempt, *args, **kwargs))
        planner = _planner.get()
        if planner is not None:
            return planner.foresee(self, identity, lambda: self._run(work))
        for watcher in _watchers.get():
            watcher.began(self, identity)
        began = time.monotonic()
        artifact = self._run(work) if FlowRunContext.get() is None else self._run_as_task(work)
        for watcher in _watchers.get():
            watcher.ended(self, artifact, cached=not work.was_computed, seconds=time.monotonic() - began)
        return artifact

    def _run_as_task(self, work: "_Work") -> Artifact:
        named = self.task.with_options(
            task_run_name=f"{self.verb} {work.identity.fingerprint[:8]}",
            result_storage=_records(work.store.uri),
            **RETRY_RULE,
        )
        artifact = named(work)
        _show_counts(self, artifact, work.store)
        return artifact

    def _run(self, work: "_Work") -> Artifact:
        # The store, not Prefect's record, decides: a record that could not be read must never start a second training.
        found = work.store.find(work.identity.address)
        if found is not None:
            return found
        began = time.monotonic()
        with work.store.attempt(work.identity, progress=_progress_of(self)) as attempt:
            work.compute(attempt)
            artifact = attempt.commit(provenance(time.monotonic() - began))
        work.was_computed = True
        return artifact


class _Work:
    """What travels into the task: where, what and how. No data class, or Prefect would search it for futures."""

    def __init__(self, store: Store, identity: Identity, compute: Callable[[Attempt], None]) -> None:
        self.store, self.identity, self.compute = store, identity, compute
        self.was_computed = False


def _record_path(_context: Any, parameters: dict[str, Any]) -> str:
    work: _Work = parameters["work"]
    return f"{work.identity.address}/{RECORD}"


def stage(
    name: str, *, version: int
) -> Callable[[Callable[Concatenate[Attempt, Parameters], None]], Stage[Parameters]]:
    """Make a stage of a function that takes the attempt to write to, a configuration, and parents.

    Raise the version whenever the function's output changes for equal input.
    """

    def make(body: Callable[Concatenate[Attempt, Parameters], None]) -> Stage[Parameters]:
        return Stage(name=name, verb=body.__name__, version=version, body=body)

    return make


def provenance(seconds: float) -> dict[str, Any]:
    """Who computed an artifact, when, where and how long: never hashed."""
    run = FlowRunContext.get()
    return {
        "seconds": round(seconds, 3),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "host": platform.node(),
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "packages": _packages(),
        "git_commit": _git_commit(),
        "flow_run": str(run.flow_run.id) if run is not None and run.flow_run is not None else None,
    }


@cache
def _packages() -> dict[str, str]:
    names = ("fettle", "prefect", "torch", "transformers", "trl", "peft", "pyarrow", "tokenizers")
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@cache
def _git_commit() -> str | None:
    here = Path(__file__).resolve().parent
    try:
        answer = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None


def _progress_of(current: Stage[Any]) -> Callable[[int, int | None, str], None]:
    watchers = _watchers.get()
    bar = _ProgressArtifact(current) if TaskRunContext.get() is not None else None

    def report(done: int, total: int | None, unit: str) -> None:
        for watcher in watchers:
            watcher.moved(current, done, total, unit)
        if bar is not None and total:
            bar.show(done / total, f"{current.verb}: {done:,} of {total:,} {unit}")

    return report


class _ProgressArtifact:
    """A progress bar in Prefect's UI, written at most every few seconds and only for work that takes that long."""

    seconds_between_updates = 3.0

    def __init__(self, current: Stage[Any]) -> None:
        self.stage = current
        self.last = time.monotonic()
        self.id: Any = None

    def show(self, share: float, description: str) -> None:
        with for_people():
            self._show(share, description)

    def _show(self, share: float, description: str) -> None:
        now = time.monotonic()
        if now - self.last < self.seconds_between_updates and (share < 1 or self.id is None):
            return
        self.last = now
        percent = min(100.0, 100 * share)
        if self.id is None:
            self.id = create_progress_artifact(percent, key=f"{self.stage.name}-progress", description=description)
        else:
            update_progress_artifact(self.id, percent, description=description)


@contextmanager
def for_people() -> Iterator[None]:
    """What only shows something is left out where Prefect's server does not take it: hours of work are worth more."""
    try:
        yield
    except httpx.HTTPError as error:
        logger().warning("Prefect's server did not take a page of this run: %s", error)


def _show_counts(current: Stage[Any], artifact: Artifact, store: Store) -> None:
    """Rows by fate, warnings, and each table among the facts, as a page in Prefect's UI."""
    counts = artifact.counts
    rows = [{"rows": "read", "count": counts.read}, {"rows": "kept", "count": counts.kept}]
    rows += [{"rows": f"dropped: {reason}", "count": number} for reason, number in sorted(counts.dropped.items())]
    text = f"`{store.uri}/{artifact.address}`\n\n{markdown_table(rows)}"
    for warning in artifact.warnings:
        logger().warning(warning)
        text += f"\n\n**Warning:** {escape_markdown(warning)}"
    for name, value in store.manifest(artifact).facts.items():
        if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
            text += f"\n\n### {name}\n\n{markdown_table(value)}"
    with for_people():
        create_markdown_artifact(text, key=current.name, description=f"{current.verb}: rows read, kept and dropped")


def logger() -> logging.Logger | logging.LoggerAdapter[Any]:
    """The run's logger inside Prefect, a plain one outside."""
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger("fettle")
