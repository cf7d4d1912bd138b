"""IFEval: instructions whose following a program can check; Zhou et al., arXiv 2311.07911; 541 prompts, Apache-2.0.

The score is the paper's prompt-level strict accuracy: 1 where an answer follows every instruction of its prompt.
`followed` gives each instruction by itself, strictly and loosely, for the paper's other three accuracies.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from tasks.algorithms.constraints import InstructionError, checked, follows, follows_loosely
from tasks.artifacts.resource import Resource
from tasks.benchmarks.item import BenchmarkError, Item, Response, required, rows_of

KIND = "ifeval"
VERSION = 1
SOURCE = "hf://datasets/google/IFEval"
LICENCE = "Apache-2.0"
FORMAT = "generation"
SPLITS = ("train",)

MAX_NEW_TOKENS = 1280
"""What lm-evaluation-harness allows an answer: some prompts ask for more than a thousand words."""


class Followed(NamedTuple):
    """Whether an answer follows one instruction of its prompt."""

    name: str
    """The instruction's id."""
    strict: bool
    loose: bool


def items(benchmark: Resource) -> list[Item]:
    """Rows with `key`, `prompt`, `instruction_id_list` and as many `kwargs`; asked in the model's chat template."""
    found = []
    for place, row in rows_of(benchmark):
        key = str(required(row, place, "key", "id"))
        found.append(
            Item(
                item_id=key,
                cluster=key,
                question=str(required(row, place, "prompt", "question")),
                max_new_tokens=MAX_NEW_TOKENS,
                details=json.dumps(_instructions(row, place), ensure_ascii=False),
            )
        )
    return found


def score(item: Item, response: Response) -> float:
    """1 where the answer follows all instructions to the letter, otherwise 0."""
    return float(all(follows(response.text, name, arguments) for name, arguments in json.loads(item.details)))


def followed(item: Item, response: Response) -> list[Followed]:
    """Of each instruction whether the answer follows it, to the letter and loosely."""
    text = response.text
    return [
        Followed(name, follows(text, name, arguments), follows_loosely(text, name, arguments))
        for name, arguments in json.loads(item.details)
    ]


def _instructions(row: Mapping[str, Any], place: str) -> list[tuple[str, dict[str, Any]]]:
    names = required(row, place, "instruction_id_list")
    arguments = _parsed(required(row, place, "kwargs"), place)
    if not isinstance(names, list) or not isinstance(arguments, list) or not 0 < len(names) == len(arguments):
        raise BenchmarkError(
            f"{place}: instruction_id_list is {str(names)[:80]!r} and kwargs is {str(arguments)[:80]!r}; "
            "give two lists of the same length"
        )
    try:
        return [
            (str(name), checked(str(name), _arguments(_parsed(each, place), place)))
            for name, each in zip(names, arguments, strict=True)
        ]
    except InstructionError as error:
        raise BenchmarkError(f"{place}: {error}") from None


def _arguments(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BenchmarkError(f"{place}: kwargs holds {str(value)[:80]!r}; give an object for each instruction")
    return value


def _parsed(value: Any, place: str) -> Any:
    """The value, or what it says where it is JSON: files carry `kwargs` in either way."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError as error:
        raise BenchmarkError(f"{place}: kwargs is no JSON: {error}") from None
