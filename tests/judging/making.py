"""Measurements of two models or three, as the judge reads them."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from tasks.artifacts.manifest import Artifact, Counts, Identity
from tasks.artifacts.store import Store

HELDOUT = "held-out answers"
_NAMES = ("benchmark", "kind", "form", "item_id", "cluster")


def item(item_id: str, question: str, **changes: Any) -> dict[str, Any]:
    """A row of the table of items."""
    told = {"benchmark": HELDOUT, "kind": HELDOUT, "form": "generation", "cluster": "ours", "answer": "", **changes}
    prompt = changes.get("prompt", f"User: {question}\nAssistant:")
    return {**told, "item_id": item_id, "question": question, "prompt": prompt}


def measured(store: Store, name: str, items: Sequence[Mapping[str, Any]], shown: Mapping[str, str]) -> Artifact:
    """A measurement of a model that answers each item as `shown` says, by the item's id."""
    answers = [
        {
            **{each: row[each] for each in _NAMES},
            "prompt_sha256": hashlib.sha256(row["prompt"].encode()).hexdigest(),
            "shown": shown[row["item_id"]],
        }
        for row in items
    ]
    identity = Identity(stage="measurement", version=1, config={"model": name}, parents=())
    with store.attempt(identity) as attempt:
        attempt.write("items", pa.Table.from_pylist([dict(row) for row in items]))
        attempt.write("answers", pa.Table.from_pylist(answers))
        attempt.counts = Counts(read=len(items), kept=len(items))
        return attempt.commit({})
