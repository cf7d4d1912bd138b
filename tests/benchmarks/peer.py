"""lm-evaluation-harness's own tasks over rows that a test gives, as the peer that prompts and scores must equal."""

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lm_eval
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks._yaml_loader import load_yaml

from tasks.benchmarks.item import Item, Response

TASKS = Path(lm_eval.__file__).parent / "tasks"


def peer_task(folder: Path, yaml: str, splits: Mapping[str, Sequence[Any]], **changed: Any) -> Any:
    """A task of the installed package, its data replaced by rows in the Hub's layout."""
    config = load_yaml(TASKS / yaml)
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in splits.items():
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {"data_files": {split: str(folder / f"{split}.jsonl") for split in splits}, "cache_dir": str(folder / "c")}
    for name in ("tag", "task_list"):
        config.pop(name, None)
    replaced = {"dataset_path": "json", "dataset_name": None, "dataset_kwargs": data, "training_split": None}
    task = ConfigurableTask(config={**config, **replaced, **changed})
    task.set_fewshot_seed(1234)
    return task


def peer_requests(task: Any, few_shot: int = 0) -> list[tuple[str, tuple[Any, ...]]]:
    """For each document the context, and what is scored behind it or how its generation goes."""
    made = []
    for number, doc in enumerate(task.task_docs):
        context = task.fewshot_context(doc, num_fewshot=few_shot)
        requests = task.construct_requests(doc=doc, ctx=context, metadata=("task", number, 1))
        requests = requests if isinstance(requests, list) else [requests]
        assert {request.args[0] for request in requests} == {context}
        made.append((context, tuple(request.args[1] for request in requests)))
    return made


def ours(items: Sequence[Item]) -> list[tuple[str, tuple[str, ...]]]:
    """What our items send, as `peer_requests` gives it."""
    return [(item.context + item.prompt, item.continuations) for item in items]


def require_equal_scores(task: Any, items: Sequence[Item], kind: Any, metric: str) -> None:
    """Random log-likelihoods score the same; among them are close ones and choices whose length decides."""
    rng = random.Random(0)
    values = set()
    for turn in range(40):
        for doc, item in zip(task.task_docs, items, strict=True):
            sizes = [len(choice) if turn % 2 else 10 for choice in item.choices]
            likely = tuple(-rng.uniform(0.8, 1.2) * size for size in sizes)
            wanted = task.process_results(doc, [(value, False) for value in likely])[metric]
            found = kind.score(item, Response(loglikelihoods=likely))
            assert abs(found - wanted) < 1e-12
            values.add(round(found, 6))
    assert len(values) > 1
