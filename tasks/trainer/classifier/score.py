"""`python -m tasks.trainer.classifier.score job.json`: have one model read texts. Writes into the job's output folder:

`scores.parquet` (`id`, `values`: the logits in the order of the model's labels, or the features) and `result.json`.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.trainer import child
from tasks.trainer.classifier.job import ClassifierScoringJob
from tasks.trainer.events import emit

VERSION = 1
"""Raised whenever the same model would read the same text otherwise."""
_TELL_SECONDS = 1.0
_GROUP = 65_536
"""Rows of one group of the table, so that readers need not hold all."""


def score(job: ClassifierScoringJob) -> None:
    """Read as told and write the table. torch is imported only here, after the process is tied to its parent."""
    from tasks.trainer.classifier.reading import encoded, read_columns
    from tasks.trainer.models import load_tokenizer, prepare_machine

    started = time.perf_counter()
    job.output.mkdir(parents=True, exist_ok=True)
    columns = read_columns(job.texts, ("id", "text", "text_pair"))
    reader = Reader.load(job, prepare_machine(job.dtype, 0))
    emit("started", **reader.facts)
    rows = list(encoded(load_tokenizer(job.model), columns["text"], columns["text_pair"], reader.max_length))
    _write(columns["id"], reader.read(rows), job.output / "scores.parquet")
    result = reader.facts | {
        "labels": reader.labels,
        "rows": len(rows),
        "tokens": sum(len(row.input_ids) for row in rows),
        "truncated": sum(row.is_cut for row in rows),
        "max_length": reader.max_length,
        "seconds": round(time.perf_counter() - started, 3),
    }
    (job.output / "result.json").write_text(json.dumps(result, indent=2, ensure_ascii=False), encoding="utf-8")


@dataclass
class Reader:
    """One model that reads batches of texts."""

    job: ClassifierScoringJob
    machine: Any
    model: Any
    padding: int
    with_types: bool
    max_length: int
    """The job's, or the model's where that is shorter."""

    @classmethod
    def load(cls, job: ClassifierScoringJob, machine: Any) -> "Reader":
        """The model of a folder, with what reading needs to know of it."""
        from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

        from tasks.trainer.classifier.models import longest_text, require_safetensors, set_padding, takes_types
        from tasks.trainer.models import load_tokenizer, padding_id

        require_safetensors(job.model)
        if job.what == "features" and AutoConfig.from_pretrained(job.model, local_files_only=True).is_encoder_decoder:
            raise ValueError("an encoder-decoder gives no features of a text alone; set evaluation.probe to false")
        kind: Any = AutoModelForSequenceClassification if job.what == "logits" else AutoModel
        model, info = kind.from_pretrained(
            job.model,
            dtype=machine.compute_dtype,
            output_loading_info=True,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
        )
        if job.what == "logits" and info["missing_keys"]:
            raise ValueError(
                f"{job.model} is no trained classifier: it has no weights for {sorted(info['missing_keys'])[0]}"
            )
        padding = set_padding(model, padding_id(load_tokenizer(job.model)))
        limit = longest_text(model)
        most = job.max_length if limit is None else min(job.max_length, limit)
        return cls(job, machine, model.to(machine.device).eval(), padding, takes_types(model), most)

    @property
    def labels(self) -> list[str]:
        """The names of the outputs, in their order; none where features are read."""
        if self.job.what != "logits":
            return []
        names = self.model.config.id2label
        return [str(names[place]) for place in range(len(names))]

    @property
    def facts(self) -> dict[str, Any]:
        """What computes."""
        return {
            "device": self.machine.device.type,
            "dtype": self.machine.dtype_name,
            "parameters": int(self.model.num_parameters()),
        }

    def read(self, rows: list[Any]) -> npt.NDArray[np.float32]:
        """What the model says of each row, in the order of the rows."""
        lengths = np.array([len(row.input_ids) for row in rows])
        order = np.argsort(-lengths, kind="stable")  # the longest first: memory runs out at once or never
        found, told_at, done = None, 0.0, 0
        for begin in range(0, len(order), self.job.batch_size):
            numbers = order[begin : begin + self.job.batch_size]
            values = self._batch([rows[number] for number in numbers])
            if found is None:
                found = np.zeros((len(rows), values.shape[1]), dtype=np.float32)
            found[numbers] = values
            done += len(numbers)
            if done == len(rows) or time.monotonic() - told_at >= _TELL_SECONDS:
                told_at = time.monotonic()
                emit("progress", part="texts", step=done, total=len(rows))
        return np.zeros((0, 0), dtype=np.float32) if found is None else found

    def _batch(self, rows: list[Any]) -> npt.NDArray[np.float32]:
        import torch

        from tasks.trainer.classifier.batches import padded
        from tasks.trainer.classifier.models import without_cache

        inputs = {
            # Some tokenizers make nothing of an empty text; one token of padding stands for it.
            "input_ids": padded([row.input_ids or [self.padding] for row in rows], self.padding),
            "attention_mask": padded([[1] * max(1, len(row.input_ids)) for row in rows], 0),
        }
        if self.with_types:
            inputs["token_type_ids"] = padded([row.token_type_ids or [0] for row in rows], 0)
        inputs = {name: each.to(self.machine.device) for name, each in inputs.items()}
        with torch.no_grad():
            outputs = self.model(**inputs, **without_cache(self.model))
            if self.job.what == "logits":
                values = outputs.logits.float()
            else:
                shown = inputs["attention_mask"].unsqueeze(-1).float()
                values = (outputs.last_hidden_state.float() * shown).sum(1) / shown.sum(1).clamp(min=1)
        found: npt.NDArray[np.float32] = values.cpu().numpy()
        if not np.isfinite(found).all():
            raise ValueError(f"the outputs of {self.job.model} are no finite numbers; its weights are broken")
        return found


def _write(ids: list[str], values: npt.NDArray[np.float32], path: Path) -> None:
    """One row a text, in the order of the input."""
    schema = pa.schema([("id", pa.string()), ("values", pa.list_(pa.float32()))])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for begin in range(0, len(ids), _GROUP):
            some = values[begin : begin + _GROUP]
            offsets = pa.array(np.arange(len(some) + 1, dtype=np.int32) * some.shape[1])
            lists = pa.ListArray.from_arrays(offsets, pa.array(some.reshape(-1), pa.float32()))
            writer.write_table(pa.table([pa.array(ids[begin : begin + _GROUP], pa.string()), lists], schema=schema))


if __name__ == "__main__":
    child.main(ClassifierScoringJob, score)
