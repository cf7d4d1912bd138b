"""`python -m tasks.trainer.scoring job.json`: score one model. Writes into the job's output folder:

`choices.parquet`, `generations.parquet`, `heldout.parquet` (each with its schema even when empty), `result.json`.
Log-likelihoods are sums in nats.
"""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.trainer import child
from tasks.trainer.events import emit
from tasks.trainer.job import BenchmarkItems, ScoringJob

_ITEM = [("benchmark", pa.string()), ("item_id", pa.string()), ("cluster", pa.string())]
CHOICES_SCHEMA = pa.schema(
    [
        *_ITEM,
        ("gold", pa.int64()),
        ("prediction", pa.int64()),
        ("prediction_norm", pa.int64()),
        ("loglikelihoods", pa.list_(pa.float64())),
        ("prompt_sha256", pa.string()),
    ]
)
GENERATIONS_SCHEMA = pa.schema(
    [
        *_ITEM,
        ("answer", pa.string()),
        ("text", pa.string()),
        ("ended", pa.bool_()),
        ("tokens", pa.int64()),
        ("prompt_sha256", pa.string()),
    ]
)
HELDOUT_SCHEMA = pa.schema(
    [("row_id", pa.string()), ("source", pa.string()), ("loss_sum", pa.float64()), ("tokens", pa.int64())]
)
ITEM_COLUMNS = {
    "multiple_choice": ["item_id", "cluster", "prompt", "choices", "gold"],
    "generation": ["item_id", "cluster", "prompt", "answer"],
}
HELDOUT_COLUMNS = ["input_ids", "labels", "position_ids", "row_ids"]

Row = dict[str, Any]


@dataclass
class Scorer:
    """One model with its tokenizer, and how many texts were cut to fit it."""

    model: Any
    tokenizer: Any
    job: ScoringJob
    truncated: int = field(default=0, init=False)

    def choices(self, benchmark: BenchmarkItems) -> list[Row]:
        """Every choice scored by the sum of its log-probabilities after the prompt (`prediction`: the highest sum;
        `prediction_norm`: the highest sum per UTF-8 byte of the choice)."""
        from tasks.trainer.likelihood import Targets, log_probabilities
        from tasks.trainer.models import longest_input
        from tasks.trainer.prompts import encode_continuation

        items = _read(benchmark.items, ITEM_COLUMNS["multiple_choice"])
        for item in items:
            _refuse_bad_gold(item, benchmark.name)
        limit = longest_input(self.model)
        pairs = [
            encode_continuation(self.tokenizer, item["prompt"], choice, limit)
            for item in items
            for choice in item["choices"]
        ]
        self.truncated += sum(pair.truncated for pair in pairs)
        texts = [Targets(pair.ids, list(range(pair.start, len(pair.ids)))) for pair in pairs]
        progress = _progress(benchmark.name, len(texts))
        scores = log_probabilities(self.model, texts, self.job.batch_size, progress)
        sums = iter([float(values.sum()) for values in scores])
        return [_choice_row(benchmark.name, item, [next(sums) for _ in item["choices"]]) for item in items]

    def generations(self, benchmark: BenchmarkItems) -> list[Row]:
        """A greedy answer to every prompt."""
        from tasks.trainer.generation import answers

        items = _read(benchmark.items, ITEM_COLUMNS["generation"])
        made = answers(
            self.model,
            self.tokenizer,
            [item["prompt"] for item in items],
            max_new_tokens=self.job.max_new_tokens,
            batch_size=self.job.batch_size,
            end_ids=self.job.end_ids,
            on_batch=_progress(benchmark.name, len(items)),
        )
        return [
            _identity(benchmark.name, item)
            | {"answer": item["answer"], "text": answer.text, "ended": answer.ended, "tokens": answer.tokens}
            for item, answer in zip(items, made, strict=True)
        ]

    def heldout(self) -> list[Row]:
        """The summed loss over the trained tokens of every held-out conversation."""
        from tasks.trainer.likelihood import Targets, log_probabilities

        rows = [row for path in self.job.heldout for row in _read(path, HELDOUT_COLUMNS, ["source"])]
        texts = [Targets(row["input_ids"], _trained(row)) for row in rows]
        scores = log_probabilities(self.model, texts, self.job.batch_size, _progress("heldout", len(texts)))
        return [
            {
                "row_id": row["row_ids"][0],
                "source": row.get("source") or "",
                "loss_sum": -float(values.sum()),
                "tokens": len(values),
            }
            for row, values in zip(rows, scores, strict=True)
        ]


def score(job: ScoringJob) -> None:
    """Score as told and write the tables. torch is imported only here, after the process is tied to its parent."""
    from tasks.trainer.models import load_model, load_tokenizer, prepare_machine

    started = time.perf_counter()
    machine = prepare_machine(job.dtype, job.seed)
    model = load_model(job.model, machine.compute_dtype).to(machine.device).eval()
    parameters = sum(weight.numel() for weight in model.parameters())
    emit("started", device=machine.device.type, parameters=parameters)
    scorer = Scorer(model, load_tokenizer(job.model), job)
    chosen = [row for item in job.benchmarks if item.kind == "multiple_choice" for row in scorer.choices(item)]
    written = [row for item in job.benchmarks if item.kind == "generation" for row in scorer.generations(item)]
    heldout = scorer.heldout()
    job.output.mkdir(parents=True, exist_ok=True)
    _write(job.output / "choices.parquet", chosen, CHOICES_SCHEMA)
    _write(job.output / "generations.parquet", written, GENERATIONS_SCHEMA)
    _write(job.output / "heldout.parquet", heldout, HELDOUT_SCHEMA)
    result = {
        "seconds": round(time.perf_counter() - started, 3),
        "device": machine.device.type,
        "dtype": machine.dtype_name,
        "parameters": parameters,
        "counts": {"choices": len(chosen), "generations": len(written), "heldout": len(heldout)},
        "truncated_contexts": scorer.truncated,
    }
    (job.output / "result.json").write_text(json.dumps(result, indent=2), encoding="utf-8")


def _choice_row(benchmark: str, item: Row, sums: list[float]) -> Row:
    per_byte = [total / len(choice.encode()) for total, choice in zip(sums, item["choices"], strict=True)]
    return _identity(benchmark, item) | {
        "gold": item["gold"],
        "prediction": max(range(len(sums)), key=sums.__getitem__),
        "prediction_norm": max(range(len(sums)), key=per_byte.__getitem__),
        "loglikelihoods": sums,
    }


def _identity(benchmark: str, item: Row) -> Row:
    digest = hashlib.sha256(item["prompt"].encode()).hexdigest()
    return {"benchmark": benchmark, "item_id": item["item_id"], "cluster": item["cluster"], "prompt_sha256": digest}


def _refuse_bad_gold(item: Row, benchmark: str) -> None:
    if not 0 <= item["gold"] < len(item["choices"]):
        raise ValueError(
            f"{benchmark} item {item['item_id']} has gold {item['gold']} and {len(item['choices'])} choices. "
            "gold is the index of the right choice."
        )


def _trained(row: Row) -> list[int]:
    """Indices of the trained tokens of a row that holds one conversation."""
    if row["position_ids"] != list(range(len(row["input_ids"]))):
        raise ValueError(f"held-out row {row['row_ids']} is packed; held-out tables hold one conversation a row.")
    return [index for index, label in enumerate(row["labels"]) if index and label != -100]


def _progress(part: str, total: int) -> Callable[[int], None]:
    return lambda done: emit("progress", part=part, step=done, total=total)


def _read(path: Path, columns: list[str], optional: list[str] | None = None) -> list[Row]:
    names = pq.read_schema(path).names
    if missing := sorted(set(columns) - set(names)):
        raise ValueError(f"{path} has no column {missing}; it needs {columns}.")
    present = [name for name in optional or [] if name in names]
    rows: list[Row] = pq.read_table(path, columns=[*columns, *present]).to_pylist()
    return rows


def _write(path: Path, rows: list[Row], schema: pa.Schema) -> None:
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, compression="zstd")


if __name__ == "__main__":
    child.main(ScoringJob, score)
