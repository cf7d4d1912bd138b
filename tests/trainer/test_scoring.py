"""Scores of a tiny model against a plain reference that takes one text at a time."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tasks.trainer.job import ScoringJob
from tasks.trainer.launch import run
from tasks.trainer.models import load_model, load_tokenizer
from tasks.trainer.prompts import PromptEncoder
from tasks.trainer.requests import KNOWN, REQUESTS
from tasks.trainer.scoring import HELDOUT_SCHEMA, score

Sample = tuple[list[int], int]
WriteRows = Callable[[Path, Sequence[Sequence[Sample]]], Path]
SHOTS = "".join(f"Question: {n}?\nAnswer: {n * n}\n\n" for n in range(4))
QUESTIONS: list[dict[str, Any]] = [
    {"key": "a", "prompt": "The capital of France is", "choices": [" Paris.", " blue"]},
    {"key": "b", "prompt": "Name:\n", "choices": ["x", "one two three", " é"]},
    {"key": "c", "prompt": "word " * 150, "choices": ["end", "The end."]},
    {"key": "d", "prompt": "Is this </s>?", "choices": [" <s>", " no"]},
    *({"key": f"shot {n}", "prompt": f"{SHOTS}{n}", "choices": [" a", " a b", " a c", " b"]} for n in range(5)),
]
PROMPTS: list[dict[str, Any]] = [
    {"key": "p", "prompt": "<s>### Instruction:\nName a colour.\n\n### Response:\n", "special": True},
    {"key": "q", "prompt": "a b c"},
    {"key": "r", "prompt": "The capital"},
]
TEXTS: list[dict[str, Any]] = [
    {"key": "s", "prompt": "a b c"},
    {"key": "t", "prompt": "The capital of a </s> word " * 20},
]
HELDOUT: list[list[Sample]] = [[([0, *range(30, 30 + n), 60, 61, 1], n)] for n in (2, 17, 5, 40, 3)]
NEW_TOKENS = 8


def asked(path: Path, **rows: Sequence[dict[str, Any]]) -> Path:
    """Write requests, given by their form."""
    told = [{"form": form, **row} for form, some in rows.items() for row in some]
    pq.write_table(pa.Table.from_pylist(told, schema=REQUESTS), path)
    return path


@pytest.fixture(scope="module")
def job(base: Path, tmp_path_factory: pytest.TempPathFactory, write_rows: WriteRows) -> ScoringJob:
    folder = tmp_path_factory.mktemp("items")
    return ScoringJob(
        model=base,
        heldout=[write_rows(folder / "heldout.parquet", HELDOUT)],
        requests=asked(folder / "requests.parquet", choices=QUESTIONS, generation=PROMPTS, text=TEXTS),
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
    assert (events[0]["event"], events[0]["dtype"]) == ("started", "float32")
    assert events[-1]["event"] == "finished"
    last = {event["part"]: (event["step"], event["total"]) for event in events if event["event"] == "progress"}
    assert last == {"choices": (9, 9), "generation": (3, 3), "text": (2, 2), "heldout": (5, 5)}
    files = [(event["file"], event["rows"]) for event in events if event["event"] == "answers"]
    assert files == [(f"answers-0000{n}.parquet", rows) for n, rows in enumerate((9, 3, 2))]
    assert {path.name for path in output.iterdir()} == {*dict(files), "heldout.parquet", "result.json"}
    result = json.loads((output / "result.json").read_text())
    assert result["counts"] == {"choices": 9, "generation": 3, "text": 2, "heldout": 5}
    assert result["truncated_contexts"] == 1
    assert result["dtype"] == "float32"


def test_choices_equal_the_reference(scored: Scored, base: Path) -> None:
    model, tokenizer = load_model(base, torch.float32), load_tokenizer(base)
    answers = answered(scored[0])
    for question in QUESTIONS:
        sums, tokens = [], 0
        for choice in question["choices"]:
            blanks = question["prompt"][len(question["prompt"].rstrip()) :]
            context = [0, *plain(tokenizer, question["prompt"].rstrip())]
            whole = [0, *plain(tokenizer, question["prompt"] + choice)]
            assert tokenizer.decode(whole[len(context) :], skip_special_tokens=False) == blanks + choice
            sums.append(sum(token_scores(model, whole[-129:])[len(context) - len(whole) :]))
            tokens += len(whole) - len(context)
        answer = answers[question["key"]]
        assert answer["loglikelihoods"] == pytest.approx(sums, abs=1e-4)
        assert (answer["tokens"], answer["truncated"]) == (tokens, question["key"] == "c")


def test_heldout_losses_equal_the_reference(scored: Scored, base: Path) -> None:
    model = load_model(base, torch.float32)
    rows = read(scored[0] / "heldout.parquet")
    assert [row["row_id"] for row in rows] == [f"row-{n}-0" for n in range(5)]
    for row, [(ids, cut)] in zip(rows, HELDOUT, strict=True):
        assert row["loss_sum"] == pytest.approx(-sum(token_scores(model, ids)[cut - 1 :]), abs=1e-4)
        assert (row["tokens"], row["source"]) == (len(ids) - cut, "general")


def test_texts_are_read_whole_in_windows(scored: Scored, base: Path) -> None:
    model, tokenizer = load_model(base, torch.float32), load_tokenizer(base)
    answers = answered(scored[0])
    for text in TEXTS:
        ids = plain(tokenizer, text["prompt"])
        windows = [[0, *ids][start : start + 129] for start in range(0, len(ids), 128)]
        assert answers[text["key"]]["tokens"] == len(ids)
        loss = -sum(sum(token_scores(model, window)) for window in windows)
        assert answers[text["key"]]["loss_sum"] == pytest.approx(loss, abs=1e-3)
    assert len(ids) > 256


def test_generations_equal_the_reference(scored: Scored, base: Path) -> None:
    model, tokenizer = load_model(base, torch.float32), load_tokenizer(base)
    answers = answered(scored[0])
    for prompt in PROMPTS:
        text = prompt["prompt"].removeprefix("<s>")
        new_ids = greedy(model, [0, *plain(tokenizer, text)])
        answer = answers[prompt["key"]]
        assert answer["text"] == tokenizer.decode(new_ids, skip_special_tokens=True)
        assert (answer["tokens"], answer["ended"]) == (len(new_ids), len(new_ids) < NEW_TOKENS)


@pytest.mark.parametrize("change", [{"batch_size": 1}, {"batch_size": 3}])
def test_the_batch_size_changes_nothing(
    scored: Scored, job: ScoringJob, change: dict[str, Any], tmp_path: Path
) -> None:
    score(job.model_copy(update={"output": tmp_path, **change}))
    one, four = answered(tmp_path), answered(scored[0])
    assert one.keys() == four.keys()
    for key, left in one.items():
        for column in ("loglikelihoods", "loss_sum"):
            assert left.pop(column) == pytest.approx(four[key][column], abs=1e-4)
        assert left.items() <= four[key].items()
    losses = [[row["loss_sum"] for row in read(folder / "heldout.parquet")] for folder in (tmp_path, scored[0])]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_generation_stops_at_the_end_of_sequence(job: ScoringJob, base: Path, tmp_path: Path) -> None:
    """The third token that the model gives to one prompt is made a stop token: that answer ends after two tokens."""
    tokenizer = load_tokenizer(base)
    new_ids = greedy(load_model(base, torch.float32), [0, *plain(tokenizer, "a b c")])
    stopping = tmp_path / "stopping"
    shutil.copytree(base, stopping)
    settings = json.loads((base / "generation_config.json").read_text())
    (stopping / "generation_config.json").write_text(json.dumps(settings | {"eos_token_id": [1, new_ids[2]]}))
    score(job.model_copy(update={"model": stopping, "output": tmp_path, "heldout": []}))
    answer = answered(tmp_path)["q"]
    before = new_ids[: new_ids.index(new_ids[2])]
    assert (answer["ended"], answer["tokens"]) == (True, len(before))
    assert answer["text"] == tokenizer.decode(before, skip_special_tokens=True)


def test_generation_stops_at_a_text_and_at_its_own_limit(job: ScoringJob, base: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(base)
    model = load_model(base, torch.float32)
    new_ids = greedy(model, [0, *plain(tokenizer, "a b c")])
    texts = [tokenizer.decode(new_ids[:size], skip_special_tokens=True) for size in range(NEW_TOKENS + 1)]
    stop = texts[5][len(texts[4]) :]  # what the fifth token writes
    end = next(size for size in range(NEW_TOKENS + 1) if stop in texts[size])
    prompts: list[dict[str, Any]] = [
        {"key": "stopped", "prompt": "a b c", "stop": ["no such text", stop]},
        {"key": "in the prompt", "prompt": "a b c", "stop": ["b c" + texts[1]]},
        {"key": "short", "prompt": "a b c", "max_new_tokens": 3},
        {"key": "free", "prompt": "a b c"},
    ]
    requests = asked(tmp_path / "requests.parquet", generation=prompts)
    score(job.model_copy(update={"requests": requests, "output": tmp_path, "heldout": []}))
    found = {key: (row["text"], row["ended"], row["tokens"]) for key, row in answered(tmp_path).items()}
    assert found == {
        "stopped": (texts[end][: texts[end].index(stop)], True, end),
        "in the prompt": (texts[8], False, 8),
        "short": (texts[3], False, 3),
        "free": (texts[8], False, 8),
    }


def test_parts_come_while_it_works(job: ScoringJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.trainer.scoring.SECONDS_PER_PART", 0.0)
    score(job.model_copy(update={"output": tmp_path, "heldout": []}))
    assert len(list(tmp_path.glob("answers-*.parquet"))) == len(QUESTIONS) + len(PROMPTS) + len(TEXTS)
    assert len(answered(tmp_path)) == len(QUESTIONS) + len(PROMPTS) + len(TEXTS)


def test_what_is_known_in_this_precision_is_not_asked(job: ScoringJob, tmp_path: Path) -> None:
    known = [{"key": "a", "dtype": "float32"}, {"key": "b", "dtype": "bfloat16"}, {"key": "q", "dtype": "float32"}]
    pq.write_table(pa.Table.from_pylist(known, schema=KNOWN), tmp_path / "known.parquet")
    score(job.model_copy(update={"output": tmp_path, "heldout": [], "known": tmp_path / "known.parquet"}))
    keys = {row["key"] for row in (*QUESTIONS, *PROMPTS, *TEXTS)}
    assert answered(tmp_path).keys() == keys - {"a", "q"}


def test_nothing_to_score_leaves_an_empty_table(job: ScoringJob, tmp_path: Path) -> None:
    empty = asked(tmp_path / "requests.parquet", choices=[])
    score(job.model_copy(update={"output": tmp_path / "out", "heldout": [], "requests": empty}))
    table = pq.read_table(tmp_path / "out" / "heldout.parquet")
    assert (table.num_rows, table.schema) == (0, HELDOUT_SCHEMA)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"heldout.parquet", "result.json"}


def test_control_tokens_are_meant_only_where_a_template_wrote_them(base: Path) -> None:
    tokenizer = load_tokenizer(base)
    encoder = PromptEncoder(tokenizer)
    words = plain(tokenizer, "a b")
    spelled = plain(tokenizer, "</s>")
    assert encoder.prompt("a b") == [0, *words]
    assert encoder.prompt("a b</s>") == [0, *words, *spelled]
    assert encoder.prompt("a b", special=True) == words
    assert encoder.prompt("<s>a b</s>", special=True) == [0, *words, 1]
    assert encoder.prompt("<s>a b</s></s>", special=True, plain=[(6, 10)]) == [0, *words, *spelled, 1]
    [alone] = encoder.continuations("", ["a b"], 128)
    assert (alone.ids.tolist(), alone.start) == ([0, *words], 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"form": "song"}, "request a has the form 'song'"),
        ({"choices": []}, "request a has no choices"),
        ({"key": "b"}, "two requests have the key b"),
        ({"choices": ["", "x"]}, "a choice of the prompt 'The capital"),
        ({"choices": ["y" * 200, "x"]}, "has 200 tokens and the model takes 128"),
        ({"form": "text", "prompt": ""}, "request a has an empty text"),
    ],
)
def test_bad_requests_are_refused_by_name(job: ScoringJob, change: dict[str, Any], words: str, tmp_path: Path) -> None:
    rows = [{"form": "choices", **QUESTIONS[0], **change}, {"form": "choices", **QUESTIONS[1]}]
    pq.write_table(pa.Table.from_pylist(rows, schema=REQUESTS), tmp_path / "bad.parquet")
    with pytest.raises(ValueError, match=words):
        score(job.model_copy(update={"output": tmp_path, "requests": tmp_path / "bad.parquet"}))


def test_the_recipes_limit_must_fit_the_model_and_a_benchmarks_own_is_cut_to_half_of_it(
    job: ScoringJob, tmp_path: Path
) -> None:
    asked = {"form": "generation", "key": "a", "prompt": "a b c", "max_new_tokens": 128}
    pq.write_table(pa.Table.from_pylist([asked], schema=REQUESTS), tmp_path / "long.parquet")
    here = job.model_copy(update={"output": tmp_path, "requests": tmp_path / "long.parquet"})
    with pytest.raises(ValueError, match="max_new_tokens is 128 and the model takes 128"):
        score(here.model_copy(update={"max_new_tokens": 128}))
    score(here)
    (answer,) = pq.read_table(tmp_path / "answers-00000.parquet").to_pylist()
    assert answer["tokens"] <= 64


def test_packed_heldout_rows_are_refused(job: ScoringJob, write_rows: WriteRows, tmp_path: Path) -> None:
    packed = write_rows(tmp_path / "packed.parquet", [[([0, 5, 6], 1), ([0, 7, 8], 1)]])
    with pytest.raises(ValueError, match=r"held-out row .* is packed"):
        score(job.model_copy(update={"output": tmp_path, "heldout": [packed], "requests": None}))


def answered(folder: Path) -> dict[str, dict[str, Any]]:
    """The answers of all parts by their keys."""
    return {row.pop("key"): row for path in sorted(folder.glob("answers-*.parquet")) for row in read(path)}


def read(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def plain(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
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
