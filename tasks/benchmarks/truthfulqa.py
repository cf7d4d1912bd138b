"""TruthfulQA, single true answer (mc1): Lin, Hilton, Evans, arXiv 2109.07958; Apache-2.0."""

import json
from collections.abc import Mapping
from typing import Any

from tasks.artifacts.resource import Resource
from tasks.benchmarks.item import BenchmarkError, Item, required, rows_of

KIND = "truthfulqa_mc1"
VERSION = 1


def items(benchmark: Resource) -> list[Item]:
    """Rows with `question` and `mc1_targets`, which maps each choice to 1 (the true one) or 0."""
    found = []
    for place, row in rows_of(benchmark):
        targets = _targets(required(row, place, "mc1_targets"), place)
        choices = tuple(targets)
        true = [index for index, choice in enumerate(choices) if targets[choice] == 1]
        if len(true) != 1:
            raise BenchmarkError(f"{place}: mc1_targets marks {len(true)} choices as true; exactly one must be")
        question = str(required(row, place, "question"))
        found.append(Item(item_id=place, cluster=place, question=question, choices=choices, gold=true[0]))
    return found


def _targets(value: Any, place: str) -> Mapping[str, Any]:
    try:
        targets = json.loads(value) if isinstance(value, str) else value
    except ValueError as error:
        raise BenchmarkError(f"{place}: mc1_targets is no JSON: {error}") from None
    if not isinstance(targets, dict):
        raise BenchmarkError(f"{place}: mc1_targets is {type(targets).__name__}; it maps each choice to 1 or 0")
    return targets
