"""Evaluate: the base and the tuned model on the same items, and a gate that knows its own noise.

`measure` scores one model and is cached by its weights, so a base model is measured once for all that is made of it;
`evaluate` compares two measurements item by item and gives the verdict.
"""

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, model_validator

from tasks.algorithms.chat.rendering import ChatTemplate
from tasks.algorithms.comparison import Comparison, IncomparableError, compare
from tasks.algorithms.paired import Verdict, gravest
from tasks.algorithms.tokens.encoding import load_encoder
from tasks.artifacts.fingerprint import digest
from tasks.artifacts.manifest import Artifact, Counts
from tasks.artifacts.resource import Resource, require_unchanged
from tasks.artifacts.store import Attempt, Store
from tasks.benchmarks import BenchmarkSource, load_items
from tasks.benchmarks.item import Item, drawn
from tasks.caching import logger, stage
from tasks.config import Config
from tasks.conversation import Message, answer_text
from tasks.heldout import write_heldout
from tasks.trainer import launch
from tasks.trainer.config import Dtype
from tasks.trainer.job import BenchmarkItems, ScoringJob

SCORER = "tasks.trainer.scoring"
HELDOUT_ANSWERS = "held-out answers"
"""Generations for held-out prompts: shown to people, scored by nobody."""

ITEMS = pa.schema(
    [
        ("benchmark", pa.string()),
        ("kind", pa.string()),
        ("item_id", pa.string()),
        ("cluster", pa.string()),
        ("question", pa.string()),
        ("prompt", pa.string()),
        ("choices", pa.list_(pa.string())),
        ("gold", pa.int32()),
        ("answer", pa.string()),
    ]
)
"""What was asked: `prompt` is the exact text that the model saw."""


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
    """Questions put to both models."""
    forgetting: Forgetting = Forgetting()
    """When a drop is too much."""
    heldout_rows: int = Field(1000, ge=0)
    """Most held-out rows whose loss is measured, chosen by a stable hash."""
    samples: int = Field(24, ge=0, le=200)
    """Held-out prompts that both models answer, for people to read."""
    max_new_tokens: int = Field(128, ge=1)
    """Longest generated answer, in tokens."""
    batch_size: int = Field(32, ge=1)
    """Most rows of one forward pass. Does not change the result."""
    dtype: Dtype = "auto"
    """Precision; auto is bfloat16 on GPUs that have it, else float32."""

    def measurement(self) -> "MeasurementConfig":
        """The part that decides what one model scores."""
        fields = {"heldout_rows", "samples", "max_new_tokens", "batch_size", "dtype"}
        return MeasurementConfig(**self.model_dump(include=fields))

    def gate(self) -> "GateConfig":
        """The part that decides the verdict."""
        gated = tuple(benchmark.name for benchmark in self.benchmarks if benchmark.gate)
        return GateConfig(forgetting=self.forgetting, gated=gated)


class MeasurementConfig(Config):
    """How one model is measured."""

    heldout_rows: int
    samples: int
    max_new_tokens: int
    batch_size: int
    dtype: Dtype

    def identity(self) -> dict[str, Any]:
        """All but the batch size."""
        return self.model_dump(mode="json", exclude={"batch_size"})


class GateConfig(Config):
    """What the gate allows, and which benchmarks it looks at."""

    forgetting: Forgetting
    gated: tuple[str, ...]


@stage("measurement", version=2)
def measure(
    out: Attempt,
    config: MeasurementConfig,
    model: Artifact | Resource,
    tokenized: Artifact,
    mixed: Artifact,
    benchmarks: Sequence[Resource],
    tokenizer: Resource,
) -> None:
    """Score one model on held-out rows and benchmarks, in a process of its own."""
    encoder = load_encoder(tokenizer)
    (trained_on,) = out.store.rows(tokenized, "template")
    template = ChatTemplate(trained_on["text"], bos=encoder.bos, eos=encoder.eos, date=trained_on["date"])
    items = [*_items(benchmarks, template), *_heldout_prompts(out.store, config, tokenized, mixed, template)]
    with tempfile.TemporaryDirectory(prefix="fettle-scoring-") as temporary, _folder(out.store, model) as folder:
        work = Path(temporary)
        job = ScoringJob(
            model=folder,
            heldout=write_heldout(out.store, tokenized, config.heldout_rows, work),
            benchmarks=_write_items(items, work),
            output=work / "output",
            max_new_tokens=config.max_new_tokens,
            end_ids=trained_on["end_ids"],
            batch_size=config.batch_size,
            dtype=config.dtype,
        )
        launch.run(SCORER, job, folder=work, on_event=_tell(out), on_line=logger().info)
        for table in ("choices", "generations", "heldout"):
            out.write(table, pq.read_table(job.output / f"{table}.parquet"))
        out.facts |= json.loads((job.output / "result.json").read_text())
    out.write("items", pa.Table.from_pylist(items, ITEMS))
    out.counts = Counts(read=len(items), kept=len(items))


@stage("evaluation", version=1)
def evaluate(out: Attempt, config: GateConfig, base: Artifact, tuned: Artifact) -> None:
    """Compare two models item by item; the gate's verdict, and what was gained and lost."""
    _require_one_precision(out.store, base, tuned)
    limits = config.forgetting
    comparison = compare(
        _measured(out.store, base),
        _measured(out.store, tuned),
        config.gated,
        HELDOUT_ANSWERS,
        investigate=limits.investigate,
        fail=limits.fail,
    )
    out.write("scores", pa.Table.from_pylist(comparison.scores, SCORES))
    out.write("samples", pa.Table.from_pylist(comparison.samples, SAMPLES))
    out.write("forgotten", pa.Table.from_pylist(comparison.forgotten, FORGOTTEN))
    verdict, reason = _verdict(comparison)
    gates = {"verdict": verdict, "reason": reason, "weights": _weights(out.store, tuned), "scores": comparison.scores}
    out.write_file(
        "gates.json", json.dumps(gates, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()
    )
    items = comparison.items
    out.counts = Counts(read=items, kept=items)
    out.facts |= {"verdict": verdict, "reason": reason}


_NAMES = [(name, pa.string()) for name in ("benchmark", "item_id", "subject", "question", "expected", "base", "tuned")]
SCORES = pa.schema(
    [
        ("name", pa.string()),
        ("kind", pa.string()),
        ("better", pa.string()),
        ("unit", pa.string()),
        ("items", pa.int64()),
        ("base", pa.float64()),
        ("tuned", pa.float64()),
        ("difference", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("smallest_visible", pa.float64()),
        ("verdict", pa.string()),
    ]
)
"""A measure a row: `difference` is tuned − base, with its interval; a verdict where the gate looks at it."""
SAMPLES = pa.schema([*_NAMES, ("base_right", pa.bool_()), ("tuned_right", pa.bool_())])
FORGOTTEN = pa.schema(_NAMES)


def _items(benchmarks: Sequence[Resource], template: ChatTemplate) -> Iterator[dict[str, Any]]:
    for benchmark in benchmarks:
        reading = benchmark.facts
        for item in drawn(load_items(benchmark), reading["max_items"]):
            chat = not item.choices or reading["prompt"] == "chat"
            yield {
                "benchmark": reading["name"],
                "kind": "multiple_choice" if item.choices else "generation",
                **item.model_dump(),
                "prompt": _chat_prompt(template, item.question) if chat else f"Question: {item.question}\nAnswer:",
                "choices": [choice if chat else f" {choice}" for choice in item.choices],
            }


def _chat_prompt(template: ChatTemplate, question: str) -> str:
    return template.render([{"role": "user", "content": question}], generation_prompt=True)


def _heldout_prompts(
    store: Store, config: MeasurementConfig, tokenized: Artifact, mixed: Artifact, template: ChatTemplate
) -> Iterator[dict[str, Any]]:
    # Of those that are measured: the template may have refused others.
    ids = sorted((row["row_ids"][0] for row in store.rows(tokenized, "heldout", ["row_ids"])), key=digest)
    wanted = {each: place for place, each in enumerate(ids[: config.samples])}
    rows = (row for row in store.rows(mixed, "heldout") if row["id"] in wanted)
    for row in sorted(rows, key=lambda row: wanted[row["id"]]):
        first_answer = next(i for i, message in enumerate(row["messages"]) if message["role"] == "assistant")
        asked: list[Message] = row["messages"][:first_answer]
        item = Item(item_id=row["id"], cluster=row["source"], question=asked[-1]["content"])
        yield {
            "benchmark": HELDOUT_ANSWERS,
            "kind": "generation",
            **item.model_dump(),
            "prompt": template.render(asked, row["tools"], generation_prompt=True),
            "choices": [],
            "answer": answer_text(row["messages"][: first_answer + 1]),
        }


def _write_items(items: Sequence[dict[str, Any]], work: Path) -> list[BenchmarkItems]:
    written = []
    for number, name in enumerate(dict.fromkeys(item["benchmark"] for item in items)):
        chosen = [item for item in items if item["benchmark"] == name]
        path = work / f"items-{number}.parquet"
        pq.write_table(pa.Table.from_pylist(chosen, ITEMS), path)
        written.append(BenchmarkItems(name=name, kind=chosen[0]["kind"], items=path))
    return written


@contextmanager
def _folder(store: Store, model: Artifact | Resource) -> Iterator[Path]:
    if isinstance(model, Resource):
        yield model.folder
        require_unchanged(model)
        return
    with store.local_folder(model, "model") as folder:
        yield folder


def _tell(out: Attempt) -> Any:
    def on_event(event: dict[str, Any]) -> None:
        if event["event"] == "progress":
            out.progress(event["step"], event["total"], str(event["part"]))

    return on_event


def _measured(store: Store, artifact: Artifact) -> dict[str, list[dict[str, Any]]]:
    return {name: list(store.rows(artifact, name)) for name in ("items", "choices", "generations", "heldout")}


def _require_one_precision(store: Store, base: Artifact, tuned: Artifact) -> None:
    precisions = [store.manifest(each).facts["dtype"] for each in (base, tuned)]
    if precisions[0] != precisions[1]:
        raise IncomparableError(
            f"the base model was measured in {precisions[0]} and the tuned one in {precisions[1]}; "
            "set evaluation.dtype, so that both are measured alike"
        )


def _weights(store: Store, tuned: Artifact) -> str:
    """Content digest of the model that a measurement is of."""
    parents = store.manifest(tuned).identity.parents
    return next(parent.content for parent in parents if parent.name == "model")


def _verdict(comparison: Comparison) -> tuple[Verdict, str]:
    gated = [score for score in comparison.scores if score["verdict"]]
    verdict = gravest([score["verdict"] for score in gated])
    if not gated:
        return verdict, "Nothing was measured that the gate could judge; add a benchmark or a held-out split."
    grave = [score for score in gated if score["verdict"] == verdict]
    if verdict == "pass":
        return verdict, f"No sure loss on {', '.join(score['name'] for score in gated)}."
    changes = "; ".join(
        f"{each['name']} {each['difference']:+.1f} points ({each['low']:+.1f} to {each['high']:+.1f})"
        if each["unit"] == "%"
        else f"{each['name']} {each['difference']:+.3f} {each['unit']}"
        for each in grave
    )
    meaning = {
        "investigate": "A sure drop that wants a look",
        "underpowered": "Too few items to rule out a grave drop",
        "fail": "A sure drop beyond what the recipe allows",
    }[verdict]
    return verdict, f"{meaning}: {changes}."
