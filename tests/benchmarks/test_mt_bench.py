"""MT-Bench: two turns, of which the second holds the model's own first answer; references where judges need them."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tasks.artifacts.resource import Resource, read_resource
from tasks.benchmarks import mt_bench
from tasks.benchmarks.item import BenchmarkError, Response

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data"
DATA = Path(os.environ.get("FETTLE_REAL_DATA", BESIDE))
QUESTIONS = DATA / "benchmarks" / "mt_bench_questions.parquet"


def questions(path: Path, *rows: dict[str, Any]) -> Resource:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_resource(str(path), facts={"name": "mt"})


WRITING = {"question_id": 81, "category": "writing", "turns": ["Write.", "Shorten."], "reference": ["unused", "unused"]}
MATH = {"prompt_id": 111, "category": "math", "prompt": ["2 + 2?", "Twice?"], "reference_gpt4": ["4", "8"]}


def test_the_second_turn_follows_the_models_own_answer(tmp_path: Path) -> None:
    first, sums = mt_bench.items(questions(tmp_path / "mt.jsonl", WRITING, MATH))
    assert (first.item_id, first.cluster, first.question, first.answer) == ("81/1", "writing", "Write.", "")
    assert mt_bench.messages(first) == [{"role": "user", "content": "Write."}]
    second = mt_bench.follow_up(first, "Once upon a time — 昔々.")
    assert second is not None
    assert (second.item_id, second.question) == ("81/2", "Shorten.")
    assert mt_bench.messages(second) == [
        {"role": "user", "content": "Write."},
        {"role": "assistant", "content": "Once upon a time — 昔々."},
        {"role": "user", "content": "Shorten."},
    ]
    assert mt_bench.follow_up(second, "Once.") is None
    then = mt_bench.follow_up(sums, "5")
    assert then is not None
    assert (sums.answer, then.answer, then.item_id) == ("4", "8", "111/2")
    assert mt_bench.prompt_and_turn("mt.jsonl:3/2") == ("mt.jsonl:3", 2)
    assert mt_bench.score(first, Response(text="Once.")) is None


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({**MATH, "reference_gpt4": ["4"]}, "1 reference answers for 2 turns"),
        ({**MATH, "prompt": "2 + 2?"}, "lists of texts; there is '2 \\+ 2\\?'"),
        ({**MATH, "prompt": []}, "lists of texts"),
        ({"category": "math"}, "no turns or prompt"),
        ({"turns": ["a"]}, "no category"),
    ],
)
def test_a_question_that_cannot_be_asked_is_named(tmp_path: Path, row: dict[str, Any], says: str) -> None:
    with pytest.raises(BenchmarkError, match=says):
        mt_bench.items(questions(tmp_path / "mt.jsonl", row))


@pytest.mark.skipif(not QUESTIONS.is_file(), reason="the real data is not on this machine")
def test_the_eighty_questions() -> None:
    found = mt_bench.items(read_resource(str(QUESTIONS), facts={"name": "mt_bench"}))
    assert len(found) == len({item.item_id for item in found}) == 80
    assert len({item.cluster for item in found}) == 8
    seconds = [mt_bench.follow_up(item, "…") for item in found]
    assert all(seconds)
    referenced = [item for item in [*found, *seconds] if item is not None and item.answer]
    assert len(referenced) == 60
    assert {item.cluster for item in referenced} == set(mt_bench.JUDGED_BY_REFERENCE)
