"""`fettle plan` says exactly what will run, and why."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.flows.conftest import Fettle

pytestmark = pytest.mark.xdist_group("flows")  # one worker, as the costly fixtures are made once a worker

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


def test_recipe_errors_exit_2_with_path_and_nearest_name(fettle: Fettle, store: Path) -> None:
    for setting, words in {
        "training.lerning_rate=1": "training.lerning_rate: there is no such field; did you mean learning_rate?",
        "training.learning_rate=fast": "training.learning_rate: Input should be a valid number",
        "training.method.kind=lara": "training.method",
        "sources.0.rol=code": "sources.0.rol: there is no such field; did you mean role?",
        "curation.length.answer_tokens=[9, 2]": "give the fewest and the most, in that order",
        "mixing.shares={code: 0.5}": "the shares add up to 0.5; they must add up to 1",
        "sources.0.uri=nowhere/*.jsonl": "nothing is at",
        "base_model=nowhere": "base_model is nowhere",
    }.items():
        answer = fettle("plan", "recipe.yaml", "--store", str(store), "--set", setting)
        assert answer.code == 2, setting
        assert words in answer.err
        assert "Traceback" not in answer.err
