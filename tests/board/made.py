"""A store with one published run in it, its stages committed by hand: what the board reads, in milliseconds."""

import json
from typing import Any

import pyarrow as pa

from tasks.artifacts import aliases, registry, runs
from tasks.artifacts.manifest import Artifact, Counts, Identity
from tasks.artifacts.store import Store

RECIPE = "support"
REPORT = b"<!doctype html><title>The report</title><p>Passed</p>"
SECRET = b"a row of somebody's data"
"""Lies in the store, in files that no page shows."""
FACTS = {
    "steps": 40,
    "last_loss": 0.5,
    "best_heldout_loss": 0.75,
    "tokens_per_second": 1250.0,
    "tokens": 50_000,
    "device_hours": 0.5,
}
STAGES = (
    ("ingestion", "ingest", Counts(read=100, kept=97, dropped={"no answer": 3})),
    ("curation", "curate", Counts(read=97, kept=90, dropped={"truncated": 5, "repetitive": 2})),
    ("deduplication", "deduplicate", Counts(read=90, kept=80, dropped={"near duplicate": 10})),
    ("mixing", "mix", Counts(read=80, kept=80)),
    ("tokenization", "tokenize", Counts(read=80, kept=80)),
    ("training", "train", Counts(read=80, kept=80)),
    ("evaluation", "evaluate", Counts(read=8, kept=8)),
    ("publication", "publish", Counts(read=8, kept=8)),
)


def make(
    store: Store, recipe: str = RECIPE, *, day: int = 1, price: float | None = None, verdict: str = "pass"
) -> runs.Run:
    """Add a run with artifacts of its own; where the gate let it through, a version in production, too."""
    store.probe()
    made = {verb: _commit(store, stage, counts, recipe, verdict) for stage, verb, counts in STAGES}
    outcome = "published" if verdict == "pass" else "refused"
    cost = {"price_per_device_hour": price}
    run = runs.begin(recipe, {"name": recipe, "training": {"cost": cost}}).model_copy(
        update={
            "id": f"202601{day:02}-080000-0000",
            "started": f"2026-01-{day:02}T08:00:00+00:00",
            "outcome": outcome,
            "message": "No sure loss." if verdict == "pass" else "A sure loss.",
            "seconds": 60.0,
            "stages": tuple(_record(verb, artifact) for verb, artifact in made.items()),
            "version": 1 if outcome == "published" else None,
        }
    )
    runs.save(store, run)
    if outcome == "published":
        version = registry.register(store, recipe, made["publish"], made["evaluate"], made["train"], verdict)
        aliases.move(store, recipe, "production", version.version, [], kind="promotion", by="a test", why="")
    return run


def _record(verb: str, artifact: Artifact) -> runs.StageRecord:
    cached = verb in ("ingest", "curate")
    return runs.StageRecord(stage=artifact.stage, verb=verb, address=artifact.address, cached=cached, seconds=2.0)


def _commit(store: Store, stage: str, counts: Counts, recipe: str, verdict: str) -> Artifact:
    identity = Identity(stage=stage, version=1, config={"recipe": recipe, "verdict": verdict}, parents=())
    with store.attempt(identity) as attempt:
        attempt.counts = counts
        attempt.write("rows", pa.table({"text": [SECRET.decode()]}))
        if stage == "training":
            attempt.facts |= FACTS
            attempt.write_file("model/model.safetensors", b"weights")
        if stage == "evaluation":
            attempt.facts |= {"verdict": verdict}
            attempt.write_file("gates.json", json.dumps(_gates(verdict)).encode())
        if stage == "publication":
            attempt.write_file("report.html", REPORT)
        return attempt.commit({})


def _gates(verdict: str) -> dict[str, Any]:
    score = {"name": "facts", "unit": "%", "better": "higher", "items": 8, "verdict": verdict}
    return {
        "verdict": verdict,
        "reason": "No sure loss." if verdict == "pass" else "A sure loss on facts.",
        "weights": "tuned",
        "base_weights": "base",
        "measured": {"base": "measurement/0", "tuned": "measurement/1"},
        "scores": [
            score | {"against": "base", "base": 50.0, "tuned": 75.0},
            score | {"against": "production", "base": 70.0, "tuned": 75.0},
        ],
    }
