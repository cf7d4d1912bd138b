"""The flows beside training, as people start them from a form: data, evaluate, publish, rollback, gc."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.utilities.callables import parameter_schema

from flows.collecting import gc
from flows.errors import RecipeError
from flows.measuring import evaluate
from flows.preparing import data
from flows.recipe import load_recipe
from flows.releasing import publish, rollback
from flows.retraining import retrain
from flows.server import Server
from tasks.artifacts import aliases, runs
from tasks.artifacts.errors import StoreError
from tasks.artifacts.registry import version
from tasks.artifacts.store import Store
from tasks.benchmarks import BenchmarkSource
from tasks.gate_record import GateRefusedError
from tests.flows.conftest import BASE_MODEL

pytestmark = pytest.mark.xdist_group("flows-other_flows")  # one worker, as a server is started for each


@pytest.fixture
def api(server: Server) -> Iterator[None]:
    with temporary_settings({PREFECT_API_URL: f"{server.address}/api"}):
        yield
        # The server may be gone when the process ends.
        APILogHandler().flush()
        EventsWorker.drain_all(timeout=5)


@pytest.mark.parametrize("flow", [retrain, data, evaluate, publish, rollback, gc])
def test_every_field_of_the_form_has_help(flow: Any) -> None:
    fields = parameter_schema(flow).properties
    assert {name for name, field in fields.items() if not field.get("description")} == set()


@pytest.mark.usefixtures("api")
def test_data_stages_without_a_model_s_weights(workplace: Path, store: Path) -> None:
    opened = Store(str(store))
    before = opened.addresses()
    recipe = load_recipe(workplace / "recipe.yaml", ["tokenization.max_length=128"])
    made = opened.manifest(data(recipe, str(store)))
    assert made.facts["max_length"] == 128
    assert sorted(set(opened.addresses()) - set(before)) == [made.identity.address]


@pytest.mark.usefixtures("api")
def test_published_model_beside_its_base(workplace: Path, store: Path) -> None:
    knowledge = BenchmarkSource(
        name="knowledge", uri=str(workplace / "benchmarks" / "general_knowledge.jsonl"), prompt="chat", max_items=8
    )
    result = evaluate("small@production", (knowledge,), against=str(BASE_MODEL), store_uri=str(store))
    assert (result.model, result.against) == ("small@production", str(BASE_MODEL))
    assert result.verdict in ("pass", "investigate", "underpowered", "fail")
    (score, *_) = result.scores
    assert (score["name"], score["items"], score["unit"]) == ("knowledge", 8, "%")
    assert 0 <= score["base"] <= 100
    addresses = Store(str(store)).addresses()
    alone = evaluate("small@1", (knowledge,), store_uri=str(store))
    assert (alone.verdict, alone.against) == (None, None)
    assert alone.scores[0] == {"name": "knowledge", "score": score["tuned"], "unit": "%", "items": 8}
    # It was asked before, under its other name.
    (made,) = set(Store(str(store)).addresses()) - set(addresses)
    assert made.startswith("evaluation/")
    with pytest.raises(RecipeError, match=r"model is small@staging, and no model small in .* has an alias staging"):
        evaluate("small@staging", (knowledge,), store_uri=str(store))


@pytest.mark.usefixtures("api")
def test_alias_is_moved_and_taken_back(store: Path) -> None:
    opened = Store(str(store))
    move = publish("small", 1, by="Ann", alias="staging", store_uri=str(store))
    assert (move.alias, move.version, move.by) == ("staging", 1, "Ann")
    assert aliases.aliases(opened, "small") == {"production": 1, "staging": 1}
    with pytest.raises(StoreError, match="small has no version 2"):
        publish("small", 2, by="Ann", store_uri=str(store))
    with pytest.raises(StoreError, match="had none before; there is nothing to go back to"):
        rollback("small", by="Ann", alias="staging", store_uri=str(store))
    weights = store / version(opened, "small", 1).folder / "model.safetensors"
    weights.write_bytes(b"\0" + weights.read_bytes()[1:])
    with pytest.raises((StoreError, GateRefusedError), match=r"model\.safetensors"):
        publish("small", 1, by="Ann", alias="live", store_uri=str(store))
    assert "live" not in aliases.aliases(opened, "small")


@pytest.mark.usefixtures("api")
def test_garbage_is_listed_then_removed(store: Path) -> None:
    opened = Store(str(store))
    (run,) = runs.recent(opened)
    stray = store / "mixing" / ("0" * 16) / "attempt-20260101T000000-00000000" / "part.parquet"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"cut off")
    listed = gc(older_than_hours=0, dry_run=True, store_uri=str(store))
    assert listed >= len(b"cut off")
    assert stray.exists()
    assert gc(older_than_hours=0, store_uri=str(store)) == listed
    assert not stray.exists()
    assert gc(older_than_hours=0, store_uri=str(store)) == 0
    assert all(opened.find(stage.address) for stage in run.stages)
