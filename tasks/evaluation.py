"""Evaluate: measurements of two or three models side by side, item by item, and a gate that knows its own noise.

What is compared are the very answers that `measure` kept; the verdict and all that led to it stand in `gates.json`,
which is read again before anything is published.
"""

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from pydantic import Field, model_validator

from tasks.algorithms.gate.comparison import Gate, compare
from tasks.algorithms.gate.limits import BehaviourLimits, LossLimits
from tasks.algorithms.gate.pairs import IncomparableError, Measured
from tasks.algorithms.gate.verdict import verdict_of
from tasks.artifacts.manifest import Artifact, Counts
from tasks.artifacts.resource import Resource
from tasks.artifacts.store import Attempt, Store
from tasks.asked import MeasurementConfig
from tasks.benchmarks import BenchmarkSource
from tasks.benchmarks.item import HELDOUT_ANSWERS
from tasks.caching import stage
from tasks.config import Config
from tasks.gate_record import GATES, SCORES
from tasks.judging.config import JudgeConfig
from tasks.trainer.config import Dtype

MOST_LOOKS = 3
"""How often the gate may look while items are added: each is a chance to err, so all are counted from the first on."""
_SPARE = 1.1
"""Items beyond those that would decide if the models differed just as they were seen to."""


class Forgetting(Config):
    """When a drop is too much, in points (percent) on the same items."""

    investigate: float = Field(2.0, ge=0)
    """A sure drop above this wants a look."""
    fail: float = Field(5.0, gt=0)
    """A sure drop above this keeps the model from being published; one that cannot be ruled out asks for more items."""

    @model_validator(mode="after")
    def _ordered(self) -> "Forgetting":
        if self.investigate > self.fail:
            raise ValueError(
                f"investigate is {self.investigate:g} and fail is {self.fail:g}; the first must not be larger"
            )
        return self


class EvaluationConfig(Config):
    """What is measured, and what the gate allows."""

    benchmarks: tuple[BenchmarkSource, ...] = ()
    """Questions put to the base model, to the tuned one, and to the one in production."""
    forgetting: Forgetting = Forgetting()
    """When a drop is too much."""
    behaviour: BehaviourLimits = BehaviourLimits()
    """How much of each bad habit the answers may show."""
    losses: LossLimits = LossLimits()
    """How much a loss may rise."""
    until_decided: bool = False
    """Whether more items are drawn where too few left a case open. The gate is stricter then, as each look at more
    of them is a chance to err."""
    judge: JudgeConfig | None = None
    """A model that compares the answers in pairs; nobody when not set."""
    heldout_rows: int = Field(1000, ge=0)
    """Most held-out rows whose loss is measured, chosen by a stable hash."""
    samples: int = Field(24, ge=0, le=200)
    """Held-out prompts that the models answer, for people and a judge to read."""
    max_new_tokens: int = Field(128, ge=1)
    """Longest generated answer in tokens, where a benchmark has no limit of its own."""
    batch_size: int = Field(32, ge=1)
    """Most rows of one forward pass. Does not change the result."""
    dtype: Dtype = "auto"
    """Precision; auto is bfloat16 on GPUs that have it, else float32."""

    def measurement(self) -> MeasurementConfig:
        """The part that decides what one model scores."""
        told = self.model_dump(include=set(MeasurementConfig.model_fields))
        if self.judge is not None and HELDOUT_ANSWERS in self.judge.benchmarks:
            told["samples"] = max(self.samples, self.judge.prompts)
        return MeasurementConfig(**told)

    def gate(self) -> Gate:
        """The part that decides the verdict."""
        return Gate(
            gated=tuple(benchmark.name for benchmark in self.benchmarks if benchmark.gate),
            investigate=self.forgetting.investigate,
            fail=self.forgetting.fail,
            behaviour=self.behaviour,
            losses=self.losses,
            looks=MOST_LOOKS if self.until_decided else 1,
        )


@stage("evaluation", version=3)
def evaluate(out: Attempt, gate: Gate, base: Artifact, tuned: Artifact, production: Artifact | None = None) -> None:
    """Compare the models item by item; the gate's verdict, and what was gained and lost."""
    compared = {"base": base, "tuned": tuned} | ({"production": production} if production else {})
    _require_one_precision(out.store, compared)
    measured = {side: _measured(out.store, artifact) for side, artifact in compared.items()}
    _require_all_gated(gate, measured["tuned"])
    comparison = compare(measured["base"], measured["tuned"], gate, measured.get("production"))
    out.write("scores", pa.Table.from_pylist(comparison.scores, SCORES))
    out.write("samples", pa.Table.from_pylist(comparison.samples, SAMPLES))
    out.write("forgotten", pa.Table.from_pylist(comparison.forgotten, FORGOTTEN))
    out.write("subjects", pa.Table.from_pylist(comparison.subjects, SUBJECTS))
    verdict, reason = verdict_of(comparison.scores)
    weights = {side: _weights(out.store, artifact) for side, artifact in compared.items()}
    gates = {
        "verdict": verdict,
        "reason": reason,
        "weights": weights["tuned"],
        "base_weights": weights["base"],
        "production_weights": weights.get("production"),
        "measured": {side: artifact.address for side, artifact in compared.items()},
        "limits": gate.model_dump(mode="json"),
        "scores": [{name: score[name] for name in SCORES.names} for score in comparison.scores],
    }
    out.write_file(GATES, json.dumps(gates, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False).encode())
    out.counts = Counts(read=comparison.items, kept=comparison.items)
    out.facts |= {"verdict": verdict, "reason": reason}


_NAMES = [(name, pa.string()) for name in ("benchmark", "item_id", "subject", "question", "expected", "base", "tuned")]
SAMPLES = pa.schema([*_NAMES, ("base_right", pa.bool_()), ("tuned_right", pa.bool_()), ("why", pa.string())])
FORGOTTEN = pa.schema([*_NAMES, ("drift", pa.string())])
SUBJECTS = pa.schema(
    [
        ("benchmark", pa.string()),
        ("subject", pa.string()),
        ("items", pa.int64()),
        *((name, pa.float64()) for name in ("base", "tuned", "difference")),
        ("lost", pa.int64()),
        ("gained", pa.int64()),
    ]
)


def enlarged(store: Store, evaluated: Artifact, benchmarks: Sequence[Resource]) -> tuple[Resource, ...]:
    """The benchmarks with so many items as would decide what was left open; as they are where nothing was."""
    manifest = store.find_manifest(evaluated.address) if evaluated.address else None
    if manifest is None:  # a plan foretells what is not there yet
        return tuple(benchmarks)
    open_cases: dict[str, dict[str, Any]] = {}
    for score in json.loads(store.read_file(evaluated, GATES))["scores"]:
        if score["verdict"] == "underpowered" and (score["needed_items"] or 0) > score["items"]:
            # Against the base and against the model in production: as many as decide both.
            known = open_cases.setdefault(score["name"], score)
            open_cases[score["name"]] = max(known, score, key=lambda each: int(each["needed_items"]))
    return tuple(_enlarged(benchmark, open_cases.get(benchmark.facts["name"])) for benchmark in benchmarks)


def _enlarged(benchmark: Resource, score: dict[str, Any] | None) -> Resource:
    most = benchmark.facts["max_items"]
    # Fewer items than were to be drawn are all that there are.
    if score is None or most is None or score["items"] < most:
        return benchmark
    return benchmark.model_copy(update={"facts": benchmark.facts | {"max_items": int(_SPARE * score["needed_items"])}})


def _measured(store: Store, artifact: Artifact) -> Measured:
    return {name: list(store.rows(artifact, name)) for name in ("items", "answers", "heldout")}


def _require_one_precision(store: Store, compared: dict[str, Artifact]) -> None:
    precisions = {side: store.manifest(artifact).facts["dtype"] for side, artifact in compared.items()}
    if len(set(precisions.values())) > 1:
        told = ", ".join(f"the {side} model in {precision}" for side, precision in precisions.items())
        raise IncomparableError(f"models were measured differently: {told}; set evaluation.dtype to measure all alike")


def _require_all_gated(gate: Gate, tuned: Measured) -> None:
    missing = sorted({*gate.gated} - {item["benchmark"] for item in tuned["items"]})
    if missing:
        raise IncomparableError(
            f"the gate is to judge {', '.join(missing)}, of which nothing was measured; measure again with this recipe"
        )


def _weights(store: Store, measured: Artifact) -> str:
    """Content digest of the model that a measurement is of."""
    parents = store.manifest(measured).identity.parents
    return next(parent.content for parent in parents if parent.name == "model")
