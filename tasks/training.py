"""Train: packed rows in, a model out, by a process of its own whose words reach Prefect while it runs.

Whatever ends that process, the next one goes on from the last checkpoint in the store: after a halved micro-batch at
once, after a kill or a hang through the task's retry, and on another machine when the same recipe is run there.
"""

import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tasks.artifacts.checkpoints import Checkpoints, Mirror
from tasks.artifacts.manifest import Artifact, Counts
from tasks.artifacts.resource import Resource, require_unchanged
from tasks.artifacts.store import Attempt, Store
from tasks.caching import logger, stage
from tasks.heldout import write_heldout
from tasks.resuming import patiently, resumed
from tasks.trainer import launch
from tasks.trainer.config import TrainingConfig
from tasks.trainer.job import TrainingJob
from tasks.trainer.wording import diagnosis_in_words, in_words, progress_in_words

TRAINER = "tasks.trainer.train"

GRACE_SECONDS = 120.0
"""How long a trainer that is asked to stop may take to finish its step and to save it."""

SECONDS_BETWEEN_LINES = 30.0


@stage("training", version=2)
def train(
    out: Attempt, config: TrainingConfig, tokenized: Artifact, base_model: Resource, adapter: Resource | None = None
) -> None:
    """Fine-tune the base model on the sequences; the best checkpoint by held-out loss is what is kept."""
    rows = tokenized.tables["sequences"].rows
    if not rows:
        raise ValueError("there are no sequences to train on; `fettle show` tells where the rows went")
    with _job(out.store, config, tokenized, base_model, adapter) as (job, folder):
        _run(out, job, folder)
        for resource in (base_model, *([] if adapter is None else [adapter])):
            require_unchanged(resource)
        _keep(out, job.output)
    out.counts = Counts(read=rows, kept=rows)


def take_part(
    store: Store,
    address: str,
    node: int,
    config: TrainingConfig,
    tokenized: Artifact,
    base_model: Resource,
    adapter: Resource | None,
    tell: Callable[[str], None],
) -> None:
    """Lend this machine, as number `node` from 1 up, to the training that becomes the artifact at an address.

    It begins where the first machine does, at the newest checkpoint, and writes nothing to the store. Raises
    `TrainerFailed`, which is transient where the training may yet go on.
    """
    with _job(store, config, tokenized, base_model, adapter) as (job, folder):
        resume_from = Checkpoints(store, address).restore(folder / "checkpoints", tell)
        meeting = _meeting(job, address, node)
        if meeting is None:
            raise ValueError("training.nodes is 1, so there is nothing to join; set it to the number of machines")
        begun = resume_from.name if resume_from else "from the beginning"
        tell(f"machine {node} (the first is 0) of {meeting.words()}, {begun}")
        launch.run(
            TRAINER,
            job.model_copy(update={"resume_from": resume_from}),
            folder=folder,
            on_event=lambda _: None,
            on_line=tell,
            processes=job.processes,
            meeting=meeting,
            trackers=job.watching.trackers,
            grace_seconds=GRACE_SECONDS,
        )


def _meeting(job: TrainingJob, address: str, node: int = 0) -> launch.Meeting | None:
    if job.nodes == 1 or job.rendezvous is None:
        return None
    return launch.Meeting(job.nodes, job.rendezvous, address.replace("/", "-"), node)


@contextmanager
def _job(
    store: Store, config: TrainingConfig, tokenized: Artifact, base_model: Resource, adapter: Resource | None
) -> Iterator[tuple[TrainingJob, Path]]:
    """What the trainer is told, with all its files on this machine, and the folder for what it writes."""
    (template,) = store.rows(tokenized, "template")
    with (
        tempfile.TemporaryDirectory(prefix="fettle-training-") as temporary,
        store.local_folder(tokenized, "sequences") as sequences,
    ):
        folder = Path(temporary)
        job = TrainingJob(
            **dict(config),
            base_model=base_model.folder,
            adapter=None if adapter is None else adapter.folder,
            sequences=sorted(sequences.glob("*.parquet")),
            heldout=write_heldout(store, tokenized, config.heldout_rows, folder),
            output=folder / "output",
            checkpoints=folder / "checkpoints",
            chat_template=template["text"],
            end_ids=template["end_ids"],
        )
        yield job, folder


def _run(out: Attempt, job: TrainingJob, folder: Path) -> None:
    """Train to the end, from the last checkpoint where the store has one."""
    with resumed(out, folder / "checkpoints") as (mirror, resume_from):
        _Course(out, job, folder, mirror, resume_from).run()


@dataclass
class _Course:
    """One training on this machine, by as many processes one after the other as its memory makes necessary."""

    out: Attempt
    job: TrainingJob
    folder: Path
    mirror: Mirror
    restored: Path | None
    """The checkpoint from the store that it goes on from."""
    micro_batch_size: int | None = None
    """As the trainer last told."""
    log: Any = field(default_factory=logger)
    _logged_at: float = field(default_factory=time.monotonic)
    _at: tuple[int, int] = (0, 0)

    def run(self) -> None:
        while True:
            # In every round, as the newest checkpoint of a process that failed is newer than the store's.
            resume_from = self.mirror.latest or self.restored
            self.job = self.job.model_copy(update={"resume_from": resume_from})
            try:
                self._launch()
            except launch.TrainerFailed as failed:
                if failed.kind == "crashed" and resume_from is not None:
                    raise self._crashed(failed, resume_from) from failed
                if failed.kind != "out_of_memory":
                    raise
                self.job = self._smaller(failed)
            else:
                return

    def _launch(self) -> None:
        watching = self.job.watching
        launch.run(
            TRAINER,
            self.job,
            folder=self.folder,
            on_event=self._hear,
            on_line=self.log.info,
            processes=self.job.processes,
            meeting=_meeting(self.job, self.out.identity.address),
            trackers=watching.trackers,
            timeout_seconds=self.job.timeout_seconds,
            silence_seconds=watching.silence_seconds,
            grace_seconds=GRACE_SECONDS,
        )

    def _smaller(self, failed: launch.TrainerFailed) -> TrainingJob:
        """The job with half the rows in a forward pass and as many in a step; raises where there is one already."""
        share = self.job.batch_size // self.job.devices
        size = min(self.micro_batch_size or share, self.job.micro_batch_size or share)
        if self.micro_batch_size is None and self.job.micro_batch_size is None:
            raise failed  # before any size was chosen: the model itself does not fit
        if size == 1 and self.job.gradient_checkpointing == "auto":
            self.log.warning("memory ran out with one row a forward pass; going on with activations computed twice")
            return self.job.model_copy(update={"gradient_checkpointing": True})
        if size == 1:
            raise launch.TrainerFailed(
                "out_of_memory",
                f"{failed.message} There is one row a forward pass already. Set training.gradient_checkpointing to "
                "true, lower tokenization.max_length, choose a method that trains fewer weights, or a larger device.",
                exit_code=failed.exit_code,
                last_lines=failed.last_lines,
            ) from failed
        half = max(each for each in range(1, size // 2 + 1) if share % each == 0)
        self.log.warning(
            "memory ran out with %d rows a forward pass (%s); going on with %d, and %d rows a step as before",
            size,
            failed.message,
            half,
            self.job.batch_size,
        )
        self.micro_batch_size = half
        return self.job.model_copy(update={"micro_batch_size": half})

    def _crashed(self, failed: launch.TrainerFailed, resume_from: Path) -> launch.TrainerFailed:
        return launch.TrainerFailed(
            failed.kind,
            f"{failed.message} (It went on from {resume_from.name}; `fettle gc --remove {self.out.identity.address}` "
            "removes the training's checkpoints, to begin anew.)",
            exit_code=failed.exit_code,
            last_lines=failed.last_lines,
        )

    def _hear(self, event: dict[str, Any]) -> None:
        match event:
            case {"event": "progress", "step": step, "total": total}:
                self._at = (step, total)
                self.out.progress(step, total, f"steps, {progress_in_words(event)}")
                if time.monotonic() - self._logged_at < SECONDS_BETWEEN_LINES:
                    return
            case {"event": "checkpoint", "folder": str(folder)}:
                best = event.get("best_folder")
                self.mirror.offer(Path(folder), Path(best) if best else None)
            case {"event": "preflight" | "started", "micro_batch_size": int(size)}:
                self.micro_batch_size = size
            case {"event": "stopping"}:
                self.out.progress(*self._at, "steps, saving a checkpoint; interrupt again to end at once")
        self._log(event)

    def _log(self, event: dict[str, Any]) -> None:
        line = in_words(event)
        if line is not None:
            self._logged_at = time.monotonic()
            self.log.log(logging.WARNING if event["event"] == "diagnosis" else logging.INFO, line)
        for warning in event.get("warnings", ()):
            self.log.warning(warning)


def _keep(out: Attempt, output: Path) -> None:
    """Store what the trainer left: a training that is done is not lost to a store that fails for a moment."""
    result = json.loads((output / "result.json").read_text(encoding="utf-8"))
    for folder, incidental in (("model", False), ("adapter", False), ("tensorboard", True)):
        if (output / folder).is_dir():
            patiently(partial(out.write_folder, folder, output / folder, incidental=incidental))
    out.write("metrics", pq.read_table(output / "metrics.parquet"), incidental=True)
    for diagnosis in result.get("diagnoses", ()):
        out.warn(diagnosis_in_words(diagnosis))
    out.facts |= result
