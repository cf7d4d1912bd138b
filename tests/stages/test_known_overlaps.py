"""Overlaps that real public data is known to have, found by the index that the deduplication stage uses."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.algorithms.canaries import plant
from tasks.algorithms.containment import Match, QuestionIndex
from tasks.benchmarks import questions
from tasks.conversation import words
from tests.stages.making import benchmark

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data"
DATA = Path(os.environ.get("FETTLE_REAL_DATA", BESIDE))
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data: {DATA} is absent")

TRAINING = [
    ("instruction/alpaca_original_subset.parquet", ["instruction", "input"]),
    ("domain/medquad_answered.parquet", ["question"]),
    ("instruction/gpteacher_codegen.parquet", ["instruction", "input"]),
    ("safety/safety_tuned_llamas_train.parquet", ["instruction", "input"]),
]


def rows(path: str, **where: Any) -> list[dict[str, Any]]:
    found = pq.read_table(DATA / path).to_pylist()
    return [row for row in found if all(row[key] == value for key, value in where.items())]


def named(texts: Sequence[str]) -> list[tuple[str, str]]:
    return [(f"eval {number}", text) for number, text in enumerate(texts)]


def held(asked: list[tuple[str, str]], texts: Sequence[str]) -> list[tuple[str, Match]]:
    """The texts that hold a question, by an index whose canaries were all found."""
    index = QuestionIndex(asked)
    assert all(told["recall"] == 1.0 for told in plant(index, asked))
    return [(texts[place], match) for place, match in index.find(pa.array(texts))]


def same_words(evaluation: Sequence[str], texts: Sequence[str]) -> list[str]:
    """The evaluation's questions that a text is, word for word."""
    known = {tuple(words(text)) for text in texts}
    return [question for question in evaluation if tuple(words(question)) in known]


def multiple_choice(path: Path, found: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """Rows of MMLU as the benchmark of a recipe, and what decontamination looks for."""
    items = [
        {
            "question": row["question"],
            "choices": [row[letter] for letter in "ABCD"],
            "gold": "ABCD".index(row["answer"]),
        }
        for row in found
    ]
    return questions(benchmark(path, items))


def test_banking_messages_that_stand_in_its_training_split() -> None:
    path = "classification/banking77.parquet"
    evaluation = [row["text"] for row in rows(path, split="test")]
    training = [row["text"] for row in rows(path, split="train")]
    known = same_words(evaluation, training)
    assert len(known) == 25
    found = held(named(evaluation), training)
    assert len(same_words(known, [text for text, _ in found])) == 25
    # Customers say the same in few words: whole messages inside longer ones, or all but a word of them.
    assert 250 < len(found) < 350


def test_mmlu_questions_that_stand_in_its_other_splits(tmp_path: Path) -> None:
    path = "benchmarks/mmlu_57_subjects.parquet"
    evaluation = rows(path, split="test")
    training = [*rows(path, split="dev"), *rows(path, split="val")]
    stems = [row["question"] for row in training]
    known = same_words([row["question"] for row in evaluation], stems)
    assert len(known) == 55
    asked = multiple_choice(tmp_path / "mmlu.jsonl", evaluation)
    found = held(asked, stems)
    assert len(same_words(known, [text for text, _ in found])) == 55
    # The others share a long passage or ask for another value of the same thing.
    assert len(found) < 200


def test_mmlu_questions_in_prompts_with_their_choices(tmp_path: Path) -> None:
    path = "benchmarks/mmlu_57_subjects.parquet"
    evaluation = rows(path, split="test")
    asked = multiple_choice(tmp_path / "mmlu.jsonl", evaluation)
    prompt = "Answer with a letter.\n\n{question}\nA. {A}\nB. {B}\nC. {C}\nD. {D}\nAnswer:"
    prompts = [prompt.format(**row) for row in evaluation[::5]]
    assert len(held(asked, prompts)) >= 0.998 * len(prompts)
    generic = [
        text for text, match in held(asked, [f"{stem} All swans are white, or some are black." for stem in GENERIC])
    ]
    assert generic == []


GENERIC = ["Which of the following statements is correct?", "Which of the following is a true statement?"]


def test_questions_of_older_sets_in_alpaca_eval() -> None:
    asked = [row["instruction"] for row in rows("benchmarks/alpaca_eval_805.parquet")]
    vicuna = [row["instruction"] for row in rows("benchmarks/alpaca_eval_805.parquet", dataset="vicuna")]
    first_turns = [row["turns"][0] for row in rows("benchmarks/mt_bench_questions.parquet")]
    assert len(vicuna) == 80
    assert len(held(named(vicuna), asked)) == len(held(named(asked), vicuna)) == 80
    assert len(held(named(first_turns), asked)) == 2


def test_alpaca_eval_questions_in_the_conversations_that_they_were_taken_from() -> None:
    asked = [row["instruction"] for row in rows("benchmarks/alpaca_eval_805.parquet")]
    chats = [row["input"] for row in rows("conversations/oasst1_validation_via_qlora.parquet")]
    found = held(named(asked), chats)
    assert len(found) == 413
    assert all(match.containment == 1.0 for _, match in found)


@pytest.mark.parametrize(
    ("evaluation", "training"),
    [
        (
            ("math_code/gsm8k.parquet", "question", {"split": "test"}),
            ("math_code/gsm8k.parquet", "question", {"split": "train"}),
        ),
        (("benchmarks/arc_easy.parquet", "query", {}), ("benchmarks/hellaswag_2000.parquet", "question", {})),
        (("benchmarks/hellaswag_2000.parquet", "question", {}), ("benchmarks/arc_easy.parquet", "query", {})),
        (("benchmarks/arc_challenge.parquet", "query", {}), ("domain/medquad_answered.parquet", "answer", {})),
        (
            ("math_code/gsm8k.parquet", "question", {"split": "test"}),
            ("instruction/alpaca_original_subset.parquet", "output", {}),
        ),
    ],
)
def test_sets_that_share_nothing(evaluation: Any, training: Any) -> None:
    (asked, name, where), (texts, column, chosen) = evaluation, training
    questions_asked = [row[name].removeprefix("Question: ") for row in rows(asked, **where)]
    assert held(named(questions_asked), [row[column] for row in rows(texts, **chosen)]) == []


def test_training_sets_lose_only_what_asks_the_same() -> None:
    asked = [row["query"].removeprefix("Question: ") for row in rows("benchmarks/arc_easy.parquet")]
    asked += [row["question"] for row in rows("benchmarks/truthfulqa_mc_task.parquet")]
    texts = ["\n".join(row[name] for name in names if row[name]) for path, names in TRAINING for row in rows(path)]
    assert len(texts) == 42_156
    assert [text for text, _ in held(named(asked), texts)] == ["Who invented the light bulb?"]
