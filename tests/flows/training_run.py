"""The training stage alone, as a process that tests may kill: `python -m tests.flows.training_run '{"store": …}'`."""

import json
import logging
import random
import sys
from typing import Any

import pyarrow as pa
from prefect import flow

from tasks.artifacts.manifest import Artifact, Counts, Identity
from tasks.artifacts.resource import MODEL_FILES, read_resource
from tasks.artifacts.store import Store
from tasks.tokenization import HELDOUT, ROWS, TEMPLATE
from tasks.trainer.config import TrainingConfig
from tasks.training import train
from tests.flows.conftest import BASE_MODEL

CHATML = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
SAMPLES = 96


def tokenized(store: Store, *, packed: bool) -> Artifact:
    """Rows of random tokens, in which the demo's base model finds nothing to know."""
    draw = random.Random(7)
    samples = [_sample(draw, number) for number in range(SAMPLES)]
    groups = [samples[at : at + 3] for at in range(0, SAMPLES, 3)] if packed else [[each] for each in samples]
    identity = Identity(stage="tokenization", version=1, config={"packed": packed}, parents=())
    found = store.find(identity.address)
    if found is not None:
        return found
    with store.attempt(identity) as attempt:
        attempt.write("sequences", pa.Table.from_pylist([_row(group) for group in groups], ROWS))
        heldout = [{**_row([_sample(draw, number)]), "source": "any"} for number in range(1000, 1008)]
        attempt.write("heldout", pa.Table.from_pylist(heldout, HELDOUT))
        template = {"text": CHATML, "date": None, "end_ids": [1]}
        attempt.write("template", pa.Table.from_pylist([template], TEMPLATE))
        attempt.counts = Counts(read=SAMPLES, kept=SAMPLES)
        return attempt.commit({})


def _sample(draw: random.Random, number: int) -> dict[str, Any]:
    ids = [draw.randrange(5, 900) for _ in range(draw.randrange(12, 40))]
    return {"ids": ids, "row_id": f"row-{number}"}


def _row(samples: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "input_ids": [token for each in samples for token in each["ids"]],
        "labels": [token for each in samples for token in [-100, -100, *each["ids"][2:]]],
        "position_ids": [place for each in samples for place in range(len(each["ids"]))],
        "seq_lengths": [len(each["ids"]) for each in samples],
        "row_ids": [each["row_id"] for each in samples],
        "roles": ["domain"] * len(samples),
    }


def config(**settings: Any) -> TrainingConfig:
    """Few steps, with a checkpoint after each; nobody judges what random tokens teach."""
    chosen = {"learning_rate": 1e-3, "epochs": 5.5, "batch_size": 8, "evaluations": 4, "early_stopping": None}
    watching = {"preflight": False, "checkpoint_minutes": 0, "silence_seconds": 300, **settings.pop("watching", {})}
    return TrainingConfig.model_validate({**chosen, **settings, "watching": watching})


def run(store: str, *, packed: bool, settings: dict[str, Any]) -> Artifact:
    """The stage's artifact; a task with retries inside a flow."""
    opened = Store(store)
    opened.probe()
    base_model = read_resource(str(BASE_MODEL), patterns=MODEL_FILES)
    return train(opened, config(**settings), tokenized(opened, packed=packed), base_model)


@flow(name="training-alone")
def training_alone(store: str, packed: bool, settings: dict[str, Any]) -> Artifact:
    """The stage as people run it."""
    return run(store, packed=packed, settings=settings)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    told = json.loads(sys.argv[1])
    start = training_alone if told.pop("flow", True) else run
    print(start(**told).content)
