"""Pretrain: where the recipe names no base model, a small encoder is made from the training texts alone."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tasks.artifacts.manifest import Artifact, Counts
from tasks.artifacts.store import Attempt
from tasks.caching import logger, stage
from tasks.trainer import launch
from tasks.trainer.classifier.encoder import EncoderConfig
from tasks.trainer.classifier.job import EncoderJob

MAKER = "tasks.trainer.classifier.pretrain"


@stage("encoder", version=1)
def pretrain(out: Attempt, config: EncoderConfig, mixed: Artifact) -> None:
    """Train a tokenizer and a small encoder on the texts to learn from; no validation or test text is seen."""
    rows = mixed.tables["train"].rows
    with (
        tempfile.TemporaryDirectory(prefix="fettle-encoder-") as temporary,
        out.store.local_folder(mixed, "train") as texts,
    ):
        folder = Path(temporary)
        job = EncoderJob(**dict(config), texts=sorted(texts.glob("*.parquet")), output=folder / "output")
        launch.run(MAKER, job, folder=folder, on_event=_told(out), on_line=logger().info)
        result = json.loads((job.output / "result.json").read_text(encoding="utf-8"))
        out.write_folder("model", job.output / "model")
        out.write("metrics", pq.read_table(job.output / "metrics.parquet"), incidental=True)
    out.facts |= result
    out.counts = Counts(read=rows, kept=rows)


def _told(out: Attempt) -> Any:
    def hear(event: dict[str, Any]) -> None:
        match event:
            case {"event": "progress", "step": int(step), "total": int(total)}:
                out.progress(step, total, "steps")

    return hear
