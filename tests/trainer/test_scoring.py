"""Scores of a tiny model against a plain reference that takes one text at a time."""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tasks.trainer.job import BenchmarkItems, ScoringJob
from tasks.trainer.launch import run
from tasks.trainer.models import load_model, load_tokenizer
from tasks.trainer.prompts import encode_continuation, encode_prompt
from tasks.trainer.scoring import CHOICES_SCHEMA, GENERATIONS_SCHEMA, HELDOUT_SCHEMA, score

Sample = tuple[list[int], int]
WriteRows = Callable[[Path, Sequence[Sequence[Sample]]], Path]
QUESTIONS: list[dict[str, Any]] = [
    {
        "item_id": "a",
        "cluster": "geo",
        "prompt": "The capital of France is",
        "choices": [" Paris.", " blue"],
        "gold": 0,
    },
    {"item_id": "b", "cluster": "geo", "prompt": "Name:\n", "choices": ["x", "one two three", " é"], "gold": 2},
    {"item_id": "c", "cluster": "long", "prompt": "word " * 150, "choices": ["end", "The end."], "gold": 1},
]
PROMPTS: list[dict[str, Any]] = [
    {
        "item_id": "p",
        "cluster": "c",
        "prompt": "<s>### Instruction:\nName a colour.\n\n### Response:\n",
        "answer": "Blue",
    },
    {"item_id": "q", "cluster": "c", "prompt": "a b c", "answer": "d"},
    {"item_id": "r", "cluster": "d", "prompt": "The capital", "answer": ""},
]
HELDOUT: list[list[Sample]] = [[([0, *range(30, 30 + n), 60, 61, 1], n)] for n in (2, 17, 5, 40, 3)]
NEW_TOKENS = 8


@pytest.fixture(scope="module")
def job(base: Path, tmp_path_factory: pytest.TempPathFactory, write_rows: WriteRows) -> ScoringJob:
    folder = tmp_path_factory.mktemp("items")
    pq.write_table(pa.Table.from_pylist(QUESTIONS), folder / "questions.parquet")
    pq.write_table(pa.Table.from_pylist(PROMPTS), folder / "prompts.parquet")
    return ScoringJob(
        model=base,
        heldout=[write_rows(folder / "heldout.parquet", HELDOUT)],
        benchmarks=[
            BenchmarkItems(name="quiz", kind="multiple_choice", items=folder / "questions.parquet"),
            BenchmarkItems(name="talk", kind="generation", items=folder / "prompts.parquet"),
        ],
        output=folder,
        max_new_tokens=NEW_TOKENS,
        batch_size=4,
        dtype="float32",
    )


@pytest.fixture(scope="module")
def scored(job: ScoringJob, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]], list[str]]:
    """Output folder, events and ordinary lines of a scoring process."""
    folder = tmp_path_factory.mktemp("scored")
    events: list[dict[str, Any]] = []
    lines: list[str] = []
    told = job.model_copy(update={"output": folder / "out"})
    run("tasks.trainer.scoring", told, folder=folder, on_event=events.append, on_line=lines.append, timeout_seconds=300)
    return folder / "out", events, lines


Scored = tuple[Path, list[dict[str, Any]], list[str]]


def test_the_process_says_how_far_it_is_and_nothing_else(scored: Scored) -> None:
    output, events, lines = scored
    assert lines == []
    assert events[0]["event"] == "started"
    assert events[-1]["event"] == "finished"
    last = {event["part"]: (event["step"], event["total"]) for event in events if event["event"] == "progress"}
    assert last == {"quiz": (7, 7), "talk": (3, 3), "heldout": (5, 5)}
    result = json.loads((output / "result.json").read_text())
    assert result["counts"] == {"choices": 3, "generations": 3, "heldout": 5}
    assert result["truncated_contexts"] == 2
    assert result["dtype"] == "float32"


def test_choices_equal_the_reference(scored: Scored, base: Path) -> None:
    model, tokenizer = load_model(base, torch.float32), load_tokenizer(base)
    for row, item in zip(read(scored[0] / "choices.parquet"), QUESTIONS, strict=True):
        sums, per_byte = [], []
        for choice in item["choices"]:
            blanks = item["prompt"][len(item["prompt"].rstrip()) :]
            context = tokenizer.encode(item["prompt"].rstrip(), add_special_tokens=True)
            whole = tokenizer.encode(item["prompt"] + choice, add_special_tokens=True)
            assert tokenizer.decode(whole[len(context) :], skip_special_tokens=False) == blanks + choice
            kept = whole[-129:]
            sums.append(sum(token_scores(model, kept)[len(context) - len(whole) :]))
            per_byte.append(sums[-1] / len(choice.encode()))
        assert row["loglikelihoods"] == pytest.approx(sums, abs=1e-4)
        assert row["prediction"] == sums.index(max(sums))
        assert row["prediction_norm"] == per_byte.index(max(per_byte))
        assert (row["benchmark"], row["item_id"], row["cluster"]) == ("quiz", item["item_id"], item["cluster"])
        assert row["gold"] == item["gold"]
        assert row["prompt_sha256"] == hashlib.sha256(item["prompt"].encode()).hexdigest()


def test_heldout_losses_equal_the_reference(scored: Scored, base: Path) -> None:
    model = load_model(base, torch.float32)
    rows = read(scored[0] / "heldout.parquet")
    assert [row["row_id"] for row in rows] == [f"row-{n}-0" for n in range(5)]
    for row, [(ids, cut)] in zip(rows, HELDOUT, strict=True):
        assert row["loss_sum"] == pytest.approx(-sum(token_scores(model, ids)[cut - 1 :]), abs=1e-4)
        assert (row["tokens"], row["source"]) == (len(ids) - cut, "general")


def test_generations_equal_the_reference(scored: Scored, base: Path) -> None:
    model, tokenizer = load_model(base, torch.float32), load_tokenizer(base)
    for row, item in zip(read(scored[0] / "generations.parquet"), PROMPTS, strict=True):
        new_ids = greedy(model, encode_prompt(tokenizer, item["prompt"]))
        assert row["text"] == tokenizer.decode(new_ids, skip_special_tokens=True)
        assert (row["tokens"], row["ended"]) == (len(new_ids), len(new_ids) < NEW_TOKENS)
        assert (row["item_id"], row["answer"]) == (item["item_id"], item["answer"])


def test_the_batch_size_changes_nothing(scored: Scored, job: ScoringJob, tmp_path: Path) -> None:
    score(job.model_copy(update={"output": tmp_path, "batch_size": 1}))
    one, four = read(tmp_path / "choices.parquet"), read(scored[0] / "choices.parquet")
    for left, right in zip(one, four, strict=True):
        assert left.pop("loglikelihoods") == pytest.approx(right.pop("loglikelihoods"), abs=1e-4)
        assert left == right
    assert read(tmp_path / "generations.parquet") == read(scored[0] / "generations.parquet")
    losses = [[row["loss_sum"] for row in read(folder / "heldout.parquet")] for folder in (tmp_path, scored[0])]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_generation_stops_at_the_end_of_sequence(job: ScoringJob, base: Path, tmp_path: Path) -> None:
    """The third token that the model gives to one prompt is made a stop token: that answer ends after two tokens."""
    tokenizer = load_tokenizer(base)
    new_ids = greedy(load_model(base, torch.float32), encode_prompt(tokenizer, "a b c"))
    stopping = tmp_path / "stopping"
    shutil.copytree(base, stopping)
    settings = json.loads((base / "generation_config.json").read_text())
    (stopping / "generation_config.json").write_text(json.dumps(settings | {"eos_token_id": [1, new_ids[2]]}))
    score(job.model_copy(update={"model": stopping, "output": tmp_path, "heldout": []}))
    row = read(tmp_path / "generations.parquet")[1]
    before = new_ids[: new_ids.index(new_ids[2])]
    assert (row["ended"], row["tokens"]) == (True, len(before))
    assert row["text"] == tokenizer.decode(before, skip_special_tokens=True)


def test_nothing_to_score_leaves_empty_tables(job: ScoringJob, tmp_path: Path) -> None:
    empty = tmp_path / "empty.parquet"
    pq.write_table(pa.Table.from_pylist(QUESTIONS).slice(0, 0), empty)
    nothing = BenchmarkItems(name="none", kind="multiple_choice", items=empty)
    score(job.model_copy(update={"output": tmp_path, "heldout": [], "benchmarks": [nothing]}))
    schemas = {"choices": CHOICES_SCHEMA, "generations": GENERATIONS_SCHEMA, "heldout": HELDOUT_SCHEMA}
    for name, schema in schemas.items():
        table = pq.read_table(tmp_path / f"{name}.parquet")
        assert (table.num_rows, table.schema) == (0, schema)


def test_a_prompt_gets_one_bos(base: Path) -> None:
    tokenizer = load_tokenizer(base)
    assert encode_prompt(tokenizer, "a b") == encode_prompt(tokenizer, "<s>a b") == [0, *plain(tokenizer, "a b")]
    alone = encode_continuation(tokenizer, "", "a b", 128)
    assert (alone.ids, alone.start) == ([0, *plain(tokenizer, "a b")], 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"gold": 2}, "quiz item a has gold 2 and 2 choices"),
        ({"choices": ["", "x"]}, "a choice of the prompt 'The capital"),
        ({"choices": ["y" * 200, "x"]}, "has 200 tokens and the model takes 128"),
    ],
)
def test_bad_items_are_refused_by_name(job: ScoringJob, change: dict[str, Any], words: str, tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([QUESTIONS[0] | change]), tmp_path / "bad.parquet")
    bad = BenchmarkItems(name="quiz", kind="multiple_choice", items=tmp_path / "bad.parquet")
    with pytest.raises(ValueError, match=words):
        score(job.model_copy(update={"output": tmp_path, "benchmarks": [bad]}))


def test_packed_heldout_rows_are_refused(job: ScoringJob, write_rows: WriteRows, tmp_path: Path) -> None:
    packed = write_rows(tmp_path / "packed.parquet", [[([0, 5, 6], 1), ([0, 7, 8], 1)]])
    with pytest.raises(ValueError, match=r"held-out row .* is packed"):
        score(job.model_copy(update={"output": tmp_path, "heldout": [packed], "benchmarks": []}))


def read(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def plain(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return ids


def token_scores(model: Any, ids: list[int]) -> list[float]:
    """Log-probability of every token but the first, one text alone."""
    with torch.no_grad():
        scores = model(torch.tensor([ids[:-1]])).logits[0].log_softmax(-1)
    return [float(scores[place, token]) for place, token in enumerate(ids[1:])]


def greedy(model: Any, ids: list[int]) -> list[int]:
    """The most likely tokens, one at a time, without a cache."""
    new_ids: list[int] = []
    while len(new_ids) < NEW_TOKENS:
        with torch.no_grad():
            token = int(model(torch.tensor([ids + new_ids])).logits[0, -1].argmax())
        if token == model.config.eos_token_id:
            break
        new_ids.append(token)
    return new_ids
