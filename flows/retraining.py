"""Retrain: the same pipeline as `finetune`, when something changed since the last run that came to a verdict.

However many schedules and events start it, the same thing is never trained twice: what was decided is not begun again,
refused or not, and what another run has begun is waited for.
"""

import os
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import ValidationError

from flows.approving import awaited
from flows.errors import Result
from flows.finetune import carry_out
from flows.forecast import require_sound
from flows.hub import is_hub_name
from flows.planning import Step, foretell
from flows.postponing import is_of, postpone, runs_under_way, times_postponed
from flows.recipe import Inputs, Recipe, find_inputs
from flows.recurring import device_cost, month_began, night_after, quiet_from
from flows.shown.naming import run_name
from flows.since_published import RowTeller, file_changes, published_run, setting_changes, tell_changes
from flows.states import NIGHT, NOTHING_TO_DO, OVER_BUDGET, OVERTAKEN, QUIET
from tasks.artifacts import runs
from tasks.artifacts.filesystem import Files
from tasks.artifacts.resource import Resource
from tasks.artifacts.store import DEFAULT_STORE, Store
from tasks.caching import watched_by
from tasks.promotion import PublicationConfig
from tasks.trainer.launch import TrainerFailed

_LOOK_AGAIN = timedelta(minutes=2)


@flow(name="retrain", flow_run_name=run_name)
def retrain(recipe: Recipe, store_uri: str = DEFAULT_STORE) -> Result | None:
    """Train again if the recipe, its data or Fettle's stages changed since the last run that came to a verdict.

    Args:
        recipe: What to train, on what, and under `retraining` when.
        store_uri: Folder or s3://bucket/prefix of the artifacts.
    """
    require_sound(recipe)
    try:
        # Prefect takes a state for the run's own.
        return cast(Result | None, _retrain(recipe, Store(store_uri)))
    except Exception as error:
        if not _may_pass(error) or len(times_postponed(NIGHT)) >= recipe.retraining.night_retries:
            raise
        begin = night_after(datetime.now(UTC), recipe.retraining)
        return cast(None, postpone(NIGHT, begin, f"{type(error).__name__}: {error}"[:1000]))


def _retrain(recipe: Recipe, store: Store) -> Result | State[Any]:
    store.probe()
    if awaited(store, recipe.name) is not None:
        return carry_out(recipe, store)
    inputs = find_inputs(recipe)
    steps = foretell(recipe, inputs, store)
    ended = _decided(store, recipe, steps) or _must_wait(store, recipe, inputs) or _over_budget(store, recipe, steps)
    return ended or _train(store, recipe, inputs, steps)


def _may_pass(error: BaseException | None) -> bool:
    """Whether what failed may work some hours later: a store, a network, or a process that was ended from outside."""
    while error is not None:
        told = getattr(error, "transient", None)
        if told is not None or isinstance(error, ConnectionError | TimeoutError):
            return told is not False
        error = error.__cause__ or error.__context__
    return False


def _decided(store: Store, recipe: Recipe, steps: list[Step]) -> State[Any] | None:
    """The state to end in where a run came to a verdict on exactly this; a new layout of the report is no new model."""
    if any(step.status != "cached" for step in steps if step.verb != "publish"):
        return None
    weighed = {step.address for step in steps if step.verb == "evaluate"}
    for run in runs.recent(store, recipe.name):
        if run.outcome in ("published", "refused") and weighed <= {record.address for record in run.stages}:
            if not _same_terms(run, recipe):
                return None
            since = f"version {run.version}" if run.version else "the run that the gate refused"
            told = f"nothing changed since {since}, decided by run {run.id}: {run.outcome}. {run.message}"
            return Completed(name=NOTHING_TO_DO, message=told)
    return None


def _same_terms(run: runs.Run, recipe: Recipe) -> bool:
    try:
        return PublicationConfig.model_validate(run.recipe.get("publication", {})) == recipe.publication
    except ValidationError:
        return False


def _must_wait(store: Store, recipe: Recipe, inputs: Inputs) -> State[Any] | None:
    """Postpone the run while another one trains this recipe, or while its sources still change."""
    now = datetime.now(UTC)
    for run in runs_under_way(["retrain", "finetune"]):
        if is_of(run, recipe.name, store):
            return postpone(OVERTAKEN, now + _LOOK_AGAIN, f"run {run.name} of this recipe is under way")
    changed = max(filter(None, map(_last_change, inputs.sources)), default=None)
    waiting_since = min(times_postponed(QUIET), default=now)
    begin = quiet_from(now, changed, waiting_since, recipe.retraining)
    if begin <= now or changed is None:
        return None
    seconds = max(0.0, (now - changed).total_seconds())
    return postpone(QUIET, begin, f"a source changed {seconds:.0f} seconds ago and may not be complete")


def _last_change(source: Resource) -> datetime | None:
    """When a file of a source was last written; not known of what the Hub gave, which is of a fixed revision."""
    if is_hub_name(source.uri):
        return None
    folders: dict[str, set[str]] = {}
    for path in source.paths.values():
        folder, _, name = path.rpartition("/")
        folders.setdefault(folder, set()).add(name)
    times = [time for folder, names in folders.items() for time in _written(folder, names)]
    return datetime.fromtimestamp(max(times), UTC) if times else None


def _written(folder: str, names: set[str]) -> list[float]:
    if "://" not in folder:
        return [os.stat(f"{folder}/{name}").st_mtime for name in names]
    now = datetime.now(UTC).timestamp()
    return [now - entry.age_seconds for path, entry in Files(folder).entries("").items() if path in names]


def _over_budget(store: Store, recipe: Recipe, steps: list[Step]) -> State[Any] | None:
    """The state to end in where this month's budget does not suffice for what training is estimated to cost."""
    left = _budget_left(store, recipe)
    train = next(step for step in steps if step.verb == "train")
    if left is None or train.status == "cached":
        return None
    estimated = train.training.cost if train.training else None
    if left > 0 and (estimated is None or estimated <= left):
        return None
    most = recipe.retraining.monthly_budget
    told = f"of this month's budget of {most:g}, {max(left, 0.0):.2f} are left"
    told += f", and training is estimated at {estimated:.2f}" if estimated is not None else ""
    return Completed(
        name=OVER_BUDGET, message=f"{told}. It waits for the next month, or for a higher retraining.monthly_budget."
    )


def _budget_left(store: Store, recipe: Recipe) -> float | None:
    most = recipe.retraining.monthly_budget
    if most is None:
        return None
    began = month_began(datetime.now(UTC), recipe.retraining)
    return most - device_cost(runs.recent(store, recipe.name), began)


def _train(store: Store, recipe: Recipe, inputs: Inputs, steps: list[Step]) -> Result | State[Any]:
    left = _budget_left(store, recipe)
    before = published_run(store, recipe)
    with ExitStack() as watched:
        if before is not None:
            reasons = [f"{step.verb}: {why}" for step in steps for why in step.why]
            files, settings = file_changes(store, before, recipe, inputs), setting_changes(before, recipe)
            tell_changes(before, files, settings, reasons)
            watched.enter_context(watched_by(RowTeller(store, before)))
        try:
            return carry_out(recipe, store, inputs=inputs, most_cost=left)
        except TrainerFailed as failed:
            own = recipe.training.cost.most
            if failed.kind != "budget" or left is None or (own is not None and own <= left):
                raise
            told = f"{failed.message} (This month's budget has {left:.2f} left.)"
            return Completed(name=OVER_BUDGET, message=told)
