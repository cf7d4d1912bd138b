"""HellaSwag: which sentence goes on; Zellers et al., arXiv 1905.07830; MIT.

Rows as published (`ctx_a`, `ctx_b`, `activity_label`, `endings`, `label`) or with `question`, `choices` and `answer`.
The labels of its test split are secret: `validation` is asked. Texts are cleaned as lm-evaluation-harness does.
"""

import re
from collections.abc import Mapping
from typing import Any

from tasks.artifacts.resource import Resource
from tasks.benchmarks.choices import accuracy_norm, choice_items, choices_of, gold_of
from tasks.benchmarks.item import Item, Response, required
from tasks.benchmarks.splits import Row

KIND = "hellaswag"
VERSION = 2
SOURCE = "hf://datasets/Rowan/hellaswag"
LICENCE = "MIT"
FORMAT = "choices"
FEW_SHOT = 0
SPLITS = ("validation", "train")

_BRACKETED = re.compile(r"\[.*?\]")


def items(benchmark: Resource) -> list[Item]:
    """Beginnings and their endings, in clusters by the video or article that they are of."""
    return choice_items(benchmark, SPLITS, _item)


def score(item: Item, response: Response) -> float:
    """1 where the likeliest ending for its length is right."""
    return accuracy_norm(item, response)


def _item(row: Row) -> Item:
    place, fields = row
    texts, labels = choices_of(fields, place, "endings", "choices")
    choices = tuple(map(_clean, texts))
    question = _clean(_beginning(fields, place))
    return Item(
        item_id=place,  # its own numbers begin anew for the articles
        cluster=str(fields.get("source_id") or place),
        question=question,
        choices=choices,
        gold=(gold_of(required(fields, place, "label", "answer"), labels, place),),
        prompt=question,
        continuations=tuple(f" {choice}" for choice in choices),
    )


def _beginning(fields: Mapping[str, Any], place: str) -> str:
    if fields.get("ctx_a") is None:
        return str(required(fields, place, "question", "ctx_a"))
    second = str(required(fields, place, "ctx_b")).capitalize()
    return f"{required(fields, place, 'activity_label')}: {fields['ctx_a']} {second}"


def _clean(text: str) -> str:
    """Without the marks that WikiHow's articles left: `[title]` ends a sentence, others go."""
    return _BRACKETED.sub("", text.strip().replace(" [title]", ". ")).replace("  ", " ")
