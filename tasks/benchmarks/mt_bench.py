"""MT-Bench: 80 questions of two turns in eight categories; Zheng et al., arXiv 2306.05685; Apache-2.0.

The second turn speaks of the model's own first answer, so it can only be asked once that is there: `follow_up` makes
it. No answer is right or wrong here; a judge compares and grades them. Answers are greedy, where the paper drew some
categories at temperature 0.7, so that the same model always gives the same answers.
"""

import json
from collections.abc import Mapping
from typing import Any

from tasks.artifacts.resource import Resource
from tasks.benchmarks.item import BenchmarkError, Item, Response, required, rows_of
from tasks.conversation import Message

KIND = "mt_bench"
VERSION = 1
SOURCE = "hf://datasets/HuggingFaceH4/mt_bench_prompts"
LICENCE = "Apache-2.0"
FORMAT = "generation"
SPLITS = ("train",)

MAX_NEW_TOKENS = 1024
"""What the paper allows an answer."""
JUDGED_BY_REFERENCE = frozenset({"math", "reasoning", "coding"})
"""Categories in which judges are too often wrong without a reference answer."""


def items(benchmark: Resource) -> list[Item]:
    """The first turns; rows with `turns` (or `prompt`), `category` and, for some, `reference_gpt4` (or `reference`)."""
    return [_item(row, place) for place, row in rows_of(benchmark)]


def score(_item: Item, _response: Response) -> None:
    """Nothing: a judge says how good an answer is."""
    return


def messages(item: Item) -> list[Message]:
    """The conversation that the model is to continue."""
    said: list[Message] = json.loads(item.details)["messages"]
    return said


def follow_up(item: Item, answer: str) -> Item | None:
    """The second turn, after the model's own answer to the first; none after the second."""
    details = json.loads(item.details)
    if not details["next"]:
        return None
    (question, reference), *rest = details["next"]
    said = [
        *details["messages"],
        {"role": "assistant", "content": answer},
        {"role": "user", "content": question},
    ]
    prompt_id, turn = prompt_and_turn(item.item_id)
    return _turn(f"{prompt_id}/{turn + 1}", item.cluster, reference, said, rest)


def prompt_and_turn(item_id: str) -> tuple[str, int]:
    """The question and the turn, from 1, of an item: `81/2` is the second turn of question 81."""
    prompt_id, _, turn = item_id.rpartition("/")
    return prompt_id, int(turn)


def _item(row: Mapping[str, Any], place: str) -> Item:
    turns = _texts(required(row, place, "turns", "prompt"), place)
    category = str(required(row, place, "category"))
    given = row.get("reference_gpt4") or row.get("reference")
    references = _texts(given, place) if given and category in JUDGED_BY_REFERENCE else [""] * len(turns)
    if len(references) != len(turns):
        raise BenchmarkError(f"{place}: {len(references)} reference answers for {len(turns)} turns; give one a turn")
    prompt_id = next((str(row[name]) for name in ("question_id", "prompt_id") if row.get(name) is not None), place)
    said = [{"role": "user", "content": turns[0]}]
    return _turn(f"{prompt_id}/1", category, references[0], said, [*zip(turns[1:], references[1:], strict=True)])


def _turn(item_id: str, category: str, reference: str, said: list[Any], rest: list[Any]) -> Item:
    return Item(
        item_id=item_id,
        cluster=category,
        question=said[-1]["content"],
        answer=reference,
        max_new_tokens=MAX_NEW_TOKENS,
        details=json.dumps({"messages": said, "next": rest}, ensure_ascii=False),
    )


def _texts(value: Any, place: str) -> list[str]:
    if not isinstance(value, list | tuple) or not value or not all(isinstance(text, str) for text in value):
        raise BenchmarkError(f"{place}: turns and references are lists of texts; there is {str(value)[:80]!r}")
    return list(value)
