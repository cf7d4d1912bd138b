"""The demo keeps its promises: planted faults found, the model mended, the gate right, nothing computed twice."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.demo.conftest import Finished, Place

pytestmark = pytest.mark.xdist_group("demo")  # one worker, as the costly fixtures are made once a worker


def scores(finished: Finished) -> dict[str, dict[str, Any]]:
    return {score["measure"]: score for score in json.loads(finished.out)["scores"]}


def test_every_planted_fault_is_found_and_no_clean_row_goes(cold: Finished) -> None:
    assert cold.code == 0, cold.err
    faults = {row["planted fault"]: row for row in json.loads(cold.out)["faults"]}
    assert faults.pop("clean rows dropped")["found"] == 0
    near = faults.pop("near duplicate")
    assert near["found"] >= 0.95 * near["planted"]
    for kind, row in faults.items():
        assert row["planted"] > 0
        assert row["found"] == row["planted"], kind


def test_the_model_stops_apologising_and_gets_its_figures_right(cold: Finished) -> None:
    found = scores(cold)
    assert found["apology rate"]["base"] > 90
    assert found["apology rate"]["tuned"] < 2
    assert found["exact_figures"]["change"] >= 40
    assert found["general_knowledge"]["change"] > -2
    assert found["held-out loss"]["change"] < 0
    assert json.loads(cold.out)["verdict"] == "pass"


def test_a_second_run_is_cached_and_changes_nothing(cold: Finished, place: Place) -> None:
    again = place.run("demo")
    assert again.code == 0, again.err
    lines = [line for line in again.err.splitlines() if " read, " in line]
    assert len(lines) == 10
    assert all(line.split()[1] == "cached" for line in lines)
    assert again.seconds < 60
    assert "watch    make up" in again.out


def test_published_model_loads_with_its_card_and_report(cold: Finished, place: Place) -> None:
    (model,) = json.loads(place.run("models", "--json").out)
    assert (model["version"], model["aliases"], model["verdict"]) == (1, ["production"], "pass")
    folder = Path(model["folder"])
    assert {path.name for path in folder.iterdir()} >= {
        "README.md", "report.html", "gates.json", "config.json", "model.safetensors", "tokenizer.json",
        "chat_template.jinja", "version.json",
    }  # fmt: skip
    assert "fintech-assistant" in (folder / "README.md").read_text()


@pytest.mark.soak
def test_forgetful_is_refused(cold: Finished, place: Place) -> None:
    refused = place.run("demo", "--preset", "forgetful", "--json")
    assert refused.code == 3, refused.err
    answer = json.loads(refused.out)
    assert answer["verdict"] == "fail"
    assert answer["version"] is None
    assert scores(refused)["general_knowledge"]["change"] < -5
    assert [model["model"] for model in json.loads(place.run("models", "--json").out)] == ["fintech-assistant"]
