"""Bring a Prefect server to what is wanted: again and again without duplicates, and without touching others' things."""

import inspect
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib import import_module, metadata
from typing import Any, NamedTuple
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import (
    DeploymentCreate,
    DeploymentScheduleCreate,
    DeploymentUpdate,
    WorkPoolCreate,
    WorkPoolUpdate,
)
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectHTTPStatusError
from prefect.flows import Flow
from prefect.utilities.callables import parameter_schema
from prefect.workers.process import ProcessWorker

from deployments import automations, webhook
from deployments.catalogue import FLOWS, TAG, Deployment, Pool, Wanted, deployments, pools
from deployments.changes import Action, Change
from deployments.demonstration import demo_recipe
from tasks.caching import provenance

HEARTBEAT_SECONDS = 30
"""How often a run gives a sign of life; Prefect allows no shorter time."""

_LABEL = "fettle.deployment"
"""Marks what Fettle made by its full name: a copy that somebody makes bears another name, and is theirs."""
_SLUG = "fettle"
"""Name of the schedule that is ours; people may add their own."""
_PAGE = 200


class ApplyError(Exception):
    """The server cannot be brought to what is wanted."""


def apply(wanted: Wanted) -> list[Change]:
    """Make pools, deployments, webhook and automations as wanted, on the server of Prefect's current settings.

    What an earlier call made and this one does not want is removed. What a person switched off stays off.
    Raises `ApplyError` where somebody else's deployment has the name of one of Fettle's, `WebhookError` where a
    webhook is wanted and no address is set, and Prefect's own errors where the server fails.
    """
    with get_client(sync_client=True) as client:
        changes = [_apply_pool(client, pool) for pool in pools(wanted)]
        changes += webhook.apply(wanted.webhook)
        changes += _apply_deployments(client, wanted)
        changes += automations.apply(client, wanted, _retrained(client), webhook.block_id(client))
        automations.watch_unended(client)
    return changes


def _apply_pool(client: SyncPrefectClient, pool: Pool) -> Change:
    def change(action: Action) -> Change:
        return Change(what="pool", name=pool.name, action=action)

    try:
        there = client.read_work_pool(pool.name)
    except ObjectNotFound:
        new = WorkPoolCreate(
            name=pool.name,
            description=pool.description,
            type=ProcessWorker.type,
            base_job_template=ProcessWorker.get_default_base_job_template(),
            concurrency_limit=pool.slots or pool.slots_when_new,
        )
        try:
            client.create_work_pool(new)
        except ObjectAlreadyExists:  # made by another call a moment ago
            return _apply_pool(client, pool)
        return change("created")
    if pool.slots is None or there.concurrency_limit == pool.slots:
        return change("unchanged")
    client.update_work_pool(pool.name, WorkPoolUpdate(concurrency_limit=pool.slots))
    return change("updated")


class _There(NamedTuple):
    """A deployment on the server, with the name of its flow."""

    flow: str
    found: DeploymentResponse

    @property
    def id(self) -> UUID:
        return self.found.id

    @property
    def name(self) -> str:
        return self.found.name

    @property
    def full_name(self) -> str:
        return f"{self.flow}/{self.found.name}"


def _is_ours(there: _There) -> bool:
    return there.found.labels.get(_LABEL) == there.full_name


def _apply_deployments(client: SyncPrefectClient, wanted: Wanted) -> list[Change]:
    before = {each.full_name: each for each in _there(client, FLOWS)}
    listed = deployments(wanted, demo_recipe())
    foreign = [each.full_name for each in listed if each.full_name in before and not _is_ours(before[each.full_name])]
    if foreign:
        raise ApplyError(
            f"there are deployments called {', '.join(foreign)} that Fettle did not make; rename or delete them"
        )
    changes = [_apply_deployment(client, each, before.get(each.full_name)) for each in listed]
    return [*changes, *_remove(client, _unwanted(before.values(), listed, wanted))]


def _retrained(client: SyncPrefectClient) -> dict[str, UUID]:
    """The `retrain` deployments of recipes, with their ids."""
    return {each.name: each.id for each in _there(client, ["retrain"]) if _is_ours(each) and each.name != each.flow}


def _there(client: SyncPrefectClient, flows: Iterable[str]) -> Iterator[_There]:
    """All deployments of these flows, whoever made them."""
    names = {client.create_flow_from_name(flow): flow for flow in flows}
    of_ours = FlowFilter(name=FlowFilterName(any_=list(names.values())))
    offset = 0
    while page := client.read_deployments(flow_filter=of_ours, limit=_PAGE, offset=offset):
        yield from (_There(names[each.flow_id], each) for each in page)
        offset += len(page)


def _unwanted(before: Iterable[_There], listed: Sequence[Deployment], wanted: Wanted) -> Iterator[_There]:
    names = {each.full_name for each in listed}
    for each in before:
        # Without recipes those of an earlier call stay.
        of_recipe = each.flow == "retrain" and not wanted.recipes
        if _is_ours(each) and each.full_name not in names and not of_recipe:
            yield each


def _remove(client: SyncPrefectClient, unwanted: Iterable[_There]) -> Iterator[Change]:
    for each in unwanted:
        try:
            client.delete_deployment(each.id)
        except ObjectNotFound:  # removed by another call a moment ago
            continue
        yield Change(what="deployment", name=each.full_name, action="removed")


def _apply_deployment(client: SyncPrefectClient, deployment: Deployment, there: _There | None) -> Change:
    def change(action: Action) -> Change:
        return Change(what="deployment", name=deployment.full_name, action=action)

    fields = _fields(deployment)
    if there is None:
        try:
            _create(client, deployment, fields)
        except PrefectHTTPStatusError:
            # Another call may have made it a moment ago.
            there = next((each for each in _there(client, [deployment.flow]) if each.name == deployment.name), None)
            if there is None:
                raise
        else:
            return change("created")
    differs = _as_there(there.found) != fields
    if differs:
        client.update_deployment(there.id, DeploymentUpdate(**fields))
    rescheduled = _apply_schedule(client, deployment, there.found)
    return change("updated" if differs or rescheduled else "unchanged")


def _fields(deployment: Deployment) -> dict[str, Any]:
    """What is compared and written; a person's pause, own schedules and labels are not among it."""
    form = _form(deployment.entrypoint)
    return {
        "version": provenance(0.0)["git_commit"] or metadata.version("fettle"),
        "description": f"{form.told}\n\n{deployment.remark}" if deployment.remark else form.told,
        "tags": [TAG],
        "parameters": deployment.parameters,
        "parameter_openapi_schema": form.schema,
        "enforce_parameter_schema": True,
        "entrypoint": deployment.entrypoint,
        "work_pool_name": deployment.pool,
        "job_variables": {"env": {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS)}},
        "concurrency_limit": deployment.slots,
    }


def _as_there(found: DeploymentResponse) -> dict[str, Any]:
    names = ("version", "description", "tags", "parameters", "parameter_openapi_schema", "enforce_parameter_schema")
    fields = {name: getattr(found, name) for name in (*names, "entrypoint", "work_pool_name", "job_variables")}
    limit = found.global_concurrency_limit
    return fields | {"concurrency_limit": limit.limit if limit else None}


class _Form(NamedTuple):
    """What a flow tells people."""

    told: str
    schema: dict[str, Any]


@cache
def _form(entrypoint: str) -> _Form:
    module, _, name = entrypoint.rpartition(".")
    flow: Flow[..., Any] = getattr(import_module(module), name)
    told = inspect.cleandoc(flow.description or "").split("\n\n")[0].replace("\n", " ")
    schema = parameter_schema(flow).model_dump(mode="json", exclude_unset=True)
    return _Form(told, schema)


def _create(client: SyncPrefectClient, deployment: Deployment, fields: dict[str, Any]) -> None:
    schedule = _schedule(deployment)
    new = DeploymentCreate(
        name=deployment.name,
        flow_id=client.create_flow_from_name(deployment.flow),
        labels={_LABEL: deployment.full_name},
        schedules=[DeploymentScheduleCreate(schedule=schedule, slug=_SLUG)] if schedule else [],
        **fields,
    )
    # The client's own method takes no labels.
    client.request("POST", "/deployments/", json=new.model_dump(mode="json", exclude_unset=True))


def _schedule(deployment: Deployment) -> CronSchedule | None:
    return CronSchedule(cron=deployment.cron, timezone=deployment.timezone) if deployment.cron else None


def _apply_schedule(client: SyncPrefectClient, deployment: Deployment, found: DeploymentResponse) -> bool:
    """Make our schedule as wanted; gives whether it had to be changed."""
    schedule = _schedule(deployment)
    ours = next((each for each in found.schedules if each.slug == _SLUG), None)
    if (ours.schedule if ours else None) == schedule:
        return False
    if ours is None and schedule is not None:
        try:
            client.create_deployment_schedules(found.id, [DeploymentScheduleCreate(schedule=schedule, slug=_SLUG)])
        except PrefectHTTPStatusError:
            # Another call may have made it a moment ago.
            if all(each.slug != _SLUG for each in client.read_deployment_schedules(found.id)):
                raise
    elif ours is not None and schedule is not None:
        client.update_deployment_schedule(found.id, ours.id, schedule=schedule)
    elif ours is not None:
        client.delete_deployment_schedule(found.id, ours.id)
    return True
