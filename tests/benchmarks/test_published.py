"""Published benchmarks: byte for byte the prompts of lm-evaluation-harness, and its scores."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tasks.artifacts.resource import read_resource
from tasks.benchmarks import KINDS, BenchmarkSource, load_items
from tasks.benchmarks.item import BenchmarkError, Item, Response
from tests.benchmarks.peer import ours, peer_requests, peer_task, require_equal_scores
from tests.stages.making import benchmark

QUESTIONS = [
    {"question": " Which rock floats? ", "subject": "us_foreign_policy", "choices": ["granite", " pumice", "ore", "é"]},
    {"question": "2 + 2 =", "subject": "us_foreign_policy", "choices": ["3", "4", "five", "22"]},
    {"question": "A metal?\nName it", "subject": "us_foreign_policy", "choices": ["zinc", "ice", "oak", "air"]},
]
MMLU = [row | {"answer": number % 4} for number, row in enumerate(QUESTIONS * 3)]
HELLASWAG = [
    {
        "ind": number,
        "activity_label": "Removing ice from car",
        "ctx_a": "Then, the man writes over the snow [substeps]  covering the window.",
        "ctx_b": "then he" if number % 2 else "",
        "endings": [
            " [title] gets wet [step] and cold.",
            "drives  off.",
            "sings a much longer song.",
            f"ends {number}.",
        ],
        "source_id": f"activitynet~{number // 2}",
        "split": "val",
        "label": str(number % 4),
    }
    for number in range(5)
]
HELLASWAG_TRAIN = [row | {"split": "train"} for row in HELLASWAG[2:]]
ARC = [
    {
        "id": f"Mercury_{number}",
        "question": f"Which is number {number}?",
        "choices": {"text": ["one", "two of them", "three", "four"][: 3 + number % 2], "label": labels},
        "answerKey": labels[number % 3],
    }
    for number, labels in enumerate([["A", "B", "C"], ["1", "2", "3", "4"], ["A", "B", "C"], ["A", "B", "C", "D"]])
]
GSM8K = [
    {"question": f"Ann has {n} pears and eats one. How many?", "answer": f"{n}-1=<<{n}-1={n - 1}>>\n#### {n - 1:,}"}
    for n in (3, 12, 1501, 8, 9, 10, 2001)
]
TRUTH = [
    {
        "question": f"What is {number}?",
        "mc1_targets": {"choices": ["A number.", "A pear.", "Nobody knows it, ever."], "labels": [1, 0, 0]},
        "mc2_targets": {"choices": ["A number.", "One.", "A pear."], "labels": [1, 1, 0]},
    }
    for number in range(3)
]


def load(folder: Path, kind: str, splits: dict[str, Sequence[dict[str, Any]]], **settings: Any) -> list[Item]:
    folder.mkdir()
    for split, rows in splits.items():
        (folder / f"{split}-00000-of-00001.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    declared = BenchmarkSource(name=kind, kind=kind, uri=str(folder), **settings)  # type: ignore[arg-type]
    return load_items(read_resource(declared.uri, facts=declared.reading()))


@pytest.mark.parametrize(
    ("kind", "yaml", "splits", "few_shot", "metric"),
    [
        ("mmlu", "mmlu/default/mmlu_us_foreign_policy.yaml", {"test": MMLU[5:], "dev": MMLU[:5]}, 5, "acc"),
        ("mmlu", "mmlu/default/mmlu_us_foreign_policy.yaml", {"test": MMLU[5:], "dev": MMLU[:5]}, 0, "acc"),
        ("hellaswag", "hellaswag/hellaswag.yaml", {"validation": HELLASWAG}, 0, "acc_norm"),
        ("hellaswag", "hellaswag/hellaswag.yaml", {"validation": HELLASWAG, "train": HELLASWAG_TRAIN}, 2, "acc_norm"),
        ("arc", "arc/arc_challenge.yaml", {"test": ARC}, 0, "acc_norm"),
        ("arc", "arc/arc_challenge.yaml", {"test": ARC[2:], "validation": ARC, "train": ARC[:2]}, 2, "acc_norm"),
        ("truthfulqa_mc1", "truthfulqa/truthfulqa_mc1.yaml", {"validation": TRUTH}, 0, "acc"),
        ("truthfulqa_mc2", "truthfulqa/truthfulqa_mc2.yaml", {"validation": TRUTH}, 0, "acc"),
    ],
)
def test_choices_are_asked_and_scored_as_lm_eval_does(
    tmp_path: Path, kind: str, yaml: str, splits: dict[str, Any], few_shot: int, metric: str
) -> None:
    settings = {} if kind.startswith("truthfulqa") else {"few_shot": few_shot}
    items = load(tmp_path / "ours", kind, splits, **settings)
    split, examples = vars(KINDS[kind])["SPLITS"]
    asked = {"test_split": None, "validation_split": None, f"{split}_split": split}
    shown: dict[str, Any] = {"sampler": "first_n", "split": examples if few_shot else None}
    if kind == "hellaswag":
        from lm_eval.tasks.hellaswag.utils import process_docs

        shown["process_docs"] = process_docs
    task = peer_task(tmp_path / "theirs", yaml, splits, **asked, fewshot_split=shown["split"], fewshot_config=shown)
    assert ours(items) == peer_requests(task, few_shot)
    require_equal_scores(task, items, KINDS[kind], metric)


def test_word_problems_are_asked_as_lm_eval_does(tmp_path: Path) -> None:
    splits = {"test": GSM8K[5:], "train": GSM8K[:5]}
    items = load(tmp_path / "ours", "gsm8k", splits)
    shown = {"sampler": "first_n", "split": "train"}
    task = peer_task(tmp_path / "theirs", "gsm8k/gsm8k.yaml", splits, fewshot_config=shown)
    theirs = peer_requests(task, 5)
    assert [(item.context + item.prompt, item.stop) for item in items] == [
        (context, tuple(settings["until"])) for context, (settings,) in theirs
    ]
    assert [item.answer for item in items] == ["9", "2000"]
    assert len({item.context for item in items}) == 1


def test_every_subject_of_mmlu_is_described_as_lm_eval_does(tmp_path: Path) -> None:
    from lm_eval.tasks._yaml_loader import load_yaml

    from tests.benchmarks.peer import TASKS

    files = sorted((TASKS / "mmlu" / "default").glob("mmlu_*.yaml"))
    described = {config["dataset_name"]: config["description"] for config in map(load_yaml, files)}
    rows = [QUESTIONS[0] | {"subject": subject, "answer": 0} for subject in described]
    items = load(tmp_path / "ours", "mmlu", {"test": rows}, few_shot=0)
    assert len(described) == 57
    assert {item.cluster: item.context for item in items} == described


@pytest.mark.parametrize(
    ("text", "right"),
    [
        (" He has 2,001-1=<<2001-1=2000>>2,000.\n#### 2,000", 1),
        (" #### $2000.00", 1),
        (" So it is $2,000.", 1),
        (" #### 2000\n\n#### 7", 1),
        (" #### 7\nno, 2000", 0),
        (" #### -2000", 0),
        (" 2000 or 2001", 0),
        (" #### unknown, maybe 2000", 1),
        (" 20000", 0),
        ("", 0),
    ],
)
def test_the_number_of_an_answer(tmp_path: Path, text: str, right: int) -> None:
    (item,) = load(tmp_path / "ours", "gsm8k", {"test": GSM8K[6:], "train": GSM8K[:5]})
    assert KINDS["gsm8k"].score(item, Response(text=text)) == right


def test_hellaswag_and_mmlu_and_arc_in_other_layouts(tmp_path: Path) -> None:
    lettered = {"A": "granite", "B": "pumice"}
    sentence = {"split": "dev", "question": "Go. [title] Then", "choices": lettered, "answer": "B", "id": 7}
    (item,) = load(tmp_path / "hellaswag", "hellaswag", {"rows": [sentence]})
    assert (item.cluster, item.prompt, item.gold) == (item.item_id, "Go.. Then", (1,))
    columns = {"split": "test", "subject": "rocks", "question": "Which floats?", "answer": "B", **lettered}
    (item,) = load(tmp_path / "mmlu", "mmlu", {"rows": [columns]}, few_shot=0)
    assert (item.cluster, item.prompt, item.gold) == ("rocks", "Which floats?\nA. granite\nB. pumice\nAnswer:", (1,))
    assert item.continuations == (" A", " B")
    query = {"query": "Question: Which floats?", "choices": ["granite", "pumice"], "gold": 1}
    (item,) = load(tmp_path / "arc", "arc", {"rows": [query]})
    assert (item.question, item.prompt, item.gold) == ("Which floats?", "Question: Which floats?\nAnswer:", (1,))


def test_examples_that_are_not_there_are_an_error_with_a_way_out(tmp_path: Path) -> None:
    words = r"benchmark mmlu: 5 examples of us_foreign_policy .* holds 3 rows of the split dev; .*few_shot: 0"
    with pytest.raises(BenchmarkError, match=words):
        load(tmp_path / "mmlu", "mmlu", {"test": MMLU[5:], "dev": MMLU[:3]})
    with pytest.raises(BenchmarkError, match=r"holds 0 rows of the split train"):
        load(tmp_path / "gsm8k", "gsm8k", {"test": GSM8K})
    assert len(load(tmp_path / "chat", "mmlu", {"test": MMLU}, prompt="chat")) == len(MMLU)


def test_a_true_answer_must_be_told(tmp_path: Path) -> None:
    untrue = {"question": "Why?", "mc2_targets": {"x": 0, "y": 0}}
    with pytest.raises(BenchmarkError, match="marks 0 choices as true; one or more"):
        load_items(benchmark(tmp_path / "t.jsonl", [untrue], kind="truthfulqa_mc2"))


def test_the_share_of_the_true_answers_survives_unlikely_ones(tmp_path: Path) -> None:
    rows = [{"question": "Why?", "mc2_targets": {"x": 1, "y": 0}}]
    (item,) = load_items(benchmark(tmp_path / "t.jsonl", rows, kind="truthfulqa_mc2"))
    assert KINDS["truthfulqa_mc2"].score(item, Response(loglikelihoods=(-2000.0, -2000.0))) == 0.5
