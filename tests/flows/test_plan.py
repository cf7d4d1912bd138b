"""`fettle plan` says exactly what will run, and why."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.configurations import QWEN_7B
from tests.flows.conftest import Fettle
from tests.stages.making import CHATML, byte_level, tokenizer_files

pytestmark = pytest.mark.xdist_group("flows-plan")  # one worker, as a server is started for each

ALL = [
    "ingest", "curate", "deduplicate", "mix", "tokenize", "train", "measure", "measure", "evaluate", "publish",
]  # fmt: skip


def steps(fettle: Fettle, store: Path, *arguments: str) -> list[dict[str, Any]]:
    answer = fettle("plan", "recipe.yaml", "--store", str(store), "--json", *arguments)
    assert answer.code == 0, answer.err
    found: list[dict[str, Any]] = answer.json
    assert [step["verb"] for step in found] == ALL
    return found


def by_status(found: list[dict[str, Any]]) -> dict[str, list[str]]:
    return {
        status: [step["verb"] for step in found if step["status"] == status]
        for status in ("cached", "will run", "depends")
    }


def test_nothing_changed_nothing_runs(fettle: Fettle, store: Path) -> None:
    assert by_status(steps(fettle, store))["cached"] == ALL


def test_empty_store_everything_runs(fettle: Fettle, tmp_path: Path) -> None:
    found = steps(fettle, tmp_path / "new")
    assert by_status(found)["will run"] == ALL
    assert found[0]["why"] == ["no earlier run of this recipe came here"]


def test_training_knob_runs_training_and_what_hangs_on_it(fettle: Fettle, store: Path) -> None:
    found = steps(fettle, store, "--set", "training.learning_rate=5e-4")
    assert by_status(found) == {
        "cached": ["ingest", "curate", "deduplicate", "mix", "tokenize", "measure"],
        "will run": ["train"],
        "depends": ["measure", "evaluate", "publish"],
    }
    assert found[5]["why"] == ["training.learning_rate: 0.001 → 0.0005"]
    assert found[7]["why"] == ["cached if training gives the same as before"]


def test_execution_knob_runs_nothing(fettle: Fettle, store: Path) -> None:
    changes = ["--set", "training.timeout_seconds=900", "--set", "evaluation.batch_size=7"]
    assert by_status(steps(fettle, store, *changes))["cached"] == ALL


def test_threshold_that_drops_nothing_more_runs_curate_alone(fettle: Fettle, store: Path) -> None:
    change = ["--set", "curation.length.answer_tokens=[1, 255]"]
    found = steps(fettle, store, *change)
    assert by_status(found)["will run"] == ["curate"]
    assert found[1]["why"] == ["curation.length.answer_tokens: [1, 256] → [1, 255]"]
    assert found[2]["why"] == ["cached if curation gives the same as before"]

    exact = steps(fettle, store, *change, "--exact")
    assert [step["verb"] for step in exact if step["done_now"]] == ["curate"]
    assert by_status(exact)["cached"] == [verb for verb in ALL if verb != "curate"]


def test_changed_file_is_named(fettle: Fettle, store: Path, workplace: Path) -> None:
    with (workplace / "sources" / "domain.jsonl").open("a") as file:
        file.write('{"prompt": "What does a lens do?", "completion": "A lens bends light to a point."}\n')
    found = steps(fettle, store)
    assert by_status(found)["will run"] == ["ingest"]
    assert found[0]["why"] == ["domain.jsonl changed"]
    assert by_status(found)["depends"] == ALL[1:]
    exact = steps(fettle, store, "--exact")
    assert [step["verb"] for step in exact if step["status"] == "will run"] == ALL[:6]


def test_deleted_artifact_is_named(fettle: Fettle, store: Path) -> None:
    shutil.rmtree(store / "mixing")
    found = steps(fettle, store)
    assert by_status(found)["will run"] == ["mix"]
    assert found[3]["why"] == ["its artifact was deleted"]
    exact = steps(fettle, store, "--exact")
    assert by_status(exact)["cached"] == [verb for verb in ALL if verb != "mix"]


def test_changed_benchmark_and_gate_are_told_apart(fettle: Fettle, store: Path) -> None:
    found = steps(fettle, store, "--set", "evaluation.forgetting.fail=90")
    assert by_status(found)["will run"] == ["evaluate"]
    found = steps(fettle, store, "--set", "evaluation.benchmarks.0.max_items=10")
    # Every question of a benchmark counts against leaks, however many are asked.
    assert "measure" in by_status(found)["will run"]
    assert "deduplicate" in by_status(found)["cached"]


def test_warnings_are_told_of_what_is_computed_now_and_of_what_is_cached(fettle: Fettle, store: Path) -> None:
    change = ["--set", "mixing.shares={domain: 1.0, code: 0.0}"]
    computed = steps(fettle, store, *change, "--exact")[3]
    assert (computed["verb"], computed["status"], computed["done_now"]) == ("mix", "will run", True)
    left_out = [each for each in computed["warnings"] if "rows of code, which have no share in mixing.shares" in each]
    assert left_out

    cached = steps(fettle, store, *change)[3]
    assert (cached["verb"], cached["status"]) == ("mix", "cached")
    assert cached["warnings"] == computed["warnings"]
    lines = fettle("plan", "recipe.yaml", "--store", str(store), *change).out.splitlines()
    assert f"warning  mix: {left_out[0]}" in lines


def test_a_source_that_deduplication_emptied_is_told_in_the_plan(fettle: Fettle, store: Path, workplace: Path) -> None:
    recipe = yaml.safe_load((workplace / "recipe.yaml").read_text())
    recipe["sources"].append({"name": "again", "uri": "sources/domain.jsonl", "role": "domain"})
    (workplace / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    mixed = steps(fettle, store, "--exact")[3]
    assert [each for each in mixed["warnings"] if each.startswith("the mixture has no row of again:")]
    recipe["sources"][-1] |= {"uri": "sources/code.csv", "heldout": True}
    (workplace / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    mixed = steps(fettle, store, "--exact")[3]
    assert not [each for each in mixed["warnings"] if "again" in each]


def test_recipe_errors_exit_2_with_path_and_nearest_name(fettle: Fettle, store: Path) -> None:
    for setting, words in {
        "training.lerning_rate=1": "training.lerning_rate: there is no such field; did you mean learning_rate?",
        "training.learning_rate=fast": "training.learning_rate: Input should be a valid number",
        "training.method.kind=lara": "training.method",
        "sources.0.rol=code": "sources.0.rol: there is no such field; did you mean role?",
        "curation.length.answer_tokens=[9, 2]": "give the fewest and the most, in that order",
        "mixing.shares={code: 0.5}": "the shares add up to 0.5; they must add up to 1",
        "sources=[{name: own, uri: sources/domain.jsonl, heldout: true}]": "every source is held out",
        "sources.0.uri=nowhere/*.jsonl": "nothing is at",
        "base_model=nowhere": "base_model is nowhere",
    }.items():
        answer = fettle("plan", "recipe.yaml", "--store", str(store), "--set", setting)
        assert answer.code == 2, setting
        assert words in answer.err
        assert "Traceback" not in answer.err


LORA_7B = [
    "training={method: {kind: lora, rank: 16}, learning_rate: 2e-4, epochs: 2, batch_size: 16}",
    "tokenization.max_length=2048",
    "training.cost={device: h100, price_per_device_hour: 2.5, most: 10}",
]
"""Settings of a recipe whose base model is `large` in the workplace."""


@pytest.fixture
def large(workplace: Path) -> list[str]:
    """Arguments that plan a LoRA of a model of Qwen2.5-7B's size, which has a configuration and no weights."""
    tokenizer_files(workplace / "large", byte_level(), template=CHATML)
    (workplace / "large" / "config.json").write_text(json.dumps(QWEN_7B))
    return [each for setting in ("base_model=large", *LORA_7B) for each in ("--set", setting)]


def training(fettle: Fettle, store: Path, *arguments: str) -> dict[str, Any]:
    (found,) = [step["training"] for step in steps(fettle, store, *arguments) if step["verb"] == "train"]
    told: dict[str, Any] = found
    return told


def test_a_7b_lora_recipe_is_planned_from_its_configuration(fettle: Fettle, tmp_path: Path, large: list[str]) -> None:
    told = training(fettle, tmp_path / "new", *large)
    assert told["parameters"] == 7_615_616_512  # what Qwen2.5-7B has
    assert told["trainable"] == 40_370_176  # what peft counts
    assert not told["has_weights"]
    assert told["data"] is told["seconds"] is told["cost"] is None
    memory, load = told["memory"], told["load"]
    assert memory["weights"] == 2 * told["parameters"] + 4 * told["trainable"]
    assert memory["optimiser"] == 8 * told["trainable"]
    assert told["fits"]
    assert (load["rows"], load["checkpointing"]) == (4, False)
    assert 14 * 2**30 < memory["weights"] < sum(memory.values()) < 0.92 * 79.6 * 2**30

    small = training(fettle, tmp_path / "new", *large, "--set", "training.cost.device=l4")
    assert (small["load"]["rows"], small["load"]["checkpointing"], small["fits"]) == (4, True, True)
    full = training(fettle, tmp_path / "new", *large, "--set", "training.method={kind: full}")
    assert not full["fits"]


def test_an_exact_plan_knows_steps_time_and_cost(fettle: Fettle, tmp_path: Path, large: list[str]) -> None:
    told = training(fettle, tmp_path / "new", *large, "--exact")
    data = told["data"]
    assert data["steps"] == -(-data["rows"] * 2 // 16)
    assert data["trained"] == 2 * data["tokens"]
    # 4 operations a weight and token, at 40 % of an H100's 989 tera a second.
    plain = 4 * (told["parameters"] - 152064 * 3584) * data["trained"] / (0.4 * 989e12)
    assert told["seconds"] == pytest.approx(plain, rel=0.05)
    assert told["cost"] == pytest.approx(told["seconds"] / 3600 * 2.5)
    assert told["measured"] is None
    shown = fettle("plan", "recipe.yaml", "--store", str(tmp_path / "new"), *large, COLUMNS="100").out
    for words in ("7.62B parameters", "40.4M (0.53%) learn", "GiB of 79.6 GiB", "at 40% of its peak", "no weights"):
        assert words in shown


def test_a_model_without_weights_is_not_run(fettle: Fettle, tmp_path: Path, large: list[str]) -> None:
    answer = fettle("run", "recipe.yaml", "--store", str(tmp_path / "new"), *large)
    assert answer.code == 2
    assert "holds no safetensors" in answer.err


def test_time_comes_from_the_latest_run_of_the_same_model_and_method(fettle: Fettle, store: Path) -> None:
    told = training(fettle, store)
    assert told["measured"]["device"] == "cpu"
    assert told["seconds"] == pytest.approx(told["data"]["trained"] / told["measured"]["tokens_per_second"])
    assert told["memory"]["context"] == 0
    assert training(fettle, store, "--set", "training.method={kind: lora}")["measured"] is None
    assert training(fettle, store, "--set", "training.learning_rate=9e-4")["measured"] == told["measured"]


def test_a_budget_that_a_measured_speed_breaks_is_refused(fettle: Fettle, store: Path) -> None:
    hours = training(fettle, store)["seconds"] / 3600
    budget = ["--set", f"training.cost.most_hours={hours / 2:.9f}"]
    answer = fettle("plan", "recipe.yaml", "--store", str(store), *budget)
    assert answer.code == 2
    assert "refused: training would take" in answer.err
    assert "cost.most_hours is" in answer.err
    answer = fettle("plan", "recipe.yaml", "--store", str(store), "--json", *budget)
    assert answer.code == 2
    (told,) = [step["training"] for step in answer.json if step["training"]]
    assert told["refused"]
    closely = training(fettle, store, "--set", f"training.cost.most_hours={hours / 1.05:.9f}")
    assert closely["over_budget"]
    assert not closely["refused"]


def test_advice_is_told_and_the_absurd_is_refused_by_plan_and_run(fettle: Fettle, store: Path) -> None:
    fields = [each[0] for each in training(fettle, store, "--set", "training.weight_decay=0.5")["advice"]]
    assert "training.weight_decay" in fields
    for command in ("plan", "run"):
        answer = fettle(command, "recipe.yaml", "--store", str(store), "--set", "training.learning_rate=3")
        assert answer.code == 2
        assert "training.learning_rate is 3; each step moves every weight" in answer.err
    answer = fettle("plan", "recipe.yaml", "--store", str(store), "--set", "training.cost.device=h1000")
    assert answer.code == 2
    assert "training.cost.device is h1000" in answer.err
