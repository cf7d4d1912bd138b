"""What the metrics say of a store: counted right, bounded, fast, and true after what they tell of was swept."""

import json
import re
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flows.board.from_runs import _commonest
from flows.board.metrics import METRICS, MOST_REASONS, MOST_RECIPES
from flows.board.service import Board
from tasks.artifacts import aliases, registry, runs
from tasks.artifacts.checkpoints import Checkpoints
from tasks.artifacts.runs import Run
from tasks.artifacts.store import Store
from tasks.trainer.journal import FILE, Journal
from tests.board.exposed import labels_of, scrape
from tests.board.made import FACTS, RECIPE, make
from tests.board.many_runs import add_runs


def test_a_published_run_is_told_from_its_end_to_its_rows(store: Store, run: Run) -> None:
    told = scrape(Board(store))
    assert told.of("fettle_runs_total", recipe=RECIPE) == {
        ("published",): 1,
        ("refused",): 0,
        ("evaluated",): 0,
        ("failed",): 0,
    }
    assert told.one("fettle_runs_open") == 0
    assert told.one("fettle_run_seconds_total") == told.one("fettle_last_run_seconds") == 60
    began = datetime.fromisoformat(run.started).timestamp()
    assert told.of("fettle_last_run_timestamp_seconds", recipe=RECIPE) == {("published",): began}
    assert told.one("fettle_stages_total", stage="curation", cache="hit") == 1
    assert told.one("fettle_stages_total", stage="training", cache="miss") == 1
    assert told.one("fettle_stage_seconds_total", stage="curation") == 0
    assert told.one("fettle_stage_seconds_total", stage="training") == 2
    assert told.of("fettle_rows_dropped", recipe=RECIPE, stage="curation") == {("truncated",): 5, ("repetitive",): 2}
    assert told.one("fettle_rows_read", stage="ingestion") == 100
    assert told.one("fettle_rows_kept", stage="deduplication") == 80
    assert told.one("fettle_gate_verdicts", verdict="pass") == told.one("fettle_gate_last_verdict", verdict="pass") == 1
    assert told.of("fettle_score", recipe=RECIPE, measure="facts") == {
        ("base", "%"): 50,
        ("tuned", "%"): 75,
        ("production", "%"): 70,
    }
    assert told.one("fettle_training_loss") == FACTS["last_loss"]
    assert told.one("fettle_training_tokens_per_second") == FACTS["tokens_per_second"]
    assert told.one("fettle_training_device_seconds") == 1800
    assert told.one("fettle_up", source="store") == 1
    assert not told.of("fettle_training_cost"), "a recipe without a price is not free"


def test_a_refused_run_counts_against_the_gate_and_a_priced_one_costs(store: Store) -> None:
    make(store, "other", day=2, price=3.0, verdict="fail")
    told = scrape(Board(store))
    assert told.one("fettle_runs_total", recipe="other", outcome="refused") == 1
    assert told.one("fettle_gate_last_verdict", recipe="other", verdict="fail") == 1
    assert told.of("fettle_training_cost") == {("other",): 1.5}
    assert told.one("fettle_recipes") == 2


def test_a_models_age_follows_its_alias_and_a_waiting_version_is_told(store: Store, run: Run) -> None:
    board = Board(store)
    before = scrape(board)
    published = before.one("fettle_model_published_timestamp_seconds", model=RECIPE, alias="production")
    assert 0 <= datetime.now(UTC).timestamp() - published < 300
    assert before.one("fettle_models_waiting") == 0

    made = {stage.verb: store.manifest(stage.address).artifact for stage in run.stages}
    other = make(store, "other", day=2)
    second = registry.register(
        store,
        RECIPE,
        store.manifest(other.stages[-1].address).artifact,
        made["evaluate"],
        made["train"],
        "pass",
        {"approval": "person"},
    )
    assert scrape(board).one("fettle_models_waiting", model=RECIPE) == 1
    seen = aliases.history(store, RECIPE, "production")
    aliases.move(store, RECIPE, "production", second.version, seen, kind="promotion", by="a test", why="")
    assert scrape(board).one("fettle_model_version", model=RECIPE, alias="production") == 2


def test_a_training_under_way_shows_the_loss_of_its_newest_checkpoint(store: Store, run: Run, tmp_path: Path) -> None:
    training = "training/0123456789abcdef"
    going_on = run.model_copy(
        update={"id": "20990101-000000-0000", "outcome": "running", "stages": run.stages[:5], "making": training}
    )
    runs.save(store, going_on)
    board = Board(store)
    assert scrape(board).one("fettle_training_under_way") == 0, "it has no checkpoint yet"

    journal = Journal()
    for step, loss in ((1, 3.0), (2, 2.5)):
        journal.step(step, 0.1, [0], loss=loss, grad_norm=1.0, learning_rate=1e-3, tokens=500)
        folder = tmp_path / f"step-{step}"
        folder.mkdir()
        (folder / FILE).write_text(json.dumps(journal.state()))
        Checkpoints(store, training).save(folder, None)
        told = scrape(board)
        assert told.one("fettle_training_under_way") == 1
        assert told.one("fettle_training_loss") == loss
        assert told.one("fettle_training_steps") == step
        assert told.one("fettle_training_tokens") == 500 * step
    assert told.one("fettle_runs_open") == 1
    assert told.one("fettle_training_device_seconds") == 1800, "what a training costs is known when it ended"


def test_sweeping_lowers_no_counter_and_no_verdict_that_was_seen(store: Store, run: Run) -> None:
    board = Board(store)
    before = scrape(board)
    for stage in run.stages:
        shutil.rmtree(Path(store.uri, stage.address))
    after = scrape(board)
    for name in ("fettle_runs_total", "fettle_stages_total", "fettle_gate_verdicts", "fettle_rows_dropped"):
        assert after.of(name) == before.of(name)
    anew = scrape(Board(store))
    assert anew.of("fettle_runs_total") == before.of("fettle_runs_total")
    assert anew.one("fettle_up", source="store") == 1


def test_one_damaged_record_or_artifact_takes_no_other_metric_along(store: Store, run: Run) -> None:
    evaluation = next(stage.address for stage in run.stages if stage.verb == "evaluate")
    Path(store.uri, evaluation, "manifest.json").write_text("{")
    Path(store.uri, "runs", RECIPE, "20990101-000000-0000.json").write_text("no record")
    hostile = run.model_copy(
        update={
            "id": "20990101-000000-0001",
            "stages": tuple(each.model_copy(update={"address": f"../../{each.address}"}) for each in run.stages),
        }
    )
    runs.save(store, hostile)
    Path(store.uri, "models", RECIPE, "0001", "version.json").write_text("{}")
    told = scrape(Board(store))
    assert told.one("fettle_up", source="store") == 1
    assert told.one("fettle_runs_total", outcome="published") == 2
    assert told.one("fettle_gate_verdicts", verdict="pass") == 0


def test_a_store_that_vanished_is_told_as_down_and_not_as_empty(store: Store) -> None:
    board = Board(store)
    assert scrape(board).one("fettle_up", source="store") == 1
    shutil.rmtree(store.uri)
    told = scrape(board)
    assert told.one("fettle_up", source="store") == 0
    assert told.names == {"fettle_up"}


def test_labels_stay_few_however_many_recipes_and_reasons_there_are(store: Store) -> None:
    for number in range(MOST_RECIPES + 5):
        runs.save(store, runs.begin(f"recipe-{number}", {}))
    told = scrape(Board(store))
    assert told.one("fettle_recipes") == MOST_RECIPES + 6
    assert len(told.of("fettle_runs_open")) == MOST_RECIPES

    reasons = {f"reason {number:02}": 100 - number for number in range(MOST_REASONS + 3)}
    few = _commonest(reasons)
    assert len(few) == MOST_REASONS + 1
    assert sum(few.values()) == sum(reasons.values())
    assert few["other"] == sum(100 - number for number in range(MOST_REASONS, MOST_REASONS + 3))


def test_every_metric_is_named_and_labelled_as_declared(store: Store) -> None:
    for name in METRICS:
        assert re.fullmatch(r"fettle_[a-z]+(_[a-z]+)*", name), name
    told = list(labels_of(scrape(Board(store)).text))
    assert told
    assert all(labels == set(METRICS[name].labels) for name, labels in told)


def test_a_scrape_of_five_hundred_runs_takes_less_than_a_second(store: Store) -> None:
    add_runs(Path(store.uri), 500, recipes=5)
    board = Board(store)
    scrape(board)
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        told = scrape(board)
        seconds.append(time.perf_counter() - began)
    assert sum(told.of("fettle_runs_total").values()) == 501
    assert sum(told.of("fettle_gate_verdicts").values()) == 501
    assert min(seconds) < 1.0, seconds


@pytest.mark.parametrize("copied", ["elsewhere/{id}.json", "{recipe}/copy.json"])
def test_a_copied_record_is_counted_once(store: Store, run: Run, copied: str) -> None:
    path = Path(store.uri, "runs", copied.format(id=run.id, recipe=RECIPE))
    path.parent.mkdir(exist_ok=True)
    shutil.copy(Path(store.uri, run.path), path)
    assert scrape(Board(store)).one("fettle_runs_total", outcome="published") == 1
