"""What is wanted of a server, told without one."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from prefect import Flow
from prefect.utilities.callables import parameter_schema
from pydantic import ValidationError

from deployments.catalogue import CPU_POOL, GPU_POOL, Wanted, deployments, pools
from flows.presets import preset_names
from flows.recipe import Recipe
from tests.deployments.conftest import recipe


def test_each_flow_has_a_deployment_and_finetune_one_a_preset() -> None:
    listed = deployments(Wanted(store_uri="s3://models/store"), recipe("demo-recipe"))
    assert {each.full_name for each in listed} == {
        "finetune/finetune", "finetune/demo", *(f"finetune/{name}" for name in preset_names()),
        "classify/classify", "classify/classifier",
        "retrain/retrain", "evaluate/evaluate", "data/data", "publish/publish", "rollback/rollback", "gc/gc",
    }  # fmt: skip
    assert len({each.full_name for each in listed}) == len(listed)
    on_gpu = {each.flow for each in listed if each.pool == GPU_POOL}
    assert on_gpu == {"finetune", "classify", "retrain", "evaluate"}
    assert {each.pool for each in listed} == {CPU_POOL, GPU_POOL}


def test_every_default_is_a_parameter_of_the_flow() -> None:
    for each in deployments(Wanted(store_uri="/store", recipes=(recipe(),)), recipe("demo-recipe")):
        module, _, name = each.entrypoint.rpartition(".")
        flow = getattr(import_module(module), name)
        assert isinstance(flow, Flow)
        assert flow.name == each.flow
        assert set(each.parameters) <= set(parameter_schema(flow).properties), each.full_name


def test_presets_come_filled_in_with_what_they_say_of_themselves() -> None:
    listed = {each.name: each for each in deployments(Wanted(store_uri="/store"), recipe("demo-recipe"))}
    preset = listed["7b-50k"]
    assert preset.parameters["recipe"]["training"]["method"] == {"kind": "lora", "rank": 64, "alpha": 128}
    assert preset.remark.startswith("About seven billion parameters")
    assert listed["demo"].parameters["recipe"]["name"] == "demo-recipe"
    assert Recipe.model_validate(listed["demo"].parameters["recipe"]) == recipe("demo-recipe")


def test_a_recipe_retrains_on_the_schedule_one_run_at_a_time() -> None:
    wanted = Wanted(store_uri="/store", recipes=(recipe(),), cron="0 3 * * *", timezone="Europe/Berlin")
    listed = {each.full_name: each for each in deployments(wanted, recipe("demo-recipe"))}
    retrain = listed["retrain/support"]
    assert (retrain.cron, retrain.timezone, retrain.slots) == ("0 3 * * *", "Europe/Berlin", 1)
    assert {name for name, each in listed.items() if each.cron} == {"retrain/support", "gc/gc"}


def test_a_relative_store_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Wanted(store_uri="fettle-store").store_uri == str(tmp_path / "fettle-store")
    assert Wanted(store_uri="s3://bucket/store").store_uri == "s3://bucket/store"


def test_new_pools_have_slots_and_old_ones_keep_theirs() -> None:
    cpu, gpu = pools(Wanted(store_uri="/store", gpu_slots=2))
    assert (cpu.slots, cpu.slots_when_new) == (None, 4)
    assert (gpu.slots, gpu.slots_when_new) == (2, 1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"cron": "0 3 * * *"}, "cron is '0 3 .*no recipe to retrain"),
        ({"recipes": (recipe(),), "cron": "0 99 * * *"}, "(?i)cron"),
        ({"timezone": "Europe/Atlantis"}, "(?i)time ?zone"),
        ({"recipes": (recipe(), recipe())}, "two recipes are called support"),
        ({"recipes": (recipe("retrain"),)}, "a recipe is called retrain"),
        ({"gpu_slots": 0}, "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_had_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Wanted(store_uri="/store", **settings)
