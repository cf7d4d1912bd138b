"""A judge, and more items until a case is decided, as flows wire them: from the recipe to the report."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows import pipeline
from flows.recipe import Inputs, parse_recipe
from tasks.artifacts import runs
from tasks.artifacts.manifest import Artifact, Counts, Identity
from tasks.artifacts.resource import Resource
from tasks.artifacts.store import Store
from tasks.asked import ANSWERS, ITEMS
from tasks.evaluation import MOST_LOOKS
from tests.algorithms.measurements import choices, generated, heldout, together
from tests.flows.conftest import RECIPE, Fettle
from tests.judging.judges import by_length, judge
from tests.servers.chat_completions import ChatServer

pytestmark = pytest.mark.xdist_group("flows-judging")  # one worker, as a server is started for each

KEY = "sk-very-secret-0123456789"


@pytest.fixture
def judging() -> Iterator[ChatServer]:
    with ChatServer(judge(by_length)) as server:
        yield server


def test_a_run_is_judged_as_its_recipe_says_and_the_key_stays_out_of_it(
    fettle: Fettle, store: Path, judging: ChatServer
) -> None:
    # As many prompts as the finished run has answers to, so that no model is loaded.
    settings = {"endpoint": judging.endpoint, "model_name": "judge-1", "api_key_variable": "JUDGE_KEY", "prompts": 4}
    command = ("evaluate", "recipe.yaml", "--store", str(store), "--set", f"evaluation.judge={json.dumps(settings)}")
    before = runs.recent(Store(str(store)))
    missing = fettle(*command)
    assert missing.code == 1
    assert "JUDGE_KEY, but no such variable is set" in missing.err
    # Nothing was computed before that was found.
    assert runs.recent(Store(str(store))) == before
    assert judging.requests == []

    judged = fettle(*command, JUDGE_KEY=KEY)
    assert judged.code == 0, judged.err
    (run, *_) = runs.recent(Store(str(store)))
    assert [stage.verb for stage in run.stages][-2:] == ["evaluate", "judge"]
    facts = Store(str(store)).manifest(run.stages[-1].address).facts
    (compared,) = facts["comparisons"]
    assert (facts["void"], facts["failed"], compared["prompts"]) == ([], 0, 4)
    assert f"judge    tuned wins {compared['rate']:.0%} (" in judged.out
    assert {asked.headers["Authorization"] for asked in judging.requests} == {f"Bearer {KEY}"}
    asked = len(judging.requests)
    assert fettle(*command, JUDGE_KEY=KEY).code == 0
    assert len(judging.requests) == asked == facts["questions"]

    page = store.parent / "report.html"
    assert fettle("report", "--store", str(store), "--output", str(page)).code == 0
    assert "judge-1" in page.read_text()
    assert KEY not in f"{judged}{page.read_text()}"
    assert not [path for path in store.rglob("*") if path.is_file() and KEY in contents(path)]


def contents(path: Path) -> str:
    if path.suffix == ".parquet":
        return repr(pq.read_table(path).to_pylist())
    return path.read_bytes().decode("utf-8", "replace")


def test_items_are_drawn_until_a_case_is_decided_and_the_last_look_is_judged(
    tmp_path: Path, judging: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(str(tmp_path / "store"))
    store.probe()
    trained = committed(store, "training", {})
    looked: list[tuple[str, int]] = []

    def measure(opened: Store, _config: object, model: Artifact | Resource, *rest: Any) -> Artifact:
        """As a model answers that forgets one question of thirteen, and learns another."""
        _heldout, _prompts, (benchmark,), _tokenizer = rest
        side, items = "base" if isinstance(model, Resource) else "tuned", int(benchmark.facts["max_items"])
        looked.append((side, items))
        right = [place % 13 != (side == "base") for place in range(items)]
        answers = generated([f"{side} answers {place} in some few words" for place in range(6)], answer="")
        return committed(opened, "measurement", together(choices(right), answers, heldout([1.0] * 20)), model)

    monkeypatch.setattr(pipeline, "measure", measure)
    recipe = parse_recipe({**RECIPE, "evaluation": {
        "benchmarks": [{"name": "b", "uri": "b.jsonl", "kind": "multiple_choice", "max_items": 60}],
        "judge": {"endpoint": judging.endpoint, "model_name": "judge-1", "prompts": 6, "sentinels": 2},
        "until_decided": True,
    }}, "the test's recipe")  # fmt: skip
    benchmark = Resource(uri="b", files={}, paths={}, facts={"name": "b", "max_items": 60})
    inputs = Inputs(
        sources=(), benchmarks=(benchmark,), base_model=Resource(uri="base", files={"weights": "b" * 64}, paths={})
    )
    weighed = pipeline.weigh(recipe, inputs, store, pipeline.Learnt(trained, trained, trained))

    sides, counts = zip(*looked, strict=True)
    assert sides == ("base", "tuned") * (len(looked) // 2)
    assert counts[::2] == counts[1::2]
    assert 60 == counts[0] < counts[-1]
    assert list(counts) == sorted(counts)
    assert store.manifest(weighed.evaluated).identity.config["looks"] == MOST_LOOKS >= len(looked) // 2 > 1
    assert weighed.judged is not None
    compared = {parent.address for parent in store.manifest(weighed.evaluated).identity.parents}
    assert {parent.address for parent in store.manifest(weighed.judged).identity.parents} == compared
    assert store.manifest(weighed.judged).facts["comparisons"][0]["prompts"] == 6

    looked.clear()
    once = recipe.model_copy(update={"evaluation": recipe.evaluation.model_copy(update={"until_decided": False})})
    first = pipeline.weigh(once, inputs, store, pipeline.Learnt(trained, trained, trained))
    assert looked == [("base", 60), ("tuned", 60)]
    assert store.manifest(first.evaluated).facts["verdict"] == "underpowered"


HELDOUT = pa.schema(
    [("row_id", pa.string()), ("source", pa.string()), ("loss_sum", pa.float64()), ("tokens", pa.int64())]
)


def committed(
    store: Store, stage: str, tables: dict[str, list[dict[str, object]]], model: Artifact | Resource | None = None
) -> Artifact:
    """An artifact of these rows; a view of nothing where it has none."""
    parents = () if model is None else (model.as_parent("model"),)
    counted = {name: len(rows) for name, rows in tables.items()}
    with store.attempt(Identity(stage=stage, version=1, config=counted, parents=parents)) as attempt:
        schemas = {"items": ITEMS, "answers": ANSWERS, "heldout": HELDOUT}
        for name, schema in schemas.items():
            attempt.write(name, pa.Table.from_pylist(tables.get(name, []), schema))
        attempt.write("template", pa.table({"text": ["x"]}))
        attempt.facts["dtype"] = "float32"
        attempt.counts = Counts(read=0, kept=0)
        return attempt.commit({})
