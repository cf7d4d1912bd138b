"""Retraining: only when something changed, once however many ask for it, within a budget, and up to a person's word."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
import yaml
from prefect.client.schemas.objects import State
from prefect.events.worker import EventsWorker
from prefect.flow_runs import resume_flow_run
from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_API_URL, temporary_settings
from pydantic import ValidationError

from flows.finetune import finetune
from flows.recipe import Recipe, load_recipe
from flows.recurring import RetrainingConfig, device_cost, month_began, night_after, quiet_from
from flows.retraining import retrain
from flows.server import Server
from tasks.artifacts import aliases, registry, runs
from tasks.artifacts.approvals import approval, rejection
from tasks.artifacts.store import Store
from tests.flows.conftest import RECIPE, Fettle
from tests.flows.deployed import Deployed, artifacts, asked, due_now, read

pytestmark = pytest.mark.xdist_group("flows-retraining")  # one worker, as a server is started for each

NEW_ROW = {
    "messages": [
        {"role": "user", "content": "Which fee does the museum of spoons in Ulm ask of its visitors?"},
        {"role": "assistant", "content": "It asks for two euros, and on Sundays it asks for nothing at all."},
    ]
}


@pytest.fixture
def api(server: Server) -> Iterator[None]:
    with temporary_settings({PREFECT_API_URL: f"{server.address}/api"}):
        yield
        # The server may be gone when the process ends.
        APILogHandler().flush()
        EventsWorker.drain_all(timeout=5)


def recipe_in(workplace: Path, **sections: Any) -> Recipe:
    """The finished store's recipe with a test's own settings; its sources were written an hour ago."""
    told = {name: {**RECIPE.get(name, {}), **fields} for name, fields in sections.items()}
    (workplace / "recipe.yaml").write_text(yaml.safe_dump({**RECIPE, **told}))
    for path in (workplace / "sources").iterdir():
        age(path)
    return load_recipe(workplace / "recipe.yaml")


def age(path: Path) -> None:
    then = time.time() - 3600
    os.utime(path, (then, then))


def given(recipe: Recipe, store: Path) -> dict[str, Any]:
    return {"recipe": recipe.model_dump(mode="json"), "store_uri": str(store)}


def recorded(store: Path) -> list[runs.Run]:
    return runs.recent(Store(str(store)), "small")


def state_of(run: UUID) -> State[Any]:
    state = read(run).state
    assert state is not None
    return state


def from_now(moment: datetime | None) -> timedelta:
    assert moment is not None
    return timedelta(seconds=moment.timestamp() - time.time())


def wait_until(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


@pytest.mark.usefixtures("api")
def test_nothing_changed_then_one_file(workplace: Path, store: Path) -> None:
    """Ends at once; a file that was just written is waited for; then exactly the stages run that depend on it."""
    recipe = recipe_in(workplace)
    records = len(recorded(store))
    began = time.monotonic()
    idle = retrain(recipe, str(store), return_state=True)
    assert time.monotonic() - began < 30
    assert idle.name == "Nothing to do"
    assert str(idle.message).startswith("nothing changed since version 1, decided by run ")
    assert len(recorded(store)) == records

    changed = workplace / "sources" / "domain.jsonl"
    # What is there already is dropped again, so what is trained on stays as it is.
    changed.write_bytes(changed.read_bytes() + changed.read_bytes().splitlines(keepends=True)[-1])
    deployed = Deployed(retrain, given(recipe, store))
    run = deployed.trigger()
    waiting = deployed.execute(run)
    assert (waiting.type, waiting.name) == ("SCHEDULED", "Awaiting quiet")
    assert timedelta(minutes=8) < from_now(waiting.state_details.scheduled_time) <= timedelta(minutes=10)

    age(changed)
    due_now(run)
    assert deployed.execute(run).type == "COMPLETED"
    assert [stage.verb for stage in recorded(store)[0].stages if not stage.cached] == [
        "ingest",
        "curate",
        "deduplicate",
    ]
    shown = artifacts(run)
    assert "Since version 1" in shown["changes"]
    assert "| domain | domain.jsonl | changed |" in shown["changes"]
    assert "Settings" not in shown["changes"]
    assert "0 rows enter training and 0 leave since version 1" in shown["row-changes"]
    assert retrain(recipe, str(store), return_state=True).name == "Nothing to do"


@pytest.mark.usefixtures("api")
def test_triggers_at_once_train_once(workplace: Path, store: Path) -> None:
    """One trains. Meanwhile those of its deployment stay in the queue, and one of another deployment leaves its worker.
    When the gate has refused the candidate beside the model in production, all of them find nothing to do."""
    recipe = recipe_in(workplace, mixing={"total": 16})
    domain = workplace / "sources" / "domain.jsonl"
    domain.write_text(domain.read_text() + json.dumps(NEW_ROW) + "\n")
    age(domain)
    deployed, other = Deployed(retrain, given(recipe, store), slots=1), Deployed(retrain, given(recipe, store))
    event, second_event, schedule, by_hand = *(deployed.trigger() for _ in range(3)), other.trigger()
    thread = deployed.execute_beside(event)
    wait_until(lambda: state_of(event).is_running())
    assert {deployed.take(run).name for run in (second_event, schedule)} == {"AwaitingConcurrencySlot"}
    assert other.execute(by_hand).name == "Awaiting another run"
    thread.join(timeout=300)

    assert (state_of(event).type, state_of(event).name) == ("FAILED", "Refused")
    for run, deployment in ((second_event, deployed), (schedule, deployed), (by_hand, other)):
        due_now(run)
        state = deployment.execute(run)
        assert state.name == "Nothing to do"
        assert "refused" in str(state.message)
    assert [run.outcome for run in recorded(store)] == ["refused", "published"]
    assert len([address for address in Store(str(store)).addresses() if address.startswith("training/")]) == 2
    assert aliases.aliases(Store(str(store)), "small") == {"production": 1}
    evaluated = next(stage.address for stage in recorded(store)[0].stages if stage.verb == "evaluate")
    scores = json.loads(Store(str(store)).read_file(evaluated, "gates.json"))["scores"]
    assert {score["against"] for score in scores} == {"base", "production"}
    shown = artifacts(event)
    assert "| mixing.total | " in shown["changes"]
    assert "leave since version 1" in shown["row-changes"]
    assert "| left | domain | " in shown["row-changes"]


@pytest.fixture
def unpublished(store: Path) -> Path:
    """A store in which all is computed and nothing published."""
    shutil.rmtree(store / "models")
    return store


@pytest.mark.usefixtures("api")
def test_person_approves_in_the_form(workplace: Path, unpublished: Path) -> None:
    """The run waits with the verdict above its form, and goes on with the answer, whatever the sources hold by then."""
    recipe = recipe_in(workplace, publication={"approval": "person", "approval_days": 3})
    deployed = Deployed(finetune, given(recipe, unpublished), slots=1)
    run = deployed.trigger()
    state = deployed.execute(run)
    assert (state.type, state.name) == ("PAUSED", "Suspended")
    assert timedelta(days=2.9) < from_now(state.state_details.pause_timeout) <= timedelta(days=3)
    assert asked(run).startswith("## small, version 1: pass\n\nNo sure loss on knowledge")
    assert "| knowledge | base |" in asked(run)
    store = Store(str(unpublished))
    assert aliases.aliases(store, "small") == {}
    for answer in ({"decision": "perhaps", "by": "Ann"}, {"decision": "approve", "by": " "}, {"decision": "approve"}):
        with pytest.raises(RuntimeError, match="Cannot resume this run"):
            resume_flow_run(run, run_input=answer)

    (workplace / "sources" / "code.csv").unlink()
    records = recorded(unpublished)
    resume_flow_run(run, run_input={"decision": "approve", "by": " Ann ", "note": "read forty answers"})
    assert deployed.execute(run).name == "Published"
    assert aliases.aliases(store, "small") == {"production": 1}
    given_by = approval(store, registry.version(store, "small", 1))
    assert given_by is not None
    assert (given_by.by, given_by.note) == ("Ann", "read forty answers")
    (latest, *earlier) = recorded(unpublished)
    assert (latest.outcome, latest.message) == ("published", "approved by Ann: read forty answers")
    assert earlier == records[1:]


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize(("word", "name"), [("approve", "Published"), ("reject", "Rejected")])
def test_word_given_by_command_lets_the_run_go_on(
    workplace: Path, unpublished: Path, fettle: Fettle, word: str, name: str
) -> None:
    recipe = recipe_in(workplace, publication={"approval": "person"})
    deployed = Deployed(finetune, given(recipe, unpublished))
    run = deployed.trigger()
    assert deployed.execute(run).name == "Suspended"
    options = ("--by", "Ann", "--note", "read it", "--store", str(unpublished))
    answer = fettle("models", word, "small", "1", *options)
    assert answer.code == 0
    assert "goes on" in answer.err
    ended = deployed.execute(run)
    assert ended.name == name
    assert recorded(unpublished)[0].message.endswith("ed by Ann: read it")
    listed = fettle("models", "--store", str(unpublished)).out
    assert ("rejected by Ann" in listed) == (word == "reject")
    assert "waiting" not in listed


@pytest.mark.usefixtures("api")
def test_person_rejects(workplace: Path, unpublished: Path) -> None:
    """While a model waits for its approval and after it was rejected, the same is not trained again."""
    recipe = recipe_in(workplace, publication={"approval": "person"})
    deployed = Deployed(retrain, given(recipe, unpublished), slots=1)
    run, later = deployed.trigger(), deployed.trigger()
    assert deployed.execute(run).name == "Suspended"
    assert deployed.execute(later).name == "Nothing to do"
    resume_flow_run(run, run_input={"decision": "reject", "by": "Bob", "note": "too curt"})
    ended = deployed.execute(run)
    assert (ended.type, ended.name) == ("COMPLETED", "Rejected")
    assert ended.message == "version 1 of small was rejected by Bob: too curt"
    assert recorded(unpublished)[0].outcome == "refused"
    assert aliases.aliases(Store(str(unpublished)), "small") == {}
    said = rejection(Store(str(unpublished)), registry.version(Store(str(unpublished)), "small", 1))
    assert said is not None
    assert (said.by, said.note) == ("Bob", "too curt")
    idle = retrain(recipe, str(unpublished), return_state=True)
    assert idle.name == "Nothing to do"
    assert "rejected by Bob: too curt" in str(idle.message)


@pytest.mark.usefixtures("api")
def test_month_that_is_spent_trains_nothing(workplace: Path, store: Path) -> None:
    cost = {"cost": {"price_per_device_hour": 1000.0}}
    recipe = recipe_in(workplace, training={"epochs": 2, **cost}, retraining={"monthly_budget": 0.01})
    state = retrain(recipe, str(store), return_state=True)
    assert (state.type, state.name) == ("COMPLETED", "Over budget")
    assert str(state.message).startswith("of this month's budget of 0.01, 0.01 are left, and training is estimated at ")
    assert len(recorded(store)) == 1


@pytest.mark.usefixtures("api")
def test_failure_that_may_pass_is_tried_again_at_night(
    workplace: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that is down is waited for, so many nights as the recipe says; what no night mends fails at once."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    recipe = recipe_in(workplace, retraining={"night_retries": 1})
    deployed = Deployed(retrain, given(recipe.model_copy(update={"base_model": "owner/name"}), store))
    run = deployed.trigger()
    waiting = deployed.execute(run)
    assert (waiting.type, waiting.name) == ("SCHEDULED", "Awaiting night")
    assert "the Hub did not give it" in str(waiting.message)
    assert waiting.state_details.scheduled_time is not None
    assert waiting.state_details.scheduled_time.hour == recipe.retraining.night_hour
    due_now(run)
    assert deployed.execute(run).name == "Failed"

    (workplace / "sources" / "code.csv").unlink()
    deployed = Deployed(retrain, given(recipe, store))
    assert deployed.execute(deployed.trigger()).name == "Failed"


def test_next_night_is_told_by_the_clock_of_the_recipe_s_time_zone() -> None:
    config = RetrainingConfig(night_hour=1, timezone="Europe/Berlin")
    berlin = ZoneInfo("Europe/Berlin")
    assert night_after(datetime(2026, 3, 2, 0, 30, tzinfo=berlin), config) == datetime(2026, 3, 2, 1, tzinfo=berlin)
    assert night_after(datetime(2026, 3, 2, 1, 0, tzinfo=berlin), config) == datetime(2026, 3, 3, 1, tzinfo=berlin)
    # Clocks go forward on the 29th, which has 23 hours.
    before = datetime(2026, 3, 28, 12, tzinfo=UTC)
    later = night_after(datetime(2026, 3, 29, 12, tzinfo=UTC), config)
    assert night_after(before, config) == datetime(2026, 3, 29, 0, tzinfo=UTC)
    assert later == datetime(2026, 3, 29, 23, tzinfo=UTC)
    assert month_began(datetime(2026, 3, 31, 22, 30, tzinfo=UTC), config) == datetime(2026, 3, 31, 22, tzinfo=UTC)
    assert month_began(datetime(2026, 3, 31, 21, 30, tzinfo=UTC), config) == datetime(2026, 2, 28, 23, tzinfo=UTC)


NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changed", "waiting_since", "minutes"),
    [
        (None, NOW, 0),  # nobody knows when
        (NOW - timedelta(minutes=11), NOW, 0),
        (NOW - timedelta(minutes=4), NOW, 6),
        (NOW + timedelta(hours=3), NOW, 10),  # by a clock that is wrong
        (NOW, NOW - timedelta(minutes=59), 10),
        (NOW, NOW - timedelta(minutes=60), 0),  # waited long enough
    ],
)
def test_training_begins_when_the_sources_are_quiet(
    changed: datetime | None, waiting_since: datetime, minutes: int
) -> None:
    config = RetrainingConfig(quiet_minutes=10, longest_wait_minutes=60)
    assert quiet_from(NOW, changed, waiting_since, config) == NOW + timedelta(minutes=minutes)


def test_cost_of_a_month_is_that_of_what_was_computed() -> None:
    def run(day: int, outcome: runs.Outcome, *, cached: bool = False, making: str = "") -> runs.Run:
        done = [("tokenization", 600.0, False), *([] if making else [("training", 1800.0, cached)])]
        return runs.Run(
            id=f"{day}",
            recipe_name="small",
            recipe={"training": {"processes": 2, "nodes": 2, "cost": {"price_per_device_hour": 3.0}}},
            started=datetime(2026, 3, day, tzinfo=UTC).isoformat(),
            outcome=outcome,
            seconds=4200.0,
            making=making,
            stages=tuple(
                runs.StageRecord(stage=stage, verb=stage, address="", cached=was, seconds=seconds)
                for stage, seconds, was in done
            ),
        )

    since = datetime(2026, 3, 2, tzinfo=UTC)
    assert device_cost([run(3, "published"), run(2, "refused")], since) == pytest.approx(2 * 0.5 * 4 * 3)
    assert device_cost([run(3, "published", cached=True), run(1, "published")], since) == 0
    assert device_cost([run(3, "failed", making="training/0123")], since) == pytest.approx(1 * 4 * 3)
    assert device_cost([run(3, "failed", making="mixing/0123")], since) == 0


def test_settings_that_cannot_be_kept_are_refused(workplace: Path) -> None:
    with pytest.raises(ValidationError, match="no such time zone"):
        RetrainingConfig(timezone="Europe/Berlim")
    recipe = load_recipe(workplace / "recipe.yaml").model_dump(mode="json")
    with pytest.raises(ValidationError, match=r"monthly_budget is 50, but no price is known"):
        Recipe.model_validate(recipe | {"retraining": {"monthly_budget": 50}})
