"""Applied to a real server again, at once, after changes, and beside what other people made."""

import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentCreate, DeploymentScheduleCreate
from prefect.client.schemas.schedules import CronSchedule
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import PrefectHTTPStatusError

from deployments.applying import ApplyError, apply
from deployments.catalogue import CPU_POOL, GPU_POOL, Wanted
from deployments.changes import Change
from deployments.webhook import BLOCK, VARIABLE, WebhookError
from flows import presets
from tests.deployments.conftest import recipe

pytestmark = pytest.mark.xdist_group("deployments")  # one worker, and one server

ADDRESS = "https://hooks.example.org/services/T0/B0/hush-hush"
AUTOMATIONS = {"Fettle: silent runs have crashed", "Fettle: runs that never began have crashed"}
TELLING = {"Fettle: tell of failed runs", "Fettle: tell of late schedules"}


@pytest.fixture(autouse=True)
def webhook_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, ADDRESS)


@pytest.fixture
def house_preset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """One preset more than Fettle brings; undone with `undo`."""
    folder = tmp_path / "presets"
    shutil.copytree(presets.preset_file("demo").parent, folder)
    (folder / "house.yaml").write_text("# Ours.\ntraining: {epochs: 5}\n")
    with monkeypatch.context() as patch:
        patch.setattr(presets, "_FOLDER", folder)
        yield patch


@pytest.fixture
def one_preset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer presets than Fettle brings: SQLite takes one write at a time and lets others wait for seconds."""
    for name in ("7b-50k", "demo"):
        shutil.copy(presets.preset_file(name), tmp_path)
    monkeypatch.setattr(presets, "_FOLDER", tmp_path)


def wanted(**settings: Any) -> Wanted:
    return Wanted.model_validate({"store_uri": "/store", "webhook": True, **settings})


def done(changes: list[Change], action: str) -> set[str]:
    return {change.name for change in changes if change.action == action}


def there(client: SyncPrefectClient) -> dict[str, list[Any]]:
    """Everything on the server that applying may touch, with the time of its last change."""
    found = {
        "automations": client.read_automations(),
        "blocks": client.read_block_documents(include_secrets=False),
        "deployments": client.read_deployments(),
        "flows": client.read_flows(),
        "limits": client.read_global_concurrency_limits(),
    }
    told: dict[str, list[Any]] = {
        what: sorted((each.name, each.id, getattr(each, "updated", None)) for each in all_of_them)
        for what, all_of_them in found.items()
    }
    schedules = [each for deployment in found["deployments"] for each in deployment.schedules]
    told["schedules"] = sorted((each.slug or "", each.id, each.updated) for each in schedules)
    # Others than its own change a pool's time.
    told["pools"] = sorted((each.name, each.id, each.concurrency_limit) for each in client.read_work_pools())
    return told


def deployment_names(client: SyncPrefectClient) -> Counter[str]:
    names = {each.id: each.name for each in client.read_flows()}
    return Counter(f"{names[each.flow_id]}/{each.name}" for each in client.read_deployments())


def own(client: SyncPrefectClient, flow: str, name: str, labels: dict[str, Any]) -> None:
    """Make a deployment as a person does that copies one of Fettle's."""
    new = DeploymentCreate(
        name=name,
        flow_id=client.create_flow_from_name(flow),
        entrypoint="flows.finetune.finetune",
        work_pool_name=CPU_POOL,
        tags=["fettle"],
        labels=labels,
    )
    client.request("POST", "/deployments/", json=new.model_dump(mode="json", exclude_unset=True))


@pytest.mark.usefixtures("one_preset")
def test_two_calls_at_once_leave_no_duplicates_and_a_third_changes_nothing(client: SyncPrefectClient) -> None:
    asked = wanted(recipes=(recipe("support"),), cron="0 3 * * *")
    with ThreadPoolExecutor(2) as two:
        started = [two.submit(copy_context().run, apply, asked) for _ in range(2)]
        changes = [each.result() for each in started]
    names = deployment_names(client)
    assert {"finetune/7b-50k", "retrain/retrain", "retrain/support", "gc/gc"} <= set(names)
    assert set(names.values()) == {1}
    for made in changes:
        assert {change.what for change in made} == {"pool", "webhook", "deployment", "automation"}

    before = there(client)
    automations = [name for name, *_ in before["automations"]]
    assert sorted(automations) == sorted(AUTOMATIONS | TELLING | {"Fettle: new data for support"})
    assert before["pools"] == [(CPU_POOL, before["pools"][0][1], 4), (GPU_POOL, before["pools"][1][1], 1)]
    assert [slug for slug, *_ in before["schedules"]] == ["fettle"] * 2
    assert len(before["limits"]) == 1

    again = apply(asked)
    assert {change.action for change in again} == {"unchanged"}
    assert len(again) == len(names) + len(automations) + len(before["pools"]) + len(before["blocks"])
    assert there(client) == before


def test_deployments_can_be_started_and_their_forms_are_checked(client: SyncPrefectClient) -> None:
    apply(wanted())
    publish = client.read_deployment_by_name("publish/publish")
    assert publish.entrypoint == "flows.releasing.publish"
    assert publish.tags == ["fettle"]
    assert publish.version
    assert publish.description
    assert "Args" not in publish.description
    assert publish.parameters == {"store_uri": "/store"}
    assert publish.parameter_openapi_schema
    assert publish.parameter_openapi_schema["properties"]["version"]["description"]
    given = {"model": "support", "by": "me", "version": 1}
    run = client.create_flow_run_from_deployment(publish.id, parameters=given)
    assert run.parameters["store_uri"] == "/store"
    with pytest.raises(PrefectHTTPStatusError, match="version"):
        client.create_flow_run_from_deployment(publish.id, parameters={**given, "version": 0})


def test_what_is_no_longer_wanted_goes(client: SyncPrefectClient, house_preset: pytest.MonkeyPatch) -> None:
    first = apply(wanted(recipes=(recipe("support"), recipe("sales")), cron="0 3 * * *"))
    assert "finetune/house" in done(first, "created")
    house = client.read_deployment_by_name("finetune/house")
    assert house.parameters["recipe"] == {"training": {"epochs": 5}}
    house_preset.undo()

    changes = apply(wanted(recipes=(recipe("sales"),), cron="30 2 * * *", gpu_slots=2, store_uri="/elsewhere"))
    assert done(changes, "removed") == {"finetune/house", "retrain/support", "Fettle: new data for support"}
    assert "finetune/house" not in deployment_names(client)
    assert {GPU_POOL, "retrain/sales", "gc/gc"} <= done(changes, "updated")
    (schedule,) = client.read_deployment_by_name("retrain/sales").schedules
    assert isinstance(schedule.schedule, CronSchedule)
    assert schedule.schedule.cron == "30 2 * * *"

    # Without recipes those that are there stay, as does everything that is not spoken of.
    changes = apply(wanted(webhook=None))
    assert done(changes, "removed") == set()
    assert {"retrain/sales", "gc/gc"} <= set(deployment_names(client))
    assert client.read_work_pool(GPU_POOL).concurrency_limit == 2
    assert {each.name for each in client.read_automations()} >= TELLING | {"Fettle: new data for sales"}

    changes = apply(wanted(recipes=(recipe("sales"),)))
    assert done(changes, "updated") == {"retrain/sales"}
    assert client.read_deployment_by_name("retrain/sales").schedules == []


def test_what_people_made_and_switched_off_stays(client: SyncPrefectClient) -> None:
    apply(wanted())
    labels = client.read_deployment_by_name("finetune/7b-50k").labels
    own(client, "finetune", "7b-50k copy", labels)
    demo = client.read_deployment_by_name("finetune/demo")
    weekly = DeploymentScheduleCreate(schedule=CronSchedule(cron="0 1 * * 1", timezone="UTC"))
    client.create_deployment_schedules(demo.id, [weekly])
    client.pause_deployment(demo.id)
    (silent,) = client.read_automations_by_name("Fettle: silent runs have crashed")
    client.pause_automation(silent.id)
    (failed,) = client.read_automations_by_name("Fettle: tell of failed runs")
    by_hand = AutomationCore.model_validate(failed.model_dump())  # of the same name
    client.create_automation(by_hand)

    before = there(client)
    assert {change.action for change in apply(wanted())} == {"unchanged"}
    assert there(client) == before

    changes = apply(wanted(store_uri="/elsewhere", silent_seconds=120))
    assert {"finetune/demo", silent.name} <= done(changes, "updated")
    demo = client.read_deployment_by_name("finetune/demo")
    assert demo.paused
    assert [each.id for each in demo.schedules] == [row[1] for row in before["schedules"] if not row[0]]
    (silent,) = client.read_automations_by_name(silent.name)
    assert not silent.enabled
    assert "120 seconds" in silent.description
    assert len(client.read_automations_by_name(failed.name)) == 2
    assert client.read_deployment_by_name("finetune/7b-50k copy").parameters == {}

    client.resume_automation(silent.id)
    for each in client.read_automations_by_name(failed.name):
        client.delete_automation(each.id)


def test_a_deployment_of_somebody_else_is_never_taken_over(
    client: SyncPrefectClient, house_preset: pytest.MonkeyPatch
) -> None:
    own(client, "finetune", "house", {})
    with pytest.raises(ApplyError, match="finetune/house that Fettle did not make; rename or delete"):
        apply(wanted())
    assert client.read_deployment_by_name("finetune/house").work_pool_name == CPU_POOL


def test_a_webhook_comes_changes_and_goes(client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch) -> None:
    apply(wanted())
    shown = client.read_block_document_by_name(BLOCK, "webhook", include_secrets=False)
    assert "hush-hush" not in shown.model_dump_json()

    monkeypatch.setenv(VARIABLE, ADDRESS + "-2")
    assert done(apply(wanted()), "updated") == {BLOCK}
    block = Webhook.load(BLOCK)
    assert isinstance(block, Webhook)
    assert block.url.get_secret_value() == ADDRESS + "-2"

    monkeypatch.delenv(VARIABLE)
    with pytest.raises(WebhookError, match="FETTLE_WEBHOOK_URL holds no http"):
        apply(wanted())
    assert done(apply(wanted(webhook=False)), "removed") == {BLOCK, *TELLING}
    assert client.read_block_documents() == []
