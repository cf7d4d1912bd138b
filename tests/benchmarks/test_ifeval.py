"""IFEval's prompts as items: what is asked, and how an answer is scored."""

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.artifacts.resource import read_resource
from tasks.benchmarks import BenchmarkSource, form_of, ifeval, load_items
from tasks.benchmarks.item import BenchmarkError, Item, Response
from tests.stages.making import benchmark

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data"
PROMPTS = Path(os.environ.get("FETTLE_REAL_DATA", BESIDE)) / "benchmarks/ifeval_input_data.parquet"

ROW: dict[str, Any] = {
    "key": 7,
    "prompt": "Name three rivers without commas in at least six words.",
    "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
    "kwargs": [{}, {"num_words": 6, "relation": "at least"}],
}


def items(tmp_path: Path, *rows: dict[str, Any]) -> list[Item]:
    return load_items(benchmark(tmp_path / "bench.jsonl", rows, kind="ifeval"))


def test_a_prompt_is_asked_as_it_stands(tmp_path: Path) -> None:
    (item,) = items(tmp_path, ROW)
    assert (item.item_id, item.cluster, item.question, item.prompt) == ("7", "7", ROW["prompt"], "")
    assert item.max_new_tokens == 1280
    assert form_of("ifeval", item) == "generation"


@pytest.mark.parametrize(
    ("text", "score", "each"),
    [
        ("The Rhine the Nile the Amazon.", 1.0, [(True, True), (True, True)]),
        ("The Rhine, the Nile, the Amazon.", 0.0, [(False, False), (True, True)]),
        ("Rhine Nile Amazon.", 0.0, [(True, True), (False, False)]),
        ("Sure, gladly:\nThe Rhine the Nile the Amazon.", 0.0, [(False, True), (True, True)]),
        ("Rhine, Nile", 0.0, [(False, False), (False, False)]),
        ("", 0.0, [(False, False), (False, False)]),
    ],
)
def test_only_an_answer_that_follows_all_instructions_counts(
    tmp_path: Path, text: str, score: float, each: list[tuple[bool, bool]]
) -> None:
    (item,) = items(tmp_path, ROW)
    response = Response(text=text)
    assert ifeval.score(item, response) == score
    assert ifeval.followed(item, response) == [
        ifeval.Followed(name, *verdicts) for name, verdicts in zip(ROW["instruction_id_list"], each, strict=True)
    ]


def test_arguments_as_text_as_padded_tables_and_as_text_each(tmp_path: Path) -> None:
    kwargs = ROW["kwargs"]
    padded = [{"num_words": None, "relation": None}, kwargs[1] | {"letter": None}]
    layouts = [kwargs, json.dumps(kwargs), [json.dumps(each) for each in kwargs], padded]
    made = items(tmp_path, *(ROW | {"key": number, "kwargs": each} for number, each in enumerate(layouts)))
    assert {item.details for item in made} == {json.dumps(list(zip(ROW["instruction_id_list"], kwargs, strict=True)))}


def test_the_hubs_table(tmp_path: Path) -> None:
    # There each object has the fields of all instructions, null where they are another's.
    arguments = pa.struct([("num_words", pa.int64()), ("relation", pa.string()), ("keywords", pa.list_(pa.string()))])
    fields = [("key", pa.int64()), ("prompt", pa.string()), ("instruction_id_list", pa.list_(pa.string()))]
    table = pa.Table.from_pylist([ROW], pa.schema([*fields, ("kwargs", pa.list_(arguments))]))
    pq.write_table(table, tmp_path / "train.parquet")
    declared = BenchmarkSource(name="ifeval", uri=str(tmp_path / "train.parquet"), kind="ifeval")
    (item,) = load_items(read_resource(declared.uri, facts=declared.reading()))
    assert ifeval.score(item, Response(text="The Rhine the Nile the Amazon.")) == 1.0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"prompt": None}, "bench.jsonl:1: no prompt or question"),
        ({"kwargs": [{}]}, "give two lists of the same length"),
        ({"instruction_id_list": [], "kwargs": []}, "give two lists of the same length"),
        ({"kwargs": "{"}, "kwargs is no JSON"),
        ({"kwargs": [{}, 5]}, "kwargs holds '5'; give an object"),
        ({"instruction_id_list": ["punctuation:no_comma", "x:y"]}, "bench.jsonl:1: nobody can check .* 'x:y'"),
        ({"kwargs": [{}, {"num_words": 6}]}, "bench.jsonl:1: .*number_words has the arguments .*relation: Field req"),
    ],
)
def test_a_row_that_nobody_can_check_is_an_error(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    with pytest.raises(BenchmarkError, match=says):
        items(tmp_path, ROW | change)


@pytest.mark.skipif(not PROMPTS.exists(), reason=f"no real data: {PROMPTS} is absent")
def test_the_541_prompts() -> None:
    declared = BenchmarkSource(name="ifeval", uri=str(PROMPTS), kind="ifeval")
    made = load_items(read_resource(declared.uri, facts=declared.reading()))
    assert len(made) == 541
    assert sum(len(json.loads(item.details)) for item in made) == 834
    response = Response(text="Yes.")
    scores = [ifeval.score(item, response) for item in made]
    strictly = [all(strict for _, strict, _ in ifeval.followed(item, response)) for item in made]
    assert scores == strictly
    assert 0 < sum(scores) < 200
