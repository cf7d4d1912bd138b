"""Prefect automations: silent runs are marked crashed, failures and late schedules told, new data start a retraining.

They look only at runs with Fettle's tag, so that other people's runs, with rarer signs of life, are left alone.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from http import HTTPStatus
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType, FlowRunFilterTags
from prefect.client.schemas.objects import StateType
from prefect.events.actions import CallWebhook, ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import Event, RelatedResource, Resource, ResourceSpecification
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import get_current_settings

from deployments.catalogue import TAG, Wanted
from deployments.changes import Action, Change
from flows.states import ENDED, REFUSED, WAITING

NEW_DATA = "fettle.new-data"
"""Event that starts a retraining; its resource is `fettle.recipe.NAME`."""

_OWNER = "fettle.deployments"
"""The resource that the automations belong to: what tells them from those of other people."""
_WATCHED = {StateType.RUNNING: "fettle.flow-run.running", StateType.PENDING: "fettle.flow-run.pending"}
"""Events that start the wait for a sign of life where the last one was heard by no server."""
_RETRAIN = "Fettle: new data for "
_RUN = ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"})
_EACH_RUN = {"prefect.resource.id"}


def new_data_resource(recipe: str) -> str:
    """The resource of a new-data event for a recipe's name."""
    return f"fettle.recipe.{recipe}"


def apply(
    client: SyncPrefectClient, wanted: Wanted, retrained: Mapping[str, UUID], webhook: UUID | None
) -> list[Change]:
    """Make the automations as wanted; `retrained` has the deployments of `retrain` by recipe.

    What Fettle made and is not wanted is removed; of several that bear one name a single one stays.
    """
    listed = automations(wanted, retrained, webhook)
    before = _by_name(client)
    changes = [_apply(client, each, before.get(each.name, [])) for each in listed]
    names = {each.name for each in listed}
    for name, there in _by_name(client).items():
        # Two calls at once may both have made one, as the server lets names repeat.
        superfluous = there[1:] if name in names else there
        for each in superfluous:
            _delete(client, each)
        if name not in names:
            changes.append(Change(what="automation", name=name, action="removed"))
    return changes


def automations(wanted: Wanted, retrained: Mapping[str, UUID], webhook: UUID | None) -> list[AutomationCore]:
    """All of them."""
    listed = [_silent(wanted), _never_begun(wanted)]
    if webhook is not None:
        listed += [_failed(webhook), _late(webhook, wanted)]
    return [*listed, *(_new_data(recipe, each) for recipe, each in retrained.items())]


def watch_unended(client: SyncPrefectClient) -> None:
    """Wait for a sign of life of every run that is called running or pending: its process may have gone together with
    the server, which then does not know that it waits."""
    for state, event in _WATCHED.items():
        in_state = FlowRunFilter(
            tags=FlowRunFilterTags(all_=[TAG]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[state])),
        )
        runs = client.read_flow_runs(flow_run_filter=in_state)
        if runs:
            events = [_told_of(run.id, event).model_dump(mode="json") for run in runs]
            client.request("POST", "/events", json=events)


def _told_of(run: UUID, event: str) -> Event:
    tag = RelatedResource({"prefect.resource.id": f"prefect.tag.{TAG}", "prefect.resource.role": "tag"})
    return Event(event=event, resource=Resource({"prefect.resource.id": f"prefect.flow-run.{run}"}), related=[tag])


def _silent(wanted: Wanted) -> AutomationCore:
    seconds = wanted.silent_seconds
    return _automation(
        "Fettle: silent runs have crashed",
        f"A run whose process gave no sign of life for {seconds} seconds is marked crashed.",
        EventTrigger(
            type="event",
            posture=Posture.Proactive,
            match=_RUN,
            match_related=[_tagged(TAG)],
            for_each=_EACH_RUN,
            after={
                "prefect.flow-run.heartbeat",
                "prefect.flow-run.Running",
                "prefect.flow-run.Retrying",
                _WATCHED[StateType.RUNNING],
            },
            expect={"prefect.flow-run.heartbeat"}
            # One that waits for a person or a time has no process; marking one that ended is refused by the server.
            | {f"prefect.flow-run.{state}" for state in ("Suspended", "Paused", *WAITING, *_ENDS)},
            within=timedelta(seconds=seconds),
        ),
        _crash(f"No sign of life for {seconds} seconds: its process or machine is gone. Retry goes on from the last "
               "finished stage."),
    )  # fmt: skip


def _never_begun(wanted: Wanted) -> AutomationCore:
    seconds = wanted.pending_seconds
    return _automation(
        "Fettle: runs that never began have crashed",
        f"A run that a worker took and that has not begun {seconds} seconds later is marked crashed.",
        EventTrigger(
            type="event",
            posture=Posture.Proactive,
            match=_RUN,
            match_related=[_tagged(TAG)],
            for_each=_EACH_RUN,
            after={"prefect.flow-run.Pending", _WATCHED[StateType.PENDING]},
            expect={"prefect.flow-run.*"},
            within=timedelta(seconds=seconds),
        ),
        _crash(f"A worker took this run, and {seconds} seconds later it had not begun: the worker may be gone."),
    )


def _failed(webhook: UUID) -> AutomationCore:
    return _automation(
        "Fettle: tell of failed runs",
        "Failed, crashed, timed-out and refused runs are told to the webhook, with link and cause.",
        EventTrigger(
            type="event",
            posture=Posture.Reactive,
            match=_RUN,
            match_related=[_tagged(TAG)],
            expect={f"prefect.flow-run.{state}" for state in ("Failed", "Crashed", "TimedOut", REFUSED)},
        ),
        _message(webhook, "flow_run.state.name | lower", "flow_run.state.message or 'no cause was recorded'"),
    )


def _late(webhook: UUID, wanted: Wanted) -> AutomationCore:
    # Of a run that the schedule made less than five minutes ago Prefect hears some 15 minutes later only: the event
    # waits for the one before it, and what a schedule makes has none.
    cause = (
        "'It was to start at ' ~ flow_run.expected_start_time.strftime('%Y-%m-%d %H:%M UTC') ~ "
        "'. No worker takes runs from ' ~ flow_run.work_pool_name ~ ', or all its slots are taken.'"
    )
    return _automation(
        "Fettle: tell of late schedules",
        f"A scheduled run that is late and has not begun {wanted.late_seconds} seconds later is told to the webhook.",
        EventTrigger(
            type="event",
            posture=Posture.Proactive,
            match=_RUN,
            # Runs that people start wait for a slot in silence.
            match_related=[_tagged(TAG), _tagged("auto-scheduled")],
            for_each=_EACH_RUN,
            after={"prefect.flow-run.Late"},
            expect={"prefect.flow-run.*"},
            within=timedelta(seconds=wanted.late_seconds),
        ),
        _message(webhook, "'late'", cause),
    )


def _new_data(recipe: str, deployment: UUID) -> AutomationCore:
    return _automation(
        f"{_RETRAIN}{recipe}",
        f"The event {NEW_DATA} of the resource {new_data_resource(recipe)} starts retrain/{recipe}.",
        EventTrigger(
            type="event",
            posture=Posture.Reactive,
            match=ResourceSpecification({"prefect.resource.id": new_data_resource(recipe)}),
            expect={NEW_DATA},
        ),
        RunDeployment(type="run-deployment", source="selected", deployment_id=deployment),
    )


_ENDS = ("Completed", "Failed", "Crashed", "Cancelled", "TimedOut", *ENDED)


def _automation(
    name: str, description: str, trigger: EventTrigger, action: ChangeFlowRunState | CallWebhook | RunDeployment
) -> AutomationCore:
    return AutomationCore(name=name, description=description, tags=[TAG], trigger=trigger, actions=[action])


def _tagged(tag: str) -> ResourceSpecification:
    return ResourceSpecification({"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{tag}"})


def _crash(message: str) -> ChangeFlowRunState:
    return ChangeFlowRunState(type="change-flow-run-state", state=StateType.CRASHED, name="Crashed", message=message)


def _message(webhook: UUID, became: str, cause: str) -> CallWebhook:
    """A message as Slack and its likes take it; `became` and `cause` are Jinja expressions."""
    link = f"{get_current_settings().ui_url}/runs/flow-run/"
    text = f"flow.name ~ ' ' ~ flow_run.name ~ ': ' ~ ({became}) ~ '\\n' ~ ({cause})[:1000]"
    # Slack's own marks, such as <!channel>, mean nothing here.
    plain = "replace('&', '&amp;') | replace('<', '&lt;') | replace('>', '&gt;')"
    payload = f"""{{"text": {{{{ (({text}) | {plain} ~ '\\n{link}' ~ flow_run.id) | tojson }}}}}}"""
    return CallWebhook(type="call-webhook", block_document_id=webhook, payload=payload)


def _apply(client: SyncPrefectClient, automation: AutomationCore, there: Sequence[Automation]) -> Change:
    def change(action: Action) -> Change:
        return Change(what="automation", name=automation.name, action=action)

    if not there:
        client.create_automation(automation.model_copy(update={"owner_resource": _OWNER}))
        return change("created")
    if _content(there[0]) == _content(automation):
        return change("unchanged")
    # What a person switched off stays off.
    update = {**automation.model_dump(exclude={"owner_resource"}), "enabled": there[0].enabled}
    client.update_automation(there[0].id, AutomationCore.model_validate(update))
    return change("updated")


def _content(automation: AutomationCore) -> dict[str, object]:
    told = automation.model_dump(include={"name", "description", "tags", "trigger", "actions"})
    return AutomationCore.model_validate(told).model_dump(exclude={"enabled"})


def _by_name(client: SyncPrefectClient) -> dict[str, list[Automation]]:
    """Fettle's automations on the server; of each name in an order that all callers see alike."""
    found: dict[str, list[Automation]] = {}
    for each in sorted(client.read_resource_related_automations(_OWNER), key=lambda each: each.id):
        found.setdefault(each.name, []).append(each)
    return found


def _delete(client: SyncPrefectClient, automation: Automation) -> None:
    try:
        client.delete_automation(automation.id)
    except PrefectHTTPStatusError as error:
        if error.response.status_code != HTTPStatus.NOT_FOUND:  # removed by another call a moment ago
            raise
