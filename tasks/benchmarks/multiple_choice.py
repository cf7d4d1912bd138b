"""A user's own multiple choice: `query` or `question`, `choices`, and the index `gold` of the right one.

Further fields: `id`, and `subject` or `cluster` for items that share their errors. Rows whose `split` is `train` are
examples for `few_shot` and never asked. Scored by accuracy, or by `accuracy_norm`, which is fairer to long choices.
"""

import json

from tasks.artifacts.resource import Resource
from tasks.benchmarks.choices import accuracy, accuracy_norm, choice_items, choices_of, gold_of
from tasks.benchmarks.item import Item, Response, item_id, required
from tasks.benchmarks.splits import Row

KIND = "multiple_choice"
VERSION = 3
SOURCE = ""
LICENCE = ""
FORMAT = "choices"
FEW_SHOT = 0
SPLITS = ("test", "train")
METRICS = ("accuracy", "accuracy_norm")

_SCORES = {"accuracy": accuracy, "accuracy_norm": accuracy_norm}


def items(benchmark: Resource) -> list[Item]:
    """The items of a file in the layout that most harnesses exchange."""
    details = json.dumps({"metric": benchmark.facts["metric"]})
    return [item.model_copy(update={"details": details}) for item in choice_items(benchmark, SPLITS, _item)]


def score(item: Item, response: Response) -> float:
    """1 or 0 by the metric that the recipe chose."""
    return _SCORES[json.loads(item.details)["metric"]](item, response)


def _item(row: Row) -> Item:
    place, fields = row
    choices, labels = choices_of(fields, place, "choices")
    gold = gold_of(required(fields, place, "gold", "answer", "label"), labels, place)
    question = str(required(fields, place, "query", "question")).removeprefix("Question: ")
    return Item(
        item_id=item_id(fields, place),
        cluster=str(fields.get("subject") or fields.get("cluster") or item_id(fields, place)),
        question=question,
        choices=choices,
        gold=(gold,),
        prompt=f"Question: {question}\nAnswer:",
        continuations=tuple(f" {choice}" for choice in choices),
    )
