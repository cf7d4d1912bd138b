"""A person's word on a model, given in Prefect's UI.

The run leaves its worker and waits as "Suspended". Whoever resumes it fills in a form that shows the gate's verdict. It
then goes on with that answer about that very version, whatever became of the sources meanwhile.
"""

from typing import Any, Literal

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import State
from prefect.flow_runs import resume_flow_run, suspend_flow_run
from prefect.input import RunInput
from prefect.states import Completed
from pydantic import Field

from flows.errors import Result
from flows.postponing import is_of, own_flow_run
from flows.shown.links import report_link
from flows.shown.scores import score_rows
from flows.states import REJECTED
from tasks.artifacts import aliases, registry, runs
from tasks.artifacts.approvals import approval, reject
from tasks.artifacts.registry import Version
from tasks.artifacts.store import Store
from tasks.gate_record import read_gates
from tasks.promotion import PublicationConfig, approve, needs_approval
from tasks.reporting.gathered import score_facts
from tasks.reporting.tables import escape_markdown, markdown_table

_KEY = "approval-of-version-"
_SECONDS_PER_DAY = 24 * 3600


class Decision(RunInput):
    """What a person answers."""

    decision: Literal["approve", "reject"] = Field(
        description="Whether the model may be used under its alias.", json_schema_extra={"position": 0}
    )
    by: str = Field(pattern=r"\S", description="Your name, kept with the version.", json_schema_extra={"position": 1})
    note: str = Field("", description="What you looked at, or what is wrong.", json_schema_extra={"position": 2})


def awaited(store: Store, model: str) -> Result | None:
    """What this very run came to before it was suspended for a person's word; none where it was not."""
    flow_run = own_flow_run()
    keys = (flow_run.empirical_policy.pause_keys or ()) if flow_run else ()
    numbers = [int(key.removeprefix(_KEY)) for key in keys if key.startswith(_KEY)]
    if not numbers:
        return None
    version = registry.version(store, model, max(numbers))
    run = next((run for run in runs.recent(store, model) if run.version == version.version), None)
    gates = read_gates(store, version.evaluation)
    pointing = aliases.aliases(store, model).items()
    return Result(
        run=run.id if run else "",
        verdict=gates.verdict,
        reason=gates.reason,
        publication=version.publication,
        evaluation=version.evaluation,
        version=version.version,
        aliases=tuple(name for name, number in pointing if number == version.version),
        waiting=needs_approval(store, version),
    )


def await_approval(store: Store, model: str, result: Result) -> Result | State[Any]:
    """The result after a person's word on its version, in a run of a deployment; elsewhere the result as it is.

    The first call ends the process; the call after the run was resumed returns. What it returns after a rejection is
    the run's final state, "Rejected", with the result in it.
    """
    flow_run = own_flow_run()
    if result.version is None or flow_run is None or flow_run.deployment_id is None:
        return result
    key = f"{_KEY}{result.version}"
    if not result.waiting and key not in (flow_run.empirical_policy.pause_keys or ()):
        return result
    version = registry.version(store, model, result.version)
    days = PublicationConfig.model_validate(version.terms).approval_days
    form = Decision.with_initial_data(description=_told(store, version, result))
    answer = suspend_flow_run(wait_for_input=form, timeout=round(days * _SECONDS_PER_DAY), key=key)
    if answer.decision == "approve":
        return _approved(store, version, result, answer)
    return _rejected(store, version, result, answer)


def pass_on(store: Store, model: str, version: int, decision: str, *, by: str, note: str) -> list[str]:
    """Have the runs that wait for a person's word on a version go on with one that was given elsewhere; their names."""
    suspended = FlowRunFilter.model_validate({"state": {"name": {"any_": ["Suspended"]}}})
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(flow_run_filter=suspended, limit=200)
    asked = f"{_KEY}{version}"
    waiting = [run for run in found if asked in (run.empirical_policy.pause_keys or ()) and is_of(run, model, store)]
    for run in waiting:
        resume_flow_run(run.id, run_input={"decision": decision, "by": by, "note": note})
    return [run.name for run in waiting]


def _approved(store: Store, version: Version, result: Result, answer: Decision) -> Result:
    given, published = approve(store, version.model, version.version, by=answer.by.strip(), note=answer.note)
    _note(store, result, "published", f"approved by {given.by}" + (f": {given.note}" if given.note else ""))
    told = {name: getattr(published, name) for name in ("aliases", "waiting", "remarks")}
    return result.model_copy(update=told)


def _rejected(store: Store, version: Version, result: Result, answer: Decision) -> State[Any]:
    words = f"version {version.version} of {version.model} was rejected by {answer.by.strip()}"
    words += f": {answer.note}" if answer.note else ""
    earlier = approval(store, version)
    if earlier is not None:
        words += f" (but {earlier.by} had approved it by then; a rollback takes it out of use)"
    else:
        reject(store, version, by=answer.by.strip(), note=answer.note)
    _note(store, result, "refused", words)
    return Completed(name=REJECTED, message=words, data=result)


def _note(store: Store, result: Result, outcome: runs.Outcome, message: str) -> None:
    """Keep a person's word in the record of the run."""
    record = runs.find(store, result.run) if result.run else None
    if record is not None:
        runs.save(store, record.model_copy(update={"outcome": outcome, "message": message}))


def _told(store: Store, version: Version, result: Result) -> str:
    """The verdict first, then the scores, and where the report lies."""
    scores = score_facts(read_gates(store, version.evaluation).scores)
    rows = score_rows(score for score in scores if score.verdict is not None)
    return (
        f"## {version.model}, version {version.version}: {result.verdict}\n\n{escape_markdown(result.reason)}\n\n"
        f"{markdown_table(rows)}\n\n{report_link(store, result.run, result.publication)}"
    )
