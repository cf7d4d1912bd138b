"""Benchmarks: items with ids, and errors that name what a row lacks."""

import json
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tasks.artifacts.fingerprint import digest, digest_file
from tasks.artifacts.resource import read_resource
from tasks.benchmarks import (
    KINDS,
    PUBLISHED,
    BenchmarkKind,
    BenchmarkSource,
    form_of,
    load_items,
    questions,
    require_digest,
)
from tasks.benchmarks.item import BenchmarkError, Item, Response
from tasks.config import Config
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
        ("bench.jsonl:1", "bench.jsonl:1", "Who?", ("a", "b"), (1,)),
        ("q2", "maths", "Which?", ("1", "2", "3"), (0,)),
    ]


def test_truthfulqa_as_text_and_as_mapping(tmp_path: Path) -> None:
    made = items(
        tmp_path,
        "truthfulqa_mc1",
        {"question": "Why?", "mc1_targets": {"x": 0, "y": 1}},
        {"question": "How?", "mc1_targets": '{"x": 1, "y": 0}'},
    )
    assert [(m.choices, m.gold) for m in made] == [(("x", "y"), (1,)), (("x", "y"), (0,))]


def test_parquet_gives_no_row_the_choices_of_another(tmp_path: Path) -> None:
    def read(kind: BenchmarkKind, *rows: dict[str, Any]) -> list[tuple[tuple[str, ...], tuple[int, ...]]]:
        pq.write_table(pa.Table.from_pylist(list(rows)), tmp_path / f"{kind}.parquet")
        declared = BenchmarkSource(name="own", uri=str(tmp_path / f"{kind}.parquet"), kind=kind)
        return [(m.choices, m.gold) for m in load_items(read_resource(declared.uri, facts=declared.reading()))]

    first = {"question": "Who?", "choices": {"A": "x", "B": "y"}, "gold": "B"}
    second = {"question": "How?", "choices": {"A": "x", "B": "y", "C": "z"}, "gold": "C"}
    assert read("multiple_choice", first, second) == [(("x", "y"), (1,)), (("x", "y", "z"), (2,))]
    first = {"question": "Who?", "mc1_targets": {"x": 1, "y": 0}}
    second = {"question": "How?", "mc1_targets": {"v": 0, "w": 1}}
    assert read("truthfulqa_mc1", first, second) == [(("x", "y"), (0,)), (("v", "w"), (1,))]


def test_where_labels_are_numbers_the_right_one_is_a_label(tmp_path: Path) -> None:
    choices = {"text": ["a", "b", "c", "d"], "label": [1, 2, 3, 4]}
    made = items(tmp_path, "arc", *({"question": "?", "choices": choices, "answerKey": key} for key in (3, "3", 4)))
    assert [item.gold for item in made] == [(2,), (2,), (3,)]


def test_a_small_result_is_right_when_it_is_repeated(tmp_path: Path) -> None:
    rows = {"question": "?", "answer": "#### 0.0000001"}
    (item,) = load_items(benchmark(tmp_path / "bench.jsonl", [rows], kind="gsm8k", few_shot=0))
    assert KINDS["gsm8k"].score(item, Response(text="It is 0.0000001.")) == 1
    assert KINDS["gsm8k"].score(item, Response(text="It is 7.")) == 0


def test_generated_answers(tmp_path: Path) -> None:
    made = items(
        tmp_path, "generation", {"question": "Fee?", "answer": 4, "id": "f"}, {"prompt": "Who?", "answer": "I"}
    )
    assert [(m.item_id, m.answer, m.choices, m.gold) for m in made] == [
        ("f", "4", (), ()),
        ("bench.jsonl:2", "I", (), ()),
    ]


def test_own_multiple_choice_counts_what_the_recipe_says(tmp_path: Path) -> None:
    row = {"query": "Who?", "choices": ["a", "nobody at all"], "gold": "B"}
    likely = Response(loglikelihoods=(-2.0, -4.0))
    (plain,) = items(tmp_path, "multiple_choice", row)
    assert (plain.prompt, plain.continuations, plain.gold) == (
        "Question: Who?\nAnswer:",
        (" a", " nobody at all"),
        (1,),
    )
    assert KINDS["multiple_choice"].score(plain, likely) == 0
    (normed,) = load_items(benchmark(tmp_path / "normed.jsonl", [row], metric="accuracy_norm"))
    assert KINDS["multiple_choice"].score(normed, likely) == 1


def test_own_examples_stand_in_front_and_are_not_asked(tmp_path: Path) -> None:
    rows = [
        {"query": "Who?", "choices": ["a", "b"], "gold": 1, "split": "train"},
        {"query": "Which?", "choices": ["c", "d"], "gold": 0},
    ]
    (shown,) = load_items(benchmark(tmp_path / "shown.jsonl", rows, few_shot=1))
    assert shown.context + shown.prompt == "Question: Who?\nAnswer: b\n\nQuestion: Which?\nAnswer:"
    assert [item.context for item in items(tmp_path, "multiple_choice", *rows)] == [""]
    assert questions(benchmark(tmp_path / "asked.jsonl", rows, few_shot=1))[0] == ("asked asked.jsonl:2", "Which?")


@pytest.mark.parametrize(
    ("metric", "answer", "text", "right"),
    [
        (None, "$4", "It costs $4 here.", 1),
        (None, "$4", "It costs $4.50 here.", 0),
        ("holds", "Rome", "the city of rome", 1),
        ("exact", "Rome", " rome.\n", 1),
        ("exact", "Rome", "the city of Rome", 0),
        ("number", "1200", "so 3 times 400 is $1,200.00", 1),
        ("number", "1200", "1200 divided by 4", 0),
        ("number", "0.5", "it is .5", 1),
        ("number", "-3", "minus: -3", 1),
        ("number", "3", "8-3", 1),
        ("number", "3", "1,2,3", 1),
        ("number", "3", "three", 0),
    ],
)
def test_generated_answers_are_scored_as_the_recipe_says(
    tmp_path: Path, metric: str | None, answer: str, text: str, right: int
) -> None:
    rows = [{"question": "Fee?", "answer": answer}]
    (made,) = load_items(benchmark(tmp_path / "bench.jsonl", rows, kind="generation", metric=metric))
    assert KINDS["generation"].score(made, Response(text=text)) == right


def test_texts_have_a_loss_and_no_score(tmp_path: Path) -> None:
    rows = [{"text": "It rains."}, {"text": " \n"}, {"content": "It snows.", "document": 3}]
    made = items(tmp_path, "text", *rows)
    assert [(item.prompt, item.cluster, item.item_id) for item in made] == [
        ("It rains.", "bench.jsonl:1", "bench.jsonl:1"),
        ("It snows.", "3", "bench.jsonl:3"),
    ]
    assert KINDS["text"].score(made[0], Response()) is None
    assert form_of("text", made[0]) == "text"


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
        ("multiple_choice", {"query": "Who?", "choices": ["a", "b"], "gold": "C"}, "gold is 'C'; .*2 choices, or A, B"),
        (
            "hellaswag",
            {"ctx_a": "x", "ctx_b": "", "activity_label": "y", "endings": ["a", "b"], "label": ""},
            "gold is ",
        ),
        ("gsm8k", {"question": "Fee?", "answer": "four"}, "the answer has no number"),
        ("text", {"title": "x"}, "no text or content; the row has title"),
        ("truthfulqa_mc1", {"question": "Why?", "mc1_targets": "{"}, "is no JSON"),
        ("truthfulqa_mc1", {"question": "Why?", "mc1_targets": [1]}, "maps each choice"),
        ("truthfulqa_mc1", {"question": "Why?", "mc1_targets": {"x": 1, "y": 1}}, "marks 2 choices as true"),
        (
            "truthfulqa_mc2",
            {"question": "Why?", "mc2_targets": {"choices": ["x", "y"], "labels": [1]}},
            "give two lists of the same length",
        ),
        ("multiple_choice", {"query": "Who?", "choices": ["a", None], "gold": 0}, "a list of two or more texts"),
        (
            "arc",
            {"question": "Who?", "choices": {"text": ["a", "b"], "label": ["A"]}, "answerKey": "A"},
            "give one each",
        ),
        ("arc", {"question": "Who?", "choices": {"text": ["a", "b"], "label": None}, "answerKey": 0}, "give one each"),
        ("generation", {"question": "Fee?"}, "no answer"),
        ("generation", {"question": "Fee?", "answer": " "}, "the answer is blank"),
    ],
)
def test_a_row_that_is_no_item_is_an_error(tmp_path: Path, kind: str, row: dict[str, Any], says: str) -> None:
    settings = {"few_shot": 0} if hasattr(KINDS[kind], "FEW_SHOT") else {}
    with pytest.raises(BenchmarkError, match=says):
        load_items(benchmark(tmp_path / "bench.jsonl", [row], kind=kind, **settings))


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
    return {path.name: digest_file(path)}


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


class Benchmarks(Config):
    """As a recipe lists them."""

    benchmarks: tuple[BenchmarkSource, ...]
    """What is asked."""


def test_every_kind_says_what_it_is() -> None:
    assert tuple(KINDS) == get_args(BenchmarkKind)
    for name, kind in KINDS.items():
        assert kind.__doc__, name
        assert bool(kind.SOURCE) == bool(kind.LICENCE), name
        assert kind.FORMAT in ("choices", "generation", "text"), name


def test_a_name_alone_is_a_published_benchmark() -> None:
    made = Benchmarks.model_validate({"benchmarks": ["mmlu", {"name": "ours", "uri": "x.jsonl"}]})
    assert made.benchmarks[0] == BenchmarkSource(name="mmlu", kind="mmlu", uri="hf://datasets/cais/mmlu/all")
    assert Benchmarks.model_validate_json(made.model_dump_json()) == made
    assert [BenchmarkSource.model_validate(name).kind for name in PUBLISHED] == list(PUBLISHED)
    assert made.benchmarks[0].splits() == ("test", "dev")
    assert made.benchmarks[0].model_copy(update={"few_shot": 0}).splits() == ("test",)
    assert made.benchmarks[1].splits() == ("test",)


def test_the_schema_shows_a_name_or_the_whole() -> None:
    described = Benchmarks.model_json_schema()["$defs"]["BenchmarkSource"]["anyOf"]
    assert described[0]["enum"] == list(PUBLISHED)
    assert set(described[1]["properties"]) == set(BenchmarkSource.model_fields)
    assert all("description" in field for field in described[1]["properties"].values())


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("mmul", "'mmul' is no benchmark known by its name; meant is mmlu[?]"),
        ("chess", "meant is mmlu or hellaswag or "),
        ("generation", "generation is a way to read files of yours; give name, kind: generation and uri"),
        ({"kind": "truthfulqa_mc1", "few_shot": 2}, "truthfulqa_mc1 takes no examples; remove it"),
        ({"kind": "mmlu", "few_shot": 2, "prompt": "chat"}, "asked in the chat template there are none"),
        ({"kind": "text", "prompt": "chat"}, "text is never asked in the chat template"),
        ({"kind": "mmlu", "task": "x"}, "only kind harness has tasks; remove it"),
        ({"kind": "generation", "metric": "accuracy"}, "generation counts holds or exact or number"),
        ({"kind": "mmlu", "metric": "accuracy"}, "mmlu counts one thing only; remove it"),
        ({"digest": "abc"}, "should match pattern"),
    ],
)
def test_what_a_recipe_cannot_ask_for_is_told(given: Any, says: str) -> None:
    whole = {"name": "x", "uri": "x.jsonl", **given} if isinstance(given, dict) else given
    with pytest.raises(ValidationError, match=says):
        Benchmarks.model_validate({"benchmarks": [whole]})


def test_examples_in_the_chat_template_are_none() -> None:
    chat = BenchmarkSource(name="x", uri="x.jsonl", kind="mmlu", prompt="chat")
    assert (chat.reading()["few_shot"], chat.splits()) == (0, ("test",))


def test_files_are_pinned_by_their_digest(tmp_path: Path) -> None:
    path = tmp_path / "bench.jsonl"
    path.write_text(json.dumps({"query": "Who?", "choices": ["a", "b"], "gold": 1}))
    one = BenchmarkSource(name="x", uri=str(path), digest=digest_file(path))
    require_digest(one, read_resource(one.uri, facts=one.reading()))
    path.write_text(path.read_text().replace("Who", "Whom"))
    with pytest.raises(BenchmarkError, match=rf"has the digest {digest_file(path)} .*asks for {one.digest}; restore"):
        require_digest(one, read_resource(one.uri, facts=one.reading()))
    (tmp_path / "more.jsonl").write_text("{}")
    files = {name: digest_file(tmp_path / name) for name in ("bench.jsonl", "more.jsonl")}
    several = BenchmarkSource(name="x", uri=str(tmp_path), digest=digest(files))
    require_digest(several, read_resource(several.uri, facts=several.reading()))


@pytest.mark.parametrize(
    ("file", "asked"),
    [
        ("test-00000-of-00001.jsonl", True),
        ("main/test.jsonl", True),
        ("data/test/0000.jsonl", True),
        ("train-00000-of-00001.jsonl", False),
        ("auxiliary_train.jsonl", False),
        ("val.jsonl", False),
        ("latest.jsonl", False),
    ],
)
def test_the_split_is_told_by_the_file(tmp_path: Path, file: str, asked: bool) -> None:
    row = {"query": "Who?", "choices": ["a", "b"], "gold": 1}
    for name, question in ((file, "Mine?"), ("all/test.jsonl", "Sure?")):
        path = tmp_path / "data set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(row | {"query": question}))
    declared = BenchmarkSource(name="x", uri=str(tmp_path / "data set"), kind="arc")
    made = load_items(read_resource(declared.uri, facts=declared.reading()))
    assert ("Mine?" in [item.question for item in made]) == asked


def test_a_file_by_itself_may_be_called_as_it_likes(tmp_path: Path) -> None:
    row = {"query": "Which platform?", "choices": ["1", "2"], "gold": 1}
    assert len(load_items(benchmark(tmp_path / "train.jsonl", [row]))) == 1
    with pytest.raises(BenchmarkError, match=r"all 1 rows of .* are of the split train.*; add rows of the split test"):
        items(tmp_path, "multiple_choice", row | {"split": "train"})
