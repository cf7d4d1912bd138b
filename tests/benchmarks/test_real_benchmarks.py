"""The published benchmarks themselves, where they lie beside the checkout: lm-evaluation-harness's prompts."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tasks.artifacts.resource import read_resource
from tasks.benchmarks import BenchmarkSource, load_items
from tasks.benchmarks.item import Item, drawn
from tests.benchmarks.peer import ours, peer_requests, peer_task

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data"
DATA = Path(os.environ.get("FETTLE_REAL_DATA", BESIDE))
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data: {DATA} is absent")

MMLU = "benchmarks/mmlu_57_subjects.parquet"
EVERY = 20
"""One of so many is compared: the peer makes a template anew for every prompt."""
SUBJECTS = ("abstract_algebra", "human_sexuality", "college_computer_science")


def rows(path: str, **where: Any) -> list[dict[str, Any]]:
    return [row for row in pq.read_table(DATA / path).to_pylist() if all(row[key] == where[key] for key in where)]


def items(path: str, kind: Any) -> list[Item]:
    declared = BenchmarkSource(name=kind, kind=kind, uri=str(DATA / path))
    return load_items(read_resource(declared.uri, facts=declared.reading()))


@pytest.fixture(scope="module")
def mmlu() -> list[Item]:
    return items(MMLU, "mmlu")


@pytest.mark.parametrize("subject", SUBJECTS)
def test_mmlu(tmp_path: Path, mmlu: list[Item], subject: str) -> None:
    splits = {
        split: [
            {"question": row["question"], "choices": [row[letter] for letter in "ABCD"], "answer": answer}
            for row in rows(MMLU, subject=subject, split=split)[:: EVERY if split == "test" else 1]
            for answer in ["ABCD".index(row["answer"])]
        ]
        for split in ("test", "dev")
    }
    task = peer_task(tmp_path, f"mmlu/default/mmlu_{subject}.yaml", splits)
    made = [item for item in mmlu if item.cluster == subject]
    assert ours(made[::EVERY]) == peer_requests(task, 5)


def test_mmlu_is_whole_and_every_subject_is_drawn_by_its_share(mmlu: list[Item]) -> None:
    sizes = Counter(item.cluster for item in mmlu)
    assert (len(mmlu), len(sizes)) == (14042, 57)
    drawn_sizes = Counter(item.cluster for item in drawn(mmlu, 500))
    assert all(abs(drawn_sizes[subject] - 500 * size / 14042) < 1 for subject, size in sizes.items())


@pytest.mark.parametrize("name", ["easy", "challenge"])
def test_arc(tmp_path: Path, name: str) -> None:
    raw = [
        {
            "question": row["query"].removeprefix("Question: "),
            "choices": {"text": row["choices"], "label": list("ABCDE")[: len(row["choices"])]},
            "answerKey": "ABCDE"[row["gold"]],
        }
        for row in rows(f"benchmarks/arc_{name}.parquet")[::EVERY]
    ]
    made = items(f"benchmarks/arc_{name}.parquet", "arc")[::EVERY]
    task = peer_task(tmp_path, f"arc/arc_{name}.yaml", {"test": raw}, validation_split=None, fewshot_split=None)
    assert ours(made) == peer_requests(task)


@pytest.mark.parametrize("kind", ["truthfulqa_mc1", "truthfulqa_mc2"])
def test_truthfulqa(tmp_path: Path, kind: str) -> None:
    raw = []
    for row in rows("benchmarks/truthfulqa_mc_task.parquet")[::EVERY]:
        targets = {field: json.loads(row[field]) for field in ("mc1_targets", "mc2_targets")}
        lists = {field: {"choices": list(each), "labels": list(each.values())} for field, each in targets.items()}
        raw.append({"question": row["question"], **lists})
    made = items("benchmarks/truthfulqa_mc_task.parquet", kind)[::EVERY]
    task = peer_task(tmp_path, f"truthfulqa/{kind}.yaml", {"validation": raw})
    assert ours(made) == peer_requests(task)


def test_hellaswag_is_cleaned_as_lm_eval_does() -> None:
    from lm_eval.tasks.hellaswag.utils import preprocess

    raw = rows("benchmarks/hellaswag_2000.parquet")
    made = items("benchmarks/hellaswag_2000.parquet", "hellaswag")
    assert [(item.prompt, item.choices) for item in made] == [
        (preprocess(row["question"]), tuple(map(preprocess, row["choices"].values()))) for row in raw
    ]


def test_gsm8k(tmp_path: Path) -> None:
    path = "math_code/gsm8k.parquet"
    whole = rows(path, split="test")
    splits = {"test": whole[::EVERY], "train": rows(path, split="train")[:5]}
    task = peer_task(tmp_path, "gsm8k/gsm8k.yaml", splits, fewshot_config={"sampler": "first_n", "split": "train"})
    made = items(path, "gsm8k")
    assert [item.context + item.prompt for item in made[::EVERY]] == [context for context, _ in peer_requests(task, 5)]
    exact = [row["answer"].split("#### ")[1].replace(",", "") for row in whole]
    assert [item.answer for item in made] == exact
