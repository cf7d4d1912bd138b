"""Benchmarks: items with ids, and errors that name what a row lacks."""

from pathlib import Path
from typing import Any

import pytest

from tasks.benchmarks import load_items, questions
from tasks.benchmarks.item import BenchmarkError, Item, drawn
from tests.stages.making import benchmark


def items(tmp_path: Path, kind: str, *rows: dict[str, Any]) -> list[Item]:
    return load_items(benchmark(tmp_path / "bench.jsonl", rows, kind=kind))


def test_multiple_choice_in_the_layouts_that_harnesses_exchange(tmp_path: Path) -> None:
    made = items(
        tmp_path,
        "multiple_choice",
        {"query": "Question: Who?", "choices": ["a", "b"], "gold": 1},
        {"question": "Which?", "choices": [1, 2, 3], "answer": 0, "id": "q2", "subject": "maths"},
    )
    assert [(m.item_id, m.cluster, m.question, m.choices, m.gold) for m in made] == [
        ("bench.jsonl:1", "bench.jsonl:1", "Who?", ("a", "b"), 1),
        ("q2", "maths", "Which?", ("1", "2", "3"), 0),
    ]


def test_truthfulqa_as_text_and_as_mapping(tmp_path: Path) -> None:
    made = items(
        tmp_path,
        "truthfulqa_mc1",
        {"question": "Why?", "mc1_targets": {"x": 0, "y": 1}},
        {"question": "How?", "mc1_targets": '{"x": 1, "y": 0}'},
    )
    assert [(m.choices, m.gold) for m in made] == [(("x", "y"), 1), (("x", "y"), 0)]


def test_generated_answers(tmp_path: Path) -> None:
    made = items(
        tmp_path, "generation", {"question": "Fee?", "answer": 4, "id": "f"}, {"prompt": "Who?", "answer": "I"}
    )
    assert [(m.item_id, m.answer, m.choices, m.gold) for m in made] == [
        ("f", "4", (), -1),
        ("bench.jsonl:2", "I", (), -1),
    ]


@pytest.mark.parametrize(
    ("kind", "row", "says"),
    [
        ("multiple_choice", {"query": "Who?", "choices": ["a", "b"]}, "no gold or answer or label"),
        ("multiple_choice", {"query": "Who?", "choices": ["a", "b"], "gold": 2}, "index of one of 2 choices"),
        ("multiple_choice", {"query": "Who?", "choices": ["a", "b"], "gold": "b"}, "gold is 'b'"),
        ("multiple_choice", {"query": "Who?", "choices": ["a", "b"], "gold": True}, "gold is True"),
        ("multiple_choice", {"query": "Who?", "choices": "ab", "gold": 0}, "give a list of two or more"),
        ("multiple_choice", {"query": "Who?", "choices": ["a"], "gold": 0}, "give a list of two or more"),
        ("multiple_choice", {"choices": ["a", "b"], "gold": 0}, "no query or question"),
        ("truthfulqa_mc1", {"question": "Why?", "mc1_targets": "{"}, "is no JSON"),
        ("truthfulqa_mc1", {"question": "Why?", "mc1_targets": [1]}, "maps each choice"),
        ("truthfulqa_mc1", {"question": "Why?", "mc1_targets": {"x": 1, "y": 1}}, "marks 2 choices as true"),
        ("generation", {"question": "Fee?"}, "no answer"),
        ("generation", {"question": "Fee?", "answer": " "}, "the answer is blank"),
    ],
)
def test_a_row_that_is_no_item_is_an_error(tmp_path: Path, kind: str, row: dict[str, Any], says: str) -> None:
    with pytest.raises(BenchmarkError, match=says):
        items(tmp_path, kind, row)


def test_no_items_broken_rows_and_shared_ids_are_errors(tmp_path: Path) -> None:
    row = {"id": "x", "question": "Fee?", "answer": "4"}
    with pytest.raises(BenchmarkError, match="holds no items"):
        items(tmp_path, "generation")
    with pytest.raises(BenchmarkError, match=r"benchmark bench: 1 items ask nothing, first x"):
        items(tmp_path, "generation", row | {"question": " \n"}, row | {"id": "y"})
    with pytest.raises(BenchmarkError, match="1 items share their id"):
        items(tmp_path, "generation", row, row)
    made = benchmark(tmp_path / "bad.jsonl", [row], kind="generation")
    (tmp_path / "bad.jsonl").write_text("{")
    broken = benchmark(tmp_path / "worse.jsonl", [], kind="generation")
    with pytest.raises(Exception, match="changed while the run was under way"):
        load_items(made)
    (tmp_path / "worse.jsonl").write_text('{"broken')
    with pytest.raises(BenchmarkError, match=r"worse\.jsonl:1: broken JSON"):
        load_items(broken.model_copy(update={"files": _digests(tmp_path / "worse.jsonl")}))


def _digests(path: Path) -> dict[str, str]:
    from tasks.artifacts.fingerprint import digest_file

    return {path.name: digest_file(path)}


def test_a_drawn_sample_is_not_the_beginning_and_stays_in_order() -> None:
    made = [Item(item_id=f"i{number}", cluster="c", question="q") for number in range(100)]
    chosen = drawn(made, 10)
    assert len(chosen) == 10
    assert chosen != made[:10]
    assert [made.index(each) for each in chosen] == sorted(made.index(each) for each in chosen)
    assert {each.item_id for each in drawn(made, 5)} < {each.item_id for each in chosen}
    assert drawn(made, None) == drawn(made, 200) == made


def test_decontamination_looks_for_choices_where_the_question_says_nothing(tmp_path: Path) -> None:
    stem, own = "Which of the following is true?", "What is the capital of Australia?"
    rows = [
        {"id": "a", "question": stem, "choices": ["Iron floats", "Gold is heavy"], "gold": 1},
        {"id": "b", "question": f"{stem} Mind the units.", "choices": ["1 m", "2 m"], "gold": 0},
        {"id": "c", "question": "Ice is", "choices": ["hot", "cold"], "gold": 1},
        {"id": "d", "question": own, "choices": ["Sydney", "Canberra"], "gold": 1},
    ]
    made = benchmark(tmp_path / "quiz.jsonl", rows, max_items=1)
    assert questions(made) == [
        ("quiz a", stem),
        ("quiz a", f"{stem}\nIron floats\nGold is heavy"),
        ("quiz a", f"{stem}\nA. Iron floats\nB. Gold is heavy"),
        ("quiz b", f"{stem} Mind the units."),
        ("quiz c", "Ice is"),
        ("quiz c", "Ice is\nhot\ncold"),
        ("quiz c", "Ice is\nA. hot\nB. cold"),
        ("quiz d", own),
    ]
    unasked = [("Fee?", "4"), ("Fee?", "5")]
    plain = [{"id": str(number), "question": q, "answer": a} for number, (q, a) in enumerate(unasked)]
    assert questions(benchmark(tmp_path / "p.jsonl", plain, kind="generation")) == [
        ("p 0", "Fee?"),
        ("p 1", "Fee?"),
    ]
