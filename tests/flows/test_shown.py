"""What a run shows of itself in Prefect's UI: the parts that need no server."""

import base64
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from flows.planning import Step
from flows.recipe import Recipe
from flows.shown.links import report_link
from flows.shown.naming import name_of
from flows.shown.pictures import address_of, benchmark_picture, loss_picture
from flows.shown.planned import in_a_sentence
from tasks.artifacts import runs
from tasks.artifacts.store import Store
from tasks.reporting.score_facts import ScoreFacts
from tasks.reporting.training_facts import CurvePoint

SVG = "{http://www.w3.org/2000/svg}"


def recipe(**fields: Any) -> Recipe:
    return Recipe.model_validate(
        {"name": "small", "base_model": "org/model", "sources": [{"name": "a", "uri": "/a.jsonl"}], **fields}
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with one run of the recipe."""
    opened = Store(str(tmp_path / "store"))
    opened.probe()
    first = runs.begin("small", recipe().model_dump(mode="json"))
    # Ids of the same second are in no order.
    runs.save(opened, first.model_copy(update={"id": "20260101-000000-0000"}))
    return opened


def test_name_tells_what_changed_since_the_last_run(store: Store) -> None:
    assert name_of(recipe(), store.uri) == "small on org/model"
    faster = recipe(training={"learning_rate": 0.001, "epochs": 1})
    assert name_of(faster, store.uri) == (
        "small on org/model: training.epochs 2.0 → 1.0, training.learning_rate 2e-05 → 0.001"
    )
    other = recipe(sources=[{"name": "a", "uri": "/b.jsonl"}], training={"epochs": 1, "seed": 7})
    assert name_of(other, store.uri) == "small on org/model: sources changed, training.epochs 2.0 → 1.0, 1 more"


def test_name_of_a_first_run_and_of_one_whose_store_fails(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.probe()
    assert name_of(recipe(), store.uri) == "small on org/model"
    (tmp_path / "file").write_text("no folder")
    # The run itself says what is wrong with its store.
    assert name_of(recipe(), str(tmp_path / "file" / "store")) == "small on org/model"


def test_retried_run_keeps_its_name(store: Store) -> None:
    first = name_of(recipe(training={"epochs": 1}), store.uri)
    runs.save(store, runs.begin("small", recipe(training={"epochs": 1}).model_dump(mode="json")))
    assert name_of(recipe(training={"epochs": 1}), store.uri, current=first) == first
    assert name_of(recipe(training={"epochs": 1}), store.uri, current="lucky-otter") == "small on org/model"


def test_recipe_of_before_a_field_came_is_no_change(store: Store) -> None:
    older = recipe().model_dump(mode="json")
    del older["training"]["seed"], older["publication"]
    runs.save(store, runs.begin("small", older))
    assert name_of(recipe(), store.uri) == "small on org/model"


def step(verb: str, status: Any) -> Step:
    return Step(stage=verb, verb=verb, status=status, why=(), address="")


def test_plan_in_a_sentence() -> None:
    assert in_a_sentence([step("ingest", "cached"), step("train", "cached")]) == "All 2 stages are cached"
    steps = [
        step("ingest", "cached"),
        step("train", "will run"),
        step("measure", "depends"),
        step("measure", "depends"),
    ]
    assert in_a_sentence(steps) == "1 of 4 stages are cached; what runs or may run: train, measure"


def score(name: str, **fields: Any) -> ScoreFacts:
    told: dict[str, Any] = {"base": 50.0, "tuned": 60.0, "difference": 10.0, "low": 5.0, "high": 15.0} | fields
    return ScoreFacts(name=name, kind="generation", better=told.pop("better", "higher"), items=100, **told)


def drawn(svg: str) -> ElementTree.Element:
    """The picture as a browser gets it."""
    kind, _, data = address_of(svg).partition(",")
    assert kind == "data:image/svg+xml;base64"
    return ElementTree.fromstring(base64.b64decode(data).decode())


def texts(picture: ElementTree.Element) -> list[str]:
    return [node.text or "" for node in picture.iter(f"{SVG}text")]


def test_loss_picture_draws_both_losses_from_left_to_right() -> None:
    curve = [CurvePoint(step=i, loss=3 / i, heldout_loss=4 / i if i % 5 == 0 else None) for i in range(1, 21)]
    picture = drawn(loss_picture(curve))
    assert {"training loss", "held-out loss", "nats a token", "optimiser step"} <= set(texts(picture))
    dots = [(float(dot.attrib["cx"]), float(dot.attrib["cy"])) for dot in picture.iter(f"{SVG}circle")]
    assert len(dots) == 4
    # Later is further right, a lower loss is further down.
    assert dots == sorted(dots)
    assert [y for _, y in dots] == sorted(y for _, y in dots)


def test_loss_picture_of_a_single_step_shows_it() -> None:
    picture = drawn(loss_picture([CurvePoint(step=1, loss=2.5)]))
    assert len(list(picture.iter(f"{SVG}circle"))) == 1
    assert "held-out loss" not in texts(picture)


def test_benchmark_picture_has_better_on_the_right() -> None:
    scores = [
        score("up"),
        score("down", tuned=40.0, difference=-10.0, low=-15.0, high=-5.0),
        score("loss", better="lower", base=2.0, tuned=1.5, difference=-0.5, low=-0.6, high=-0.4, unit="nats"),
        score("unsure", tuned=50.0, difference=0.0, low=-5.0, high=5.0),
    ]
    picture = drawn(benchmark_picture(scores))
    up, down, loss, unsure = (float(dot.attrib["cx"]) for dot in picture.iter(f"{SVG}circle"))
    assert down < unsure < up
    assert loss > unsure
    colours = [dot.attrib["fill"] for dot in picture.iter(f"{SVG}circle")]
    assert colours[0] == colours[2] != colours[1]
    assert "2.000 → 1.500   −0.500" in texts(picture)


def test_names_cannot_break_a_picture() -> None:
    picture = drawn(benchmark_picture([score("<script>&\"'", against="production"), score("n" * 80)]))
    assert "<script>&\"' (production)" in texts(picture)
    assert max(map(len, texts(picture))) < 40
    assert {node.tag.removeprefix(SVG) for node in picture.iter()} == {"svg", "rect", "polyline", "circle", "text"}


def test_report_link(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FETTLE_BOARD_URL", "http://127.0.0.1:4201/")
    assert report_link(store, "20261121-1", "publication/1") == "[Report](http://127.0.0.1:4201/reports/20261121-1)"
