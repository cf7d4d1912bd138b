"""Tasks of lm-evaluation-harness: a folder with a task's YAML file and its data, run without the network.

lm-eval builds the prompts and counts the metric; the answers come from Fettle's own engine, so that neither of its
caches (`use_cache`, `cache_requests`) can serve another model's answers or old prompts. Needs `fettle[harness]`. A
task's own Python functions (`!function`) are run: use only tasks that you trust.
"""

import json
from importlib import metadata
from typing import Any

from tasks.artifacts.fingerprint import digest
from tasks.artifacts.resource import Resource
from tasks.benchmarks.harness_task import Asking, load_task, require_askable, scored
from tasks.benchmarks.item import BenchmarkError, Item, Response


def _version() -> str:
    try:
        return f"1 with lm-eval {metadata.version('lm_eval')}"
    except metadata.PackageNotFoundError:
        return "1 without lm-eval"


KIND = "harness"
VERSION = _version()
SOURCE = ""
LICENCE = ""
FORMAT = "generation"
FEW_SHOT = None

FEW_SHOT_SEED = 1234
"""What lm-eval's own evaluation draws few-shot examples with."""

_LOADED: dict[str, Any] = {}
"""Tasks by the digest of their files: loading one takes seconds, and scoring wants it for every item."""


def items(benchmark: Resource) -> list[Item]:
    """The documents of a task as items, in its own prompts."""
    facts, content = benchmark.facts, digest([benchmark.facts["task"], benchmark.files])
    if content not in _LOADED:
        task = load_task(benchmark)
        require_askable(task)
        _LOADED[content] = task
    task, details = _LOADED[content], {"content": content, "metric": facts["metric"]}
    task.set_fewshot_seed(FEW_SHOT_SEED)
    shots = task.config.num_fewshot or 0 if facts["few_shot"] is None else facts["few_shot"]
    try:
        made = [_item(task, number, doc, shots, details) for number, doc in enumerate(task.task_docs)]
    except BenchmarkError:
        raise
    except Exception as error:
        raise BenchmarkError(f"task {task.config.task} with {shots} examples cannot be asked: {error}") from error
    if made:
        score(made[0], Response(loglikelihoods=(-1.0,) * len(made[0].continuations)))  # a metric that is no score
    return made


def score(item: Item, response: Response) -> float:
    """What the task's metric makes of the answer to an item that `items` gave to this process."""
    details = json.loads(item.details)
    task = _LOADED[details["content"]]
    answers = [(value, False) for value in response.loglikelihoods] if item.continuations else [response.text]
    return scored(task, details["doc"], answers, details["metric"])


def _item(task: Any, number: int, doc: dict[str, Any], shots: int, details: dict[str, Any]) -> Item:
    name = f"{task.config.task} {number}"
    context = task.fewshot_context(doc, num_fewshot=shots, gen_prefix=task.doc_to_prefix(doc))
    requests = task.construct_requests(doc=doc, ctx=context, metadata=(task.config.task, number, 1))
    asking = Asking.of(requests if isinstance(requests, list) else [requests], name)
    own = task.doc_to_text(doc)
    split = len(asking.prompt) - len(own) if asking.prompt.endswith(own) else 0
    choices = tuple(map(str, task.doc_to_choice(doc))) if asking.continuations else ()
    target = task.doc_to_target(doc)
    return Item(
        item_id=name,
        cluster=str(doc.get("subject") or doc.get("cluster") or name),
        question=str(task.doc_to_decontamination_query(doc) if task.should_decontaminate() else own),
        choices=choices,
        gold=_gold(target, choices, name) if choices else (),
        answer="" if choices else str(target),
        prompt=asking.prompt[split:],
        context=asking.prompt[:split],
        continuations=asking.continuations,
        stop=asking.stop,
        max_new_tokens=asking.max_new_tokens,
        details=json.dumps(details | {"doc": number}),
    )


def _gold(target: Any, choices: tuple[str, ...], name: str) -> tuple[int, ...]:
    found = tuple(
        choices.index(each) if each in choices else each for each in (target if isinstance(target, list) else [target])
    )
    if not all(isinstance(each, int) and 0 <= each < len(choices) for each in found):
        raise BenchmarkError(f"{name}: doc_to_target gives {target!r}, which is none of its {len(choices)} choices")
    return found
