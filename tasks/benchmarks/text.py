"""Plain texts, a `text` (or `content`) a row: their loss is measured, nothing is asked.

The loss on general text is a cheap early warning of what a model forgets. Further fields: `id`, and `document`,
`subject` or `cluster` for texts that belong together. Blank rows are passed over.
"""

from tasks.artifacts.resource import Resource
from tasks.benchmarks.item import Item, Response, item_id, required, rows_of

KIND = "text"
VERSION = 1
SOURCE = ""
LICENCE = ""
FORMAT = "text"

_CLUSTERS = ("document", "subject", "cluster")


def items(benchmark: Resource) -> list[Item]:
    """The texts of a file; `prompt` is the text whose loss is measured."""
    found = []
    for place, row in rows_of(benchmark):
        text = str(required(row, place, "text", "content"))
        name = item_id(row, place)
        cluster = next((str(row[field]) for field in _CLUSTERS if row.get(field) not in (None, "")), name)
        if text.strip():
            found.append(Item(item_id=name, cluster=cluster, question=text, prompt=text))
    return found


def score(_item: Item, _response: Response) -> None:
    """Nothing: what counts is the loss."""
