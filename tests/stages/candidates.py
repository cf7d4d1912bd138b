"""A model that could be published: its training, two measurements, an evaluation with its gate, card and report."""

import json
from typing import Any, NamedTuple

from tasks.artifacts.manifest import Artifact, Counts, Identity, Parent
from tasks.artifacts.store import Store
from tasks.promotion import incumbent

SCORE = {"name": "mmlu", "unit": "%", "base": 31.0, "tuned": 32.5, "difference": 1.5, "items": 400, "verdict": "pass"}


class Candidate(NamedTuple):
    """What a run hands to `register`, in that order."""

    publication: Artifact
    evaluated: Artifact
    trained: Artifact


def make(store: Store, stage: str, files: dict[str, bytes], parents: tuple[Parent, ...] = ()) -> Artifact:
    """A committed artifact of these files."""
    identity = Identity(
        stage=stage, version=1, config={name: data.decode() for name, data in files.items()}, parents=parents
    )
    with store.attempt(identity) as attempt:
        for name, data in files.items():
            attempt.write_file(name, data)
        attempt.counts = Counts(read=1, kept=1)
        return attempt.commit({})


def candidate(store: Store, verdict: str = "pass", name: str = "w", **overrides: Any) -> Candidate:
    """A candidate, compared with what is in production of `m` now; `overrides` replace fields of its gate's record."""
    trained = make(store, "training", {"model/model.safetensors": f"{name} {verdict}".encode()})
    base_model = Parent(name="model", content="b" * 64, uri="base")
    base = make(store, "measurement", {"answers": b"of the base"}, (base_model,))
    tuned = make(store, "measurement", {"answers": f"of {name}".encode()}, (trained.as_parent("model"),))
    measured = {"base": base, "tuned": tuned}
    rival = incumbent(store, "m", "production", trained)
    if rival:
        measured["production"] = make(store, "measurement", {"answers": b"in production"}, (rival.as_parent("model"),))
    gates = {
        "verdict": verdict,
        "reason": "because",
        "weights": trained.content,
        "base_weights": base_model.content,
        "production_weights": rival and rival.content,
        "measured": {side: artifact.address for side, artifact in measured.items()},
        "limits": {},
        "scores": [SCORE],
        **overrides,
    }
    return judged(store, trained, measured, {"gates.json": json.dumps(gates).encode()}, name)


def judged(
    store: Store, trained: Artifact, measured: dict[str, Artifact], files: dict[str, bytes], name: str = "w"
) -> Candidate:
    """A candidate whose evaluation holds just these files."""
    evaluated = make(store, "evaluation", files, tuple(each.as_parent(side) for side, each in measured.items()))
    parents = (trained.as_parent("trained"), evaluated.as_parent("evaluated"))
    publication = make(store, "publication", {"README.md": name.encode()}, parents)
    return Candidate(publication, evaluated, trained)
