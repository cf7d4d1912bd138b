"""A user's own generated answers: `question` (or `prompt`) and the `answer`, asked in the model's chat template.

Right is an answer that `holds` the expected one as a whole figure or phrase, that is `exact` but for case and blanks,
or whose final `number` is the same. Further fields: `id`, and `subject` or `cluster`.
"""

import json

from tasks.algorithms.behaviour import holds_answer
from tasks.algorithms.final_number import final_number
from tasks.artifacts.resource import Resource
from tasks.benchmarks.item import BenchmarkError, Item, Response, item_id, required, rows_of

KIND = "generation"
VERSION = 2
SOURCE = ""
LICENCE = ""
FORMAT = "generation"
METRICS = ("holds", "exact", "number")


def items(benchmark: Resource) -> list[Item]:
    """The items of a file of questions and answers."""
    metric = benchmark.facts["metric"]
    found = []
    for place, row in rows_of(benchmark):
        answer = str(required(row, place, "answer"))
        if not answer.strip():
            raise BenchmarkError(f"{place}: the answer is blank, and every text holds nothing; give what it must hold")
        if metric == "number" and final_number(answer) is None:
            raise BenchmarkError(f"{place}: the answer {answer[:80]!r} has no number; give one, or another metric")
        name = item_id(row, place)
        found.append(
            Item(
                item_id=name,
                cluster=str(row.get("subject") or row.get("cluster") or name),
                question=str(required(row, place, "question", "prompt", "query")),
                answer=answer,
                details=json.dumps({"metric": metric}),
            )
        )
    return found


def score(item: Item, response: Response) -> float:
    """1 or 0 by the metric that the recipe chose."""
    match json.loads(item.details)["metric"]:
        case "exact":
            return float(_plain(response.text) == _plain(item.answer))
        case "number":
            return float(final_number(response.text) == final_number(item.answer))
        case _:
            return float(holds_answer(response.text, item.answer))


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).removesuffix(".")
