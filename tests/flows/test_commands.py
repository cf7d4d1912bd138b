"""The commands, as a person meets them."""

import json
import re
import shutil
from pathlib import Path

import pytest

from flows.commands.describing import recipe_schema, schema_path
from tasks.artifacts import registry, runs
from tasks.artifacts.store import Store
from tests.flows.conftest import Fettle, in_this_process
from tests.flows.following import assert_every_row_is_followed

pytestmark = pytest.mark.xdist_group("flows-commands")  # one worker, as a server is started for each


def test_cached_run_shows_every_stage_and_publishes_once(fettle: Fettle, store: Path) -> None:
    before = registry.versions(Store(str(store)))
    answer = fettle("run", "recipe.yaml", "--store", str(store))
    assert answer.code == 0, answer.err
    lines = [line for line in answer.err.splitlines() if " read, " in line]
    assert len(lines) == 10
    assert all("cached" in line for line in lines)
    assert "report" in answer.out
    assert registry.versions(Store(str(store))) == before


def test_every_row_is_followed_to_one_fate(store: Path) -> None:
    opened = Store(str(store))
    assert {address.split("/")[0] for address in opened.addresses()} == {
        "ingestion", "curation", "deduplication", "mixing", "tokenization",
        "training", "measurement", "evaluation", "publication",
    }  # fmt: skip
    assert_every_row_is_followed(opened)


def test_show_diff_models_speak_to_people_and_programs(fettle: Fettle, store: Path) -> None:
    (run,) = runs.recent(Store(str(store)))
    assert run.id in fettle("show", "--store", str(store)).out
    shown = fettle("show", run.id, "--store", str(store)).out
    assert "publication" in shown
    assert "domain.jsonl" in shown
    lineage = fettle("show", run.id, "--store", str(store), "--json").json["lineage"]
    assert lineage["name"] == "publication"

    second = fettle("run", "recipe.yaml", "--store", str(store), "--json", "--set", "evaluation.forgetting.fail=99")
    assert second.code == 0, second.err
    changes = fettle("diff", run.id, second.json["run"], "--store", str(store), "--json").json["fields"]
    assert {"stage": "evaluate", "field": "config.fail", "before": 100.0, "after": 99.0} in changes
    assert {change["stage"] for change in changes} <= {"evaluate", "publish"}

    listed = fettle("models", "--store", str(store), "--json").json
    assert [model["version"] for model in listed] == list(range(1, len(listed) + 1))


def test_gate_refusal_exits_3_and_publishes_nothing(fettle: Fettle, store: Path) -> None:
    shutil.rmtree(store / "models", ignore_errors=True)
    # Twenty items cannot rule out a drop of a tenth of a point.
    answer = fettle(
        "run", "recipe.yaml", "--store", str(store), "--json",
        "--set", "evaluation.forgetting={investigate: 0.0, fail: 0.1}",
        "--set", "name=picky",
    )  # fmt: skip
    assert answer.code == 3, answer.err + answer.out
    assert answer.json["version"] is None
    assert answer.json["refused"].startswith(f"not published, the gate says {answer.json['verdict']}.")
    assert answer.json["verdict"] in ("fail", "underpowered")
    assert fettle("models", "list", "picky", "--store", str(store), "--json").json == []
    assert Path(answer.json["report"]).read_text().startswith("<!doctype html>")


def test_gc_lists_then_removes_and_spares_models(fettle: Fettle, store: Path) -> None:
    leftover = store / "curation" / "0123456789abcdef" / "attempt-20260101T000000-deadbeef" / "part.parquet"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half")
    listed = fettle("gc", "--dry-run", "--older-than", "0", "--store", str(store), "--json").json
    assert [item["path"] for item in listed["garbage"]] == [str(leftover.parent.relative_to(store))]
    assert leftover.exists()
    assert "freed 4 bytes" in fettle("gc", "--older-than", "0", "--store", str(store)).out
    assert not leftover.exists()
    opened = Store(str(store))
    published = registry.versions(opened)
    fettle("gc", "--older-than", "0", "--keep-runs", "0", "--store", str(store))
    for version in published:
        assert opened.find(version.training) is not None
        assert opened.find(version.publication) is not None
    if not published:
        assert opened.addresses() == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "nowhere.yaml"], "cannot read the recipe nowhere.yaml"),
        (["run", "sources/code.csv"], "YAML"),
        (["show", "nothing-like-it"], "names nothing"),
        (["gc", "--remove", "models/small"], "stage/fingerprint"),
        (["run", "recipe.yaml", "--set", "training"], "give it as field.field=value"),
    ],
)
def test_misuse_is_told_in_words(
    store: Path, workplace: Path, arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workplace)
    answer = in_this_process((*arguments, "--store", str(store)))
    assert answer.code in (1, 2)
    assert words in answer.err
    assert "Traceback" not in answer.err


def test_a_store_of_no_known_kind_is_told_in_words(fettle: Fettle) -> None:
    answer = fettle("run", "recipe.yaml", "--store", "gopher://x")
    assert answer.code == 1
    assert "no such kind of storage" in answer.err
    assert "Traceback" not in answer.err


def test_unknown_command_is_usage(fettle: Fettle) -> None:
    assert fettle("fly").code == 2
    assert re.search("run .*plan", fettle("--help").out, re.S)


@pytest.mark.parametrize("kind", [None, "classification"])
def test_committed_schema_is_fresh(kind: str | None) -> None:
    assert schema_path(kind).read_text() == recipe_schema(kind), "the recipe changed; run `make fresh`"
    described = json.loads(recipe_schema(kind))
    for definition in [described, *described["$defs"].values()]:
        for name, field in definition.get("properties", {}).items():
            target = described["$defs"].get(field.get("$ref", "").removeprefix("#/$defs/"), {})
            assert field.get("description") or target.get("description"), (
                f"{definition['title']}.{name} has no docstring"
            )
