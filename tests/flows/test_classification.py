"""Text classification, as a person meets it: from a CSV to a published classifier, compared, explained, reported."""

import csv
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.demo.tickets import write_tickets
from tasks.artifacts import registry, runs
from tasks.artifacts.store import Store
from tasks.labelled_text import SIDES
from tests.flows.conftest import Answer, Fettle

pytestmark = pytest.mark.xdist_group("flows-classification")  # one worker, as the finished store is made once

SMALL = {
    "kind": "classification",
    "preset": "classifier",
    "name": "tickets",
    "sources": [{"name": "export", "uri": "tickets.csv"}],
    "encoder": {"layers": 2, "hidden_size": 32, "heads": 2, "vocabulary": 600, "warm_up": {"epochs": 1}},
    "training": {"epochs": 6, "learning_rate": 5.0e-3},
    "evaluation": {"draws": 200},
}
DATA = ("ingest", "curate", "deduplicate", "mix", "pretrain", "tokenize")


@pytest.fixture
def place(workplace: Path) -> Path:
    write_tickets(workplace)
    (workplace / "tickets.yaml").write_text(yaml.safe_dump(SMALL, sort_keys=False))
    return workplace


@pytest.fixture(scope="session")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("classification") / "store"


@pytest.fixture
def store(first: Path, fettle: Fettle, place: Path, tmp_path: Path) -> Path:
    """A store of the test's own with one finished run, which is made for the first test that asks."""
    if not first.exists():
        answer = fettle("run", "tickets.yaml", "--store", str(first), "--json")
        assert answer.code == 0, answer.err + answer.out
    return Path(shutil.copytree(first, tmp_path / "store"))


def ran(answer: Answer, uri: Path) -> dict[str, bool]:
    """Of the newest run each stage, and whether it was cached."""
    assert answer.code in (0, 3), answer.err + answer.out
    latest = runs.recent(Store(str(uri)))[0]
    return {record.verb: record.cached for record in latest.stages}


def test_a_csv_becomes_a_published_classifier_that_transformers_loads(store: Path) -> None:
    opened = Store(str(store))
    (version,) = registry.versions(opened)
    assert version.verdict == "pass"
    with registry.local_version(opened, version) as folder:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        from transformers import pipeline

        classify = pipeline("text-classification", model=str(folder), truncation=True)
        texts = ["My card was swallowed by a cash machine.", "The app crashes when I scroll.", "word " * 100_000]
        found = classify(texts)
        assert [each["label"] for each in found[:2]] == ["card", "app"]
        assert "report.html" in version.files
        assert "suspects.csv" not in version.files, "training rows do not go out with the model"
        card = (folder / "README.md").read_text(encoding="utf-8")
        told = json.loads((folder / "calibration.json").read_text(encoding="utf-8"))
    assert "pipeline(" in card
    assert told["labels"] == ["account", "app", "card", "loan", "transfer"]
    assert told["temperature"] > 0


def test_faults_of_the_export_are_counted_and_every_row_has_one_fate(store: Path) -> None:
    opened = Store(str(store))
    made = {record.verb: opened.manifest(record.address) for record in runs.recent(opened)[0].stages}
    assert made["ingest"].counts.dropped == {"no label": 5, "no text": 3}
    assert made["curate"].counts.dropped["contradicting labels"] >= 20
    read = made["ingest"].counts.read
    lost = sum(sum(made[verb].counts.dropped.values()) for verb in ("ingest", "curate", "deduplicate", "mix"))
    assert read == 818
    assert read - lost == sum(made["mix"].tables[side].rows for side in SIDES)


def test_the_same_recipe_is_cached_and_a_class_weight_reruns_training_only(
    fettle: Fettle, store: Path, place: Path
) -> None:
    again = fettle("run", "tickets.yaml", "--store", str(store), "--json")
    assert all(ran(again, store).values())
    weighted = fettle(
        "run", "tickets.yaml", "--store", str(store), "--json", "--set", "training.class_weights={card: 2.0}"
    )
    cached = ran(weighted, store)
    assert {verb for verb, known in cached.items() if not known} <= {"train", "measure", "evaluate", "publish"}
    assert not cached["train"]
    assert all(cached[verb] for verb in (*DATA, "baseline", "probe"))


def test_new_rows_of_one_label_change_what_they_must_and_diff_says_what(
    fettle: Fettle, store: Path, place: Path
) -> None:
    with (place / "tickets.csv").open("a", encoding="utf-8", newline="") as file:
        new = [
            (f"My card number {number} is printed upside down, see photo {number}.", "card") for number in range(100)
        ]
        csv.writer(file).writerows(new)
    answer = fettle("run", "tickets.yaml", "--store", str(store), "--json")
    assert ran(answer, store)["ingest"] is False
    now, before = runs.recent(Store(str(store)))[:2]
    changes = fettle("diff", before.id, now.id, "--store", str(store), "--json").json["rows"]
    sides = {record.verb: Store(str(store)).manifest(record.address) for record in now.stages}["mix"].tables
    was = {record.verb: Store(str(store)).manifest(record.address) for record in before.stages}["mix"].tables
    entered = [group for group in changes["groups"] if group["direction"] == "entered"]
    left = [group for group in changes["groups"] if group["direction"] == "left"]
    assert changes["entered"] - changes["left"] == sides["train"].rows - was["train"].rows
    assert any(group["reason"] == "not in the sources" for group in entered)
    # A card's row may pass to another side, as its label has more of them now; others stay where they are.
    assert {group["reason"] for group in left} <= {"on the test side", "on the validation side"}
    assert changes["left"] <= 20
    shown = fettle("diff", before.id, now.id, "--store", str(store), "--rows", "3").out
    assert f"{changes['entered']:,} entered training" in shown


def test_a_row_is_followed_to_its_end(fettle: Fettle, store: Path, place: Path) -> None:
    opened = Store(str(store))
    made = {record.verb: opened.manifest(record.address).artifact for record in runs.recent(opened)[0].stages}
    expected = {
        "trained": next(opened.rows(made["mix"], "train")),
        "measured": next(opened.rows(made["mix"], "test")),
        "dropped": next(opened.rows(made["curate"], "dropped")),
        "rejected": next(opened.rows(made["ingest"], "rejected")),
    }
    for verdict, row in expected.items():
        told = fettle("show", f"export:{row['line']}", "--store", str(store), "--json").json
        steps = told["places"][0]["steps"]
        assert steps[-1]["verdict"] == verdict, told
        if verdict != "rejected":
            assert told["id"] == row["id"]
            assert fettle("show", row["id"][:12], "--store", str(store)).code == 0
    reason = fettle("show", f"export:{expected['dropped']['line']}", "--store", str(store)).out
    assert "contradicting labels" in reason


def test_runs_that_ended_early_or_lost_their_rows_hide_no_other(fettle: Fettle, store: Path, place: Path) -> None:
    opened = Store(str(store))
    (whole,) = runs.recent(opened)
    row = next(opened.rows(opened.manifest(whole.stages[3].address).artifact, "train"))
    for number in range(4):
        runs.save(opened, whole.model_copy(update={"id": f"20990101-00000{number}", "stages": whole.stages[:number]}))
    gone = whole.stages[0].model_copy(update={"address": "labelled-ingestion/0123456789abcdef"})
    runs.save(opened, whole.model_copy(update={"id": "20990102-000000-gone", "stages": (gone,)}))
    told = fettle("show", f"export:{row['line']}", "--store", str(store), "--json").json
    assert told["id"] == row["id"]
    early = fettle("show", row["id"][:12], "--run", "20990101-000003", "--store", str(store), "--json").json
    assert early["places"][0]["steps"][-1]["verdict"] == "not reached"
    assert "no row export:99999" in fettle("show", "export:99999", "--store", str(store)).err
    left = fettle("diff", whole.id, "20990101-000001", "--store", str(store), "--json").json["rows"]["left"]
    assert left == opened.manifest(whole.stages[3].address).tables["train"].rows
    refused = fettle("show", row["id"][:12], "--tokens", "--store", str(store))
    assert refused.code == 2
    assert "of a labelled text all are read" in refused.err


def test_methods_compare_in_one_table_and_share_the_data_stages(fettle: Fettle, store: Path, place: Path) -> None:
    answer = fettle(
        "run", "tickets.yaml", "--store", str(store), "--json", "--sweep", "training.method=full,frozen,lora"
    )
    assert answer.code == 0, answer.err + answer.out
    variants = answer.json["variants"]
    assert [each["training.method"] for each in variants] == ["full", "frozen", "lora"]
    assert all({"macro-F1", "accuracy", "validation macro-F1", "verdict", "run"} <= set(each) for each in variants)
    assert answer.json["best"] == [f"training.method={_best(variants)}"]
    opened = Store(str(store))
    for each in variants:
        run = runs.find(opened, each["run"])
        assert run is not None
        assert run.outcome == "evaluated"
        assert all(record.cached for record in run.stages if record.verb in (*DATA, "baseline", "probe"))
    assert len(registry.versions(opened)) == 1, "a comparison publishes nothing"


def _best(variants: list[dict[str, Any]]) -> str:
    return str(max(variants, key=lambda each: float(each["validation macro-F1"]))["training.method"])


def test_one_variant_that_fails_does_not_keep_the_others_back(fettle: Fettle, store: Path, place: Path) -> None:
    answer = fettle(
        "run", "tickets.yaml", "--store", str(store), "--json", "--sweep", "tokenization.max_length=512,100000"
    )
    assert answer.code == 1
    verdicts = [each["verdict"] for each in answer.json["variants"]]
    assert verdicts[0] == "pass"
    assert verdicts[1].startswith("failed: tokenization.max_length is 100000")


def test_a_sweep_of_what_is_no_field_is_refused_before_anything_runs(
    fettle: Fettle, tmp_path: Path, place: Path
) -> None:
    answer = fettle("run", "tickets.yaml", "--store", str(tmp_path / "new"), "--sweep", "training.methd=full,lora")
    assert answer.code == 2
    assert "did you mean method?" in answer.err
    assert "give it as field.field=value" in fettle("run", "tickets.yaml", "--sweep", "training.method").err


def test_the_plan_tells_stages_and_advises_by_the_number_of_rows(
    fettle: Fettle, store: Path, tmp_path: Path, place: Path
) -> None:
    known = fettle("plan", "tickets.yaml", "--store", str(store)).out
    assert known.count("cached") >= 12
    unknown = fettle("plan", "tickets.yaml", "--store", str(tmp_path / "empty"))
    assert unknown.code == 0, unknown.err
    assert "--exact" in unknown.out
    frozen = fettle("plan", "tickets.yaml", "--store", str(store), "--set", "training.method=frozen").out
    assert "an encoder made here knows little; use full" in frozen


def test_the_command_writes_the_recipe_and_keeps_one_that_is_there(fettle: Fettle, store: Path, place: Path) -> None:
    (place / "export.csv").write_text((place / "tickets.csv").read_text(encoding="utf-8"), encoding="utf-8")
    other = fettle("classify", "export.csv", "--recipe", "recipe.yaml", "--store", str(store))
    assert other.code == 2
    assert "says something else" in other.err
    folder = fettle("classify", "export.csv", "--recipe", ".", "--store", str(store))
    assert folder.code == 2
    assert "cannot write" in folder.err
    misnamed = fettle("classify", "export.csv", "--name", "Foo", "--recipe", "foo.yaml", "--store", str(store))
    assert misnamed.code == 2
    assert not (place / "foo.yaml").exists()
    half = fettle("classify", "export.csv", "--text", "text", "--store", str(store))
    assert half.code == 2
    assert "give both" in half.err
    # The settings of the finished run, so that it has nothing to compute.
    settings = [f"--set={name}={json.dumps(SMALL[name])}" for name in ("encoder", "evaluation")]
    settings += [f"--set=training.{name}={value}" for name, value in SMALL["training"].items()]  # type: ignore[attr-defined]
    answer = fettle("classify", "export.csv", "--name", "exported", *settings, "--store", str(store), "--json")
    assert answer.code == 0, answer.err + answer.out
    assert yaml.safe_load((place / "exported.yaml").read_text())["name"] == "exported"


def test_a_gate_that_refuses_says_why_and_publishes_nothing(fettle: Fettle, store: Path, place: Path) -> None:
    answer = fettle(
        "run", "tickets.yaml", "--store", str(store), "--json", "--set", "name=untrained",
        "--set", "training.epochs=0.05", "--set", "training.learning_rate=1e-6",
    )  # fmt: skip
    assert answer.code == 3, answer.err + answer.out
    assert answer.json["verdict"] == "fail"
    assert "TF-IDF" in answer.json["reason"]
    assert registry.versions(Store(str(store)), "untrained") == []
    assert "below" in Path(answer.json["report"]).read_text(encoding="utf-8")


def test_evaluate_report_and_history_know_classifiers(fettle: Fettle, store: Path, place: Path) -> None:
    judged = fettle("evaluate", "tickets.yaml", "--store", str(store))
    assert judged.code == 0, judged.err
    assert "macro-F1" in judged.out
    page = place / "report.html"
    assert fettle("report", "--store", str(store), "--output", str(page)).code == 0
    assert "TF-IDF" in page.read_text(encoding="utf-8")
    over_time = place / "runs.html"
    assert fettle("report", "--over-time", "--store", str(store), "--output", str(over_time)).code == 0
    assert "macro-F1" in over_time.read_text(encoding="utf-8")
    assert fettle("history", "--store", str(store)).code == 0
    assert fettle("models", "--store", str(store), "--json").json[0]["version"] == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("kind=classificaton",), "write classification for labelled texts"),
        (("training.method=fulll",), "training.method"),
        (("training.class_weights=balanced", "training.sampling=balanced"), "favour rare labels twice"),
        (("mixing.test=0.9",), "mixing.test"),
        (("sources.0.uri=nowhere.csv",), "nowhere.csv"),
    ],
)
def test_a_recipe_that_cannot_be_used_says_so(
    settings: tuple[str, ...], words: str, fettle: Fettle, tmp_path: Path, place: Path
) -> None:
    told = [part for setting in settings for part in ("--set", setting)]
    answer = fettle("run", "tickets.yaml", "--store", str(tmp_path / "new"), *told)
    assert answer.code == 2
    assert words in answer.err
