"""Multiple choice by log-likelihood: ours against lm-evaluation-harness, by CPU-seconds.

Both sides read the same questions in processes of their own, on one core, in float32, by the same random Llama with
GPT-2's 50,257 tokens. What counts is tokenising and scoring; imports and loading are left out on both sides. The other
side's prompts are made by its own task files from the raw rows, so that ours are proven as well.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.artifacts.resource import Resource, read_resource
from tasks.benchmarks import KINDS
from tasks.benchmarks.item import Item, Response, drawn
from tasks.trainer.job import ScoringJob
from tasks.trainer.requests import REQUESTS
from tests.speed.figure import Measurement, figure, require
from tests.speed.tokenizing import REAL, _save_tokenizer

LONGEST = 4096
BATCH = 16
"""Most questions or texts of a row or batch of ours."""
THEIR_BATCH = {"mmlu": 4, "truthfulqa_mc2": 16, "arc": 16, "hellaswag": 16}
"""Logits of every position times 50,257: 16 rows with MMLU's examples would take 16 GB, and no less time a token."""
TOLERANCE = 1e-3
"""Nats between the log-likelihoods that both sides give to one choice."""
Rows = list[dict[str, Any]]


class Quiz(NamedTuple):
    """Questions as each side takes them."""

    items: list[Item]
    kind: str
    tasks: dict[str, dict[str, Any]]
    """Tasks of the other side, in the order of the questions."""
    rows: dict[str, dict[str, Rows]]
    """Of each task the rows of its splits."""


@figure("evaluate.vs_lm_eval.mmlu")
def mmlu(scratch: Path) -> Measurement:
    """Five examples in front of each question; letters are scored."""
    return _measured(scratch, "mmlu", _mmlu())


@figure("evaluate.vs_lm_eval.truthfulqa_mc2")
def truthfulqa_mc2(scratch: Path) -> Measurement:
    """Six examples in front of each question; many true and false answers."""
    return _measured(scratch, "truthfulqa_mc2", _truthfulqa())


@figure("evaluate.vs_lm_eval.arc")
def arc(scratch: Path) -> Measurement:
    """Nothing in front of a question; whole answers are scored."""
    return _measured(scratch, "arc", _arc())


@figure("evaluate.vs_lm_eval.hellaswag")
def hellaswag(scratch: Path) -> Measurement:
    """Nothing in front; whole sentences are scored."""
    return _measured(scratch, "hellaswag", _hellaswag())


MOST = {"mmlu": 500, "truthfulqa_mc2": 150, "arc": 400, "hellaswag": 400}
"""Questions of each, each subject its share: FETTLE_WHOLE_BENCHMARKS=1 asks all but MMLU's."""


def _items(kind: str, file: str, **facts: Any) -> list[Item]:
    read = read_resource(str(REAL / "benchmarks" / file))
    benchmark = Resource(**dict(read) | {"facts": {"name": kind, "few_shot": 0, **facts}})
    whole = os.environ.get("FETTLE_WHOLE_BENCHMARKS") == "1" and kind != "mmlu"
    return drawn(KINDS[kind].items(benchmark), None if whole else MOST[kind])


def _mmlu() -> Quiz:
    items = sorted(_items("mmlu", "mmlu_57_subjects.parquet", few_shot=5), key=lambda item: item.cluster)
    raw = pq.read_table(REAL / "benchmarks" / "mmlu_57_subjects.parquet").to_pylist()
    default = _their_file("mmlu/default/_default_template_yaml")
    tasks, rows = {}, {}
    for subject in dict.fromkeys(item.cluster for item in items):
        theirs = _their_file(f"mmlu/default/mmlu_{subject}.yaml")
        name = str(theirs["task"])
        tasks[name] = default | {"description": theirs["description"], "num_fewshot": 5}
        examples = [row for row in raw if row["subject"] == subject and row["split"] == "dev"]
        rows[name] = {
            "test": [
                {"question": item.question, "choices": list(item.choices), "answer": item.gold[0]}
                for item in items
                if item.cluster == subject
            ],
            "dev": [
                {
                    "question": row["question"],
                    "choices": [row[letter] for letter in "ABCD"],
                    "answer": "ABCD".index(row["answer"]),
                }
                for row in examples
            ],
        }
    return Quiz(items, "mmlu", tasks, rows)


def _truthfulqa() -> Quiz:
    items = _items("truthfulqa_mc2", "truthfulqa_mc_task.parquet")
    task = _their_file("truthfulqa/truthfulqa_mc1.yaml") | {"doc_to_choice": "{{choices}}"}
    rows = [{"question": item.question, "choices": list(item.choices)} for item in items]
    return Quiz(items, "truthfulqa_mc2", {"truthfulqa_mc2": task}, {"truthfulqa_mc2": {"validation": rows}})


def _arc() -> Quiz:
    items = _items("arc", "arc_challenge.parquet")
    rows = [
        {
            "question": item.question,
            "choices": {"text": list(item.choices), "label": [str(n) for n in range(len(item.choices))]},
            "answerKey": str(item.gold[0]),
        }
        for item in items
    ]
    task = _their_file("arc/arc_easy.yaml") | {"training_split": None, "validation_split": None}
    return Quiz(items, "arc", {"arc_challenge": task}, {"arc_challenge": {"test": rows}})


def _hellaswag() -> Quiz:
    items = _items("hellaswag", "hellaswag_2000.parquet")
    task = _their_file("hellaswag/hellaswag.yaml") | {"training_split": None, "process_docs": None}
    rows = [{"query": item.question, "choices": list(item.choices), "label": str(item.gold[0])} for item in items]
    return Quiz(items, "hellaswag", {"hellaswag": task}, {"hellaswag": {"validation": rows}})


def _their_file(name: str) -> dict[str, Any]:
    """A task file of the installed harness, its Python functions left out."""
    import lm_eval
    import yaml

    class Loader(yaml.SafeLoader):
        """Reads `!function` as nothing."""

    Loader.add_constructor("!function", lambda _loader, _node: None)
    text = (Path(lm_eval.__file__).parent / "tasks" / name).read_text(encoding="utf-8")
    read: dict[str, Any] = yaml.load(text, Loader)  # a safe loader, with one tag more
    return read


def _measured(scratch: Path, name: str, quiz: Quiz) -> Measurement:
    folder = scratch / f"evaluating-{name}"
    folder.mkdir()
    model = _model(scratch)
    _write_ours(quiz, model, folder)
    _write_theirs(quiz, model, folder)
    theirs, ours = (_side(side, folder) for side in ("theirs", "ours"))
    require(theirs["prompts"] == ours["prompts"], "the prompts differ")
    pairs = list(zip(theirs["loglikelihoods"], ours["loglikelihoods"], strict=True))
    apart = max(float(np.abs(np.subtract(left, right)).max()) for left, right in pairs)
    require(apart < TOLERANCE, f"log-likelihoods lie up to {apart:.2g} nats apart")
    scores = [_score(quiz, side["loglikelihoods"]) for side in (theirs, ours)]
    require(abs(scores[0] - scores[1]) < 1e-6, f"scores are {scores[0]} and {scores[1]}")
    tokens = ours["tokens"], theirs["tokens"]
    return Measurement(
        ours=ours["cpu_seconds"],
        peer=theirs["cpu_seconds"],
        peer_name=f"lm-eval's HFLM, batches of {THEIR_BATCH[name]}, both its caches off",
        unit="CPU-seconds",
        checked=f"{len(quiz.items):,} questions in prompts byte-equal, log-likelihoods at most {apart:.1g} nats apart, "
        f"score {scores[1]:.4f} on both sides; {tokens[0]:,} and {tokens[1]:,} tokens read, without start-up",
    )


def _score(quiz: Quiz, loglikelihoods: Sequence[Sequence[float]]) -> float:
    kind = KINDS[quiz.kind]
    answers = [Response(loglikelihoods=tuple(each)) for each in loglikelihoods]
    scores = [kind.score(item, answer) for item, answer in zip(quiz.items, answers, strict=True)]
    return float(np.mean([score for score in scores if score is not None]))


@cache
def _model(scratch: Path) -> Path:
    """A model folder with random weights and GPT-2's tokenizer, half of its work in the head."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    _save_tokenizer(scratch / "evaluating-model", "gpt2")
    folder = scratch / "evaluating-model" / "tokenizer"
    vocabulary = len(json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"])
    torch.manual_seed(0)
    shape: Any = {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 14, "num_attention_heads": 4}
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary + 1,
            max_position_embeddings=LONGEST,
            tie_word_embeddings=True,
            initializer_range=0.06,  # so that what a token sees shows in what follows it
            **shape,
        )
    )
    model.save_pretrained(folder)
    return folder


def _write_ours(quiz: Quiz, model: Path, folder: Path) -> None:
    rows = [
        {
            "key": str(number),
            "form": "choices",
            "prompt": item.context + item.prompt,
            "special": False,
            "choices": list(item.continuations),
        }
        for number, item in enumerate(quiz.items)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=REQUESTS), folder / "requests.parquet")
    job = ScoringJob(
        model=model, requests=folder / "requests.parquet", output=folder, batch_size=BATCH, dtype="float32"
    )
    (folder / "ours.json").write_text(job.model_dump_json())


def _write_theirs(quiz: Quiz, model: Path, folder: Path) -> None:
    tasks = []
    for name, task in quiz.tasks.items():
        files = {split: str(folder / f"{name}-{split}.parquet") for split in quiz.rows[name]}
        for split, rows in quiz.rows[name].items():
            pq.write_table(pa.Table.from_pylist(rows), files[split])
        local = {"dataset_path": "parquet", "dataset_name": None, "dataset_kwargs": {"data_files": files}}
        kept = {key: value for key, value in (task | local).items() if value is not None and key != "tag"}
        tasks.append(kept | {"task": name})
    told = {"model": str(model), "tasks": tasks, "batch_size": THEIR_BATCH[quiz.kind]}
    (folder / "theirs.json").write_text(json.dumps(told))


def _side(side: str, folder: Path) -> dict[str, Any]:
    """What another process finds."""
    settings = {
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HOME": str(folder / "huggingface"),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    finished = subprocess.run(
        [sys.executable, "-m", "tests.speed.evaluating", side, str(folder)],
        capture_output=True,
        text=True,
        env=os.environ | settings,
    )
    require(finished.returncode == 0, f"{side} failed: {finished.stderr[-2000:]}")
    found: dict[str, Any] = json.loads((folder / f"{side}-found.json").read_text())
    return found


def _ours(folder: Path) -> dict[str, Any]:
    from tasks.trainer.models import load_model, load_tokenizer, prepare_machine
    from tasks.trainer.requests import read_requests
    from tasks.trainer.scoring import Scorer

    job = ScoringJob.model_validate_json((folder / "ours.json").read_text())
    machine = prepare_machine(job.dtype, job.seed)
    scorer = Scorer(load_model(job.model, machine.compute_dtype).eval(), load_tokenizer(job.model), job)
    requests = read_requests(job.requests)
    begun = time.process_time()
    answers = {row["key"]: row["loglikelihoods"] for row in scorer.choices(requests)}
    seconds = time.process_time() - begun
    return {
        "cpu_seconds": seconds,
        "tokens": scorer.forwarded_tokens,
        "prompts": [[row["prompt"], row["choices"]] for row in requests],
        "loglikelihoods": [answers[row["key"]] for row in requests],
    }


def _theirs(folder: Path) -> dict[str, Any]:
    import torch
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    told = json.loads((folder / "theirs.json").read_text())
    counted = {"cpu_seconds": 0.0, "tokens": 0}

    class Counted(HFLM):  # type: ignore[misc]  # it has no annotations
        """Counts what scoring takes."""

        def loglikelihood(self, requests: Any, **_: Any) -> Any:
            begun = time.process_time()
            found = super().loglikelihood(requests, disable_tqdm=True)
            counted["cpu_seconds"] += time.process_time() - begun
            return found

        def _model_call(self, inps: Any, *rest: Any, **more: Any) -> Any:
            counted["tokens"] += inps.numel()
            return super()._model_call(inps, *rest, **more)

    torch.set_num_threads(1)
    model = Counted(
        pretrained=told["model"], dtype="float32", device="cpu", batch_size=told["batch_size"], max_length=LONGEST
    )
    found: Any = simple_evaluate(
        model, tasks=told["tasks"], use_cache=None, cache_requests=False, log_samples=True, bootstrap_iters=0
    )
    samples = [
        each
        for task in told["tasks"]
        for each in sorted(found["samples"][task["task"]], key=lambda sample: sample["doc_id"])
    ]
    asked = [[list(each) for each in sample["arguments"]] for sample in samples]
    return counted | {
        "prompts": [[pairs[0][0], [choice for _, choice in pairs]] for pairs in asked],
        "loglikelihoods": [[float(answer[0]) for answer in sample["filtered_resps"]] for sample in samples],
    }


SIDES: dict[str, Callable[[Path], dict[str, Any]]] = {"ours": _ours, "theirs": _theirs}

if __name__ == "__main__":
    where = Path(sys.argv[2])
    (where / f"{sys.argv[1]}-found.json").write_text(json.dumps(SIDES[sys.argv[1]](where)))
