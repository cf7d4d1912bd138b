"""Generated answers: `question` (or `prompt`) and the `answer` that the text must hold."""

from tasks.artifacts.resource import Resource
from tasks.benchmarks.item import BenchmarkError, Item, required, rows_of

KIND = "generation"
VERSION = 1


def items(benchmark: Resource) -> list[Item]:
    """The items of a file of questions and answers."""
    found = []
    for place, row in rows_of(benchmark):
        question = str(required(row, place, "question", "prompt", "query"))
        answer = str(required(row, place, "answer"))
        if not answer.strip():
            raise BenchmarkError(f"{place}: the answer is blank, and every text holds nothing; give what it must hold")
        item_id = str(row.get("id") or place)
        cluster = str(row.get("subject") or row.get("cluster") or item_id)
        found.append(Item(item_id=item_id, cluster=cluster, question=question, answer=answer))
    return found
