"""Multiple choice: `query` or `question`, a list of `choices`, and the index `gold` of the right one."""

from tasks.artifacts.resource import Resource
from tasks.benchmarks.item import BenchmarkError, Item, required, rows_of

KIND = "multiple_choice"
VERSION = 1


def items(benchmark: Resource) -> list[Item]:
    """The items of a file in the layout that most harnesses exchange."""
    found = []
    for place, row in rows_of(benchmark):
        given = required(row, place, "choices")
        if not isinstance(given, list) or len(given) < 2:
            raise BenchmarkError(f"{place}: choices is {str(given)[:80]!r}; give a list of two or more")
        choices = tuple(str(choice) for choice in given)
        gold = required(row, place, "gold", "answer", "label")
        if not isinstance(gold, int) or isinstance(gold, bool) or not 0 <= gold < len(choices):
            raise BenchmarkError(f"{place}: gold is {gold!r}; give the index of one of {len(choices)} choices")
        question = str(required(row, place, "query", "question")).removeprefix("Question: ")
        cluster = str(row.get("subject") or row.get("cluster") or row.get("id") or place)
        item_id = str(row.get("id") or place)
        found.append(Item(item_id=item_id, cluster=cluster, question=question, choices=choices, gold=gold))
    return found
