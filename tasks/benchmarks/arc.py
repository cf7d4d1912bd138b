"""ARC, science questions of school exams (Challenge unless the address says Easy); Clark et al., arXiv 1803.05457.

CC BY-SA 4.0. Rows as AI2 publishes them (`question`, `choices` as `{text: […], label: […]}`, `answerKey`) or with
`query`, `choices` and `gold`. The text of a choice is scored, as lm-evaluation-harness's `arc_challenge` does.
"""

from tasks.artifacts.resource import Resource
from tasks.benchmarks.choices import accuracy_norm, choice_items, choices_of, gold_of
from tasks.benchmarks.item import Item, Response, item_id, required
from tasks.benchmarks.splits import Row

KIND = "arc"
VERSION = 2
SOURCE = "hf://datasets/allenai/ai2_arc/ARC-Challenge"
LICENCE = "CC BY-SA 4.0"
FORMAT = "choices"
FEW_SHOT = 0
SPLITS = ("test", "train")


def items(benchmark: Resource) -> list[Item]:
    """The questions of the test split, each by itself."""
    return choice_items(benchmark, SPLITS, _item)


def score(item: Item, response: Response) -> float:
    """1 where the likeliest choice for its length is right."""
    return accuracy_norm(item, response)


def _item(row: Row) -> Item:
    place, fields = row
    choices, labels = choices_of(fields, place, "choices")
    question = str(required(fields, place, "question", "query")).removeprefix("Question: ")
    return Item(
        item_id=item_id(fields, place),
        cluster=item_id(fields, place),
        question=question,
        choices=choices,
        gold=(gold_of(required(fields, place, "answerKey", "gold"), labels, place),),
        prompt=f"Question: {question}\nAnswer:",
        continuations=tuple(f" {choice}" for choice in choices),
    )
