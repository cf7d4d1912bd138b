"""Train: packed rows in, a model out, by a process of its own whose words reach Prefect while it runs."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq
from pydantic import Field, model_validator

from tasks.artifacts.manifest import Artifact, Counts
from tasks.artifacts.resource import Resource, require_unchanged
from tasks.artifacts.store import Attempt
from tasks.caching import logger, stage
from tasks.config import Config
from tasks.heldout import write_heldout
from tasks.methods import Full, Method
from tasks.trainer import launch
from tasks.trainer.job import Attention, Dtype, TrainingJob

TRAINER = "tasks.trainer.train"


class TrainingConfig(Config):
    """How the model learns."""

    method: Method = Full()
    """Which weights learn, and how."""
    learning_rate: float = Field(2e-5, gt=0, lt=10)
    """Highest learning rate of the schedule."""
    epochs: float = Field(2.0, gt=0, le=1000)
    """Passes over the mixture; may be a fraction."""
    batch_size: int = Field(16, ge=1)
    """Packed rows of one optimiser step."""
    micro_batch_size: int = Field(4, ge=1)
    """Packed rows of one forward pass; divides the batch size."""
    warmup_ratio: float = Field(0.03, ge=0, lt=1)
    """Share of the steps in which the learning rate rises from 0."""
    weight_decay: float = Field(0.0, ge=0, lt=1)
    """AdamW's weight decay."""
    scheduler: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate falls after the warm-up."""
    max_grad_norm: float = Field(1.0, ge=0)
    """Longest gradient; longer ones are scaled down. 0 sets no limit."""
    evaluations: int = Field(4, ge=1, le=1000)
    """How many times the held-out loss is measured while training."""
    heldout_rows: int = Field(256, ge=0)
    """Most held-out rows it is measured on, chosen by a stable hash."""
    attention: Attention = "auto"
    """Which attention computes; auto is flash_attention_2 where it is installed and fits, else sdpa. One that lets
    packed samples see each other is refused before the first step."""
    group_by_length: bool = False
    """Rows of similar length share a batch, so that little is padded; only without tokenization.packing."""
    gradient_checkpointing: bool = False
    """Compute activations twice to save memory; about a third slower."""
    dtype: Dtype = "auto"
    """Precision; auto is bfloat16 on GPUs that have it, else float32."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Orders the rows, and starts adapters."""
    timeout_seconds: float | None = Field(None, gt=0)
    """Longest time that training may take; unlimited when not set. Does not change the result."""

    @model_validator(mode="after")
    def _batches_divide(self) -> "TrainingConfig":
        if self.batch_size % self.micro_batch_size:
            raise ValueError(
                f"micro_batch_size is {self.micro_batch_size} and batch_size is {self.batch_size}; "
                "the first must divide the second"
            )
        return self

    def identity(self) -> dict[str, Any]:
        """All but the deadline."""
        return self.model_dump(mode="json", exclude={"timeout_seconds"})


@stage("training", version=2)
def train(out: Attempt, config: TrainingConfig, tokenized: Artifact, base_model: Resource) -> None:
    """Fine-tune the base model on the sequences; the best checkpoint by held-out loss is what is kept."""
    rows = tokenized.tables["sequences"].rows
    if not rows:
        raise ValueError("there are no sequences to train on; `fettle show` tells where the rows went")
    (template,) = out.store.rows(tokenized, "template")
    with (
        tempfile.TemporaryDirectory(prefix="fettle-training-") as temporary,
        out.store.local_folder(tokenized, "sequences") as sequences,
    ):
        output = Path(temporary) / "output"
        job = TrainingJob(
            base_model=base_model.folder,
            sequences=sorted(sequences.glob("*.parquet")),
            heldout=write_heldout(out.store, tokenized, config.heldout_rows, Path(temporary)),
            output=output,
            **config.model_dump(exclude={"timeout_seconds", "heldout_rows", "method"}),
            method=config.method,
            chat_template=template["text"],
            end_ids=template["end_ids"],
        )
        launch.run(
            TRAINER,
            job,
            folder=Path(temporary),
            on_event=_tell(out),
            on_line=logger().info,
            timeout_seconds=config.timeout_seconds,
        )
        require_unchanged(base_model)
        for folder in ("model", "adapter"):
            if (output / folder).is_dir():
                out.write_folder(folder, output / folder)
        out.write("metrics", pq.read_table(output / "metrics.parquet"), incidental=True)
        out.facts |= json.loads((output / "result.json").read_text())
    out.counts = Counts(read=rows, kept=rows)


def _tell(out: Attempt) -> Callable[[dict[str, Any]], None]:
    log = logger()

    def on_event(event: dict[str, Any]) -> None:
        match event:
            case {"event": "progress", "step": step, "total": total, "loss": loss}:
                out.progress(step, total, f"steps, loss {loss:.3f}" if loss is not None else "steps")
            case {"event": kind, **fields}:
                log.info("%s: %s", kind, ", ".join(f"{name} {value}" for name, value in fields.items()))

    return on_event
