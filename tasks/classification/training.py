"""Train: a classifier on labelled token ids, by a process of its own that goes on from its last checkpoint."""

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from pydantic import ValidationError

from tasks.artifacts.checkpoints import Mirror
from tasks.artifacts.manifest import Artifact, Counts
from tasks.artifacts.resource import Resource, require_unchanged
from tasks.artifacts.store import Attempt, Store
from tasks.caching import logger, stage
from tasks.resuming import patiently, resumed
from tasks.trainer import launch
from tasks.trainer.classifier.config import ClassifierTrainingConfig
from tasks.trainer.classifier.job import ClassifierJob
from tasks.trainer.wording import in_words

TRAINER = "tasks.trainer.classifier.train"
GRACE_SECONDS = 120.0
"""How long a trainer that is asked to stop may take to finish its step and to save it."""
SECONDS_BETWEEN_LINES = 30.0


@stage("classifier-training", version=1)
def train(
    out: Attempt,
    config: ClassifierTrainingConfig,
    tokenized: Artifact,
    mixed: Artifact,
    base_model: Resource | Artifact,
    multi_label: bool,
) -> None:
    """Fine-tune the base model on the rows; the epoch that the validation rows like best is what is kept."""
    rows = tokenized.tables["train"].rows
    made_here = isinstance(base_model, Artifact)
    settled = config.settled(made_here=made_here)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fettle-training-")))
        (settings,) = out.store.rows(tokenized, "settings")
        job = _checked(
            **dict(settled),
            base_model=stack.enter_context(model_folder(out.store, base_model)),
            train=_files(stack, out.store, tokenized, "train"),
            validation=_files(stack, out.store, tokenized, "validation"),
            labels=[row["name"] for row in out.store.rows(mixed, "labels")],
            multi_label=multi_label,
            max_length=settings["max_length"],
            made_here=made_here,
            output=folder / "output",
            checkpoints=folder / "checkpoints",
        )
        with resumed(out, folder / "checkpoints") as (mirror, resume_from):
            _run(out, job, folder, mirror, resume_from)
        _keep(out, job.output)
    out.counts = Counts(read=rows, kept=rows)


def _checked(**settings: Any) -> ClassifierJob:
    try:
        return ClassifierJob(**settings)
    except ValidationError as error:  # what only the labels of the data show
        raise ValueError(f"training: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None


@contextmanager
def model_folder(store: Store, model: Resource | Artifact) -> Iterator[Path]:
    """The folder of a model; one from outside the store must still be the same afterwards."""
    if isinstance(model, Artifact):
        with store.local_folder(model, "model") as folder:
            yield folder
        return
    yield model.folder
    require_unchanged(model)


def _files(stack: ExitStack, store: Store, artifact: Artifact, table: str) -> list[Path]:
    return sorted(stack.enter_context(store.local_folder(artifact, table)).glob("*.parquet"))


def _run(out: Attempt, job: ClassifierJob, folder: Path, mirror: Mirror, restored: Path | None) -> None:
    """Train to the end; where memory runs out, with half the texts in a forward pass."""
    while True:
        job = job.model_copy(update={"resume_from": mirror.latest or restored})
        try:
            launch.run(
                TRAINER,
                job,
                folder=folder,
                on_event=_Listener(out, mirror).hear,
                on_line=logger().info,
                timeout_seconds=job.timeout_seconds,
                silence_seconds=job.silence_seconds,
                grace_seconds=GRACE_SECONDS,
            )
        except launch.TrainerFailed as failed:
            size = job.micro_batch_size or job.batch_size
            if failed.kind != "out_of_memory" or size == 1:
                raise
            logger().warning("memory ran out with %d texts a forward pass; going on with %d", size, size // 2)
            job = job.model_copy(update={"micro_batch_size": size // 2})
        else:
            return


class _Listener:
    """Passes on what the trainer says: progress, checkpoints, and a line now and then."""

    def __init__(self, out: Attempt, mirror: Mirror) -> None:
        self.out, self.mirror = out, mirror
        self._logged_at = time.monotonic()

    def hear(self, event: dict[str, Any]) -> None:
        """Take in one event."""
        match event:
            case {"event": "progress", "step": int(step), "total": int(total)}:
                self.out.progress(step, total, "steps")
                if time.monotonic() - self._logged_at < SECONDS_BETWEEN_LINES:
                    return
            case {"event": "checkpoint", "folder": str(folder)}:
                best = event.get("best_folder")
                self.mirror.offer(Path(folder), Path(best) if best else None)
        line = in_words(event)
        if line is not None:
            self._logged_at = time.monotonic()
            logger().info(line)


def _keep(out: Attempt, output: Path) -> None:
    """Store what the trainer left."""
    result = json.loads((output / "result.json").read_text(encoding="utf-8"))
    for folder in ("model", "adapter"):
        if (output / folder).is_dir():
            patiently(partial(out.write_folder, folder, output / folder))
    out.write("metrics", pq.read_table(output / "metrics.parquet"), incidental=True)
    out.facts |= result
