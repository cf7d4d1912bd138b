"""One training run, from a job to a model in a folder: what is loaded, proven, tried, trained, kept and told."""

import math
import random
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from datasets import Dataset

from tasks.algorithms.training.rates import Learning
from tasks.algorithms.training.watch import Facts
from tasks.methods import Regulariser
from tasks.trainer import resuming
from tasks.trainer.attention import candidates
from tasks.trainer.batches import Batch, Extent, PackedCollator, measure, names_of
from tasks.trainer.child import Interrupted, OverBudget, is_asked_to_stop
from tasks.trainer.devices import accelerate, agreed, is_sharded, optimiser, shard, weights_here
from tasks.trainer.events import emit
from tasks.trainer.head import patch, trained_loss
from tasks.trainer.isolation import LeakError, prove_isolation
from tasks.trainer.job import TrainingJob
from tasks.trainer.journal import Journal
from tasks.trainer.keeping import Keeper
from tasks.trainer.loop import Loop
from tasks.trainer.models import (
    FLAT,
    Machine,
    Tokenizer,
    attention_of,
    load_model,
    load_tokenizer,
    longest_input,
    padding_id,
    save_model,
    stop_at,
)
from tasks.trainer.order import Order, Steps
from tasks.trainer.preflight import Budget, Settings, Smoke, Trial, prompts_of, recompute_activations, smoke_step
from tasks.trainer.tracking import Tracking

LINES_ELSEWHERE = 20
"""How many lines tell of the steps on another machine than the first, which alone sends events."""


@dataclass
class Run:
    """A run that is ready to begin."""

    job: TrainingJob
    machine: Machine
    tokenizer: Tokenizer
    loop: Loop
    keeper: Keeper
    smoke: Smoke
    tracking: Tracking
    facts: dict[str, Any]

    def begin(self) -> int:
        """Tell what is about to happen; gives the first step, which is not 0 where an earlier process began."""
        loop, first_step = self.loop, 0
        if self.job.resume_from is not None:
            first_step = self.keeper.resume(self.job.resume_from)
            resuming.load_random_state(self.job.resume_from, loop.accelerator.process_index)
        emit("started", steps=len(loop.steps), first_step=first_step, **self.facts)
        self.tracking.begin(loop.journal)
        return first_step

    def after_step(self, step: int) -> None:
        """Track, judge, save; raises where training must not go on."""
        self.tracking.step(self.loop.journal, step)
        self._tell_elsewhere(step)
        self.smoke.look(step)
        if self._of_all(is_asked_to_stop()):
            self.keeper.save(step)
            raise Interrupted(f"asked to stop after step {step} of {len(self.loop.steps)}; it can go on from there.")
        try:
            Budget(self.job, self.loop.journal).check(step, self.smoke.at)
        except OverBudget:
            self.keeper.save(step)
            raise
        if self._of_all(self.keeper.is_due()):
            self.keeper.save(step)

    def end(self) -> None:
        """The best weights as a model in a folder, and what was measured."""
        loop, job = self.loop, self.job
        journal, accelerator = loop.journal, loop.accelerator
        loop.diagnose()
        self.tracking.end()
        if self.keeper.best_step is None and is_sharded(job):
            self.keeper.keep_best(len(journal.losses()))  # the last step's weights, whole
        accelerator.wait_for_everyone()
        if not accelerator.is_main_process:
            return
        model = _anew(job, self.machine) if is_sharded(job) else accelerator.unwrap_model(loop.model)
        # Only here, as no other machine has the files.
        replace(self.keeper, model=model).restore_best()
        # Saved in the dtype of the computation: bfloat16 runs never saw more precision than that, and float32 runs
        # would lose what their held-out loss was measured with.
        exported = job.method.export(model, job.output, self.machine.compute_dtype)
        exported.config.use_cache = True
        stop_at(exported, self.tokenizer, job.end_ids)
        save_model(exported, job.base_model, job.output / "model", job.chat_template)
        journal.write(job.output / "metrics.parquet")

    def result(self) -> dict[str, Any]:
        """What the artifact tells of the run."""
        journal = self.loop.journal
        losses, best = journal.losses(), journal.best()
        return self.facts | {
            "dtype": self.machine.dtype_name,
            "steps": len(losses),
            "planned_steps": len(self.loop.steps),
            "tokens": journal.tokens,
            "tokens_per_second": round(journal.tokens_per_second(), 1),
            "first_loss": losses[0],
            "last_loss": losses[-1],
            "base_heldout_loss": journal.rows.get(0, {}).get("heldout_loss"),
            "best_step": best[0] if best else None,
            "best_heldout_loss": best[1] if best else None,
            "stopped_early": len(losses) < len(self.loop.steps),
            "device_hours": round(journal.seconds_spent() / 3600 * self.loop.accelerator.num_processes, 4),
            "diagnoses": list(journal.diagnosed.values()),
        }

    def _tell_elsewhere(self, step: int) -> None:
        """A plain line now and then on the machines that send no events."""
        accelerator, steps = self.loop.accelerator, len(self.loop.steps)
        is_time = step % math.ceil(steps / LINES_ELSEWHERE) == 0 or step == steps
        if is_time and accelerator.is_local_main_process and not accelerator.is_main_process:
            print(f"step {step:,} of {steps:,}", flush=True)

    def _of_all(self, mine: bool) -> bool:
        """Whether it is so in any process: all must do the same."""
        accelerator = self.loop.accelerator
        if accelerator.num_processes == 1:
            return mine
        told = accelerator.reduce(torch.tensor(float(mine), device=accelerator.device), "sum")
        return bool(told.item())


@contextmanager
def prepare(job: TrainingJob, machine: Machine, rows: Dataset, heldout: Dataset | None) -> Iterator[Run]:
    """Load, prove and try everything that can be known to fail before the first step."""
    journal = Journal()  # its clock counts what is loaded and tried, too
    tokenizer, extent = load_tokenizer(job.base_model), measure(rows)
    accelerator = accelerate(job, machine)
    job = agreed(job, extent)
    # Full training in bfloat16 keeps float32 weights and computes in bfloat16: steps of a usual learning rate are
    # smaller than bfloat16 can add to a weight. Frozen weights never change, so they may be held in bfloat16.
    dtype = torch.float32 if job.method.trains_base else machine.compute_dtype
    settings = _settings_of(job)
    names = candidates(job.attention, machine.device.type, machine.compute_dtype)
    if settings is not None:  # it goes on with the attention that it began with, if that is here
        names = (settings.attention, *(names if job.attention == "auto" else ()))
    model = load_model(job.base_model, dtype, "auto", **job.method.load_settings(machine.device.type))
    _refuse_misfits(job, extent, model)
    if heldout is not None:
        _refuse_misfits(job, measure(heldout), model)
    parameters = int(model.num_parameters())  # which counts weights of 4 bits, too
    vocabulary = model.get_input_embeddings().num_embeddings
    model.config.use_cache = False
    model = job.method.prepare(model, job.adapter)
    patch(model)
    if is_sharded(job):
        # A part of it is all that a device can hold, so nothing can be proven before the parts are made.
        shard(model, machine)
    else:
        model = model.to(machine.device)
    collator, isolation = _isolated(names, accelerator, model, rows, extent, padding_id(tokenizer))
    if settings is None:
        trial = Trial(job, model, accelerator, rows, extent, collator)
        settings = trial.settings(attention_of(model))
        emit("preflight", **settings.model_dump())
    elif settings.gradient_checkpointing:
        recompute_activations(model)
    if job.compile:
        model.compile(dynamic=True)
    optimizer = accelerator.prepare(optimiser(model, job))
    if not is_sharded(job):
        model = accelerator.prepare(model)
    # Not before, as FSDP2 puts other parameters in the place of a model's; nor after a checkpoint is loaded.
    regulariser = _regulariser(job, model, rows, collator, accelerator)
    order = Order(len(rows), job.epochs, job.batch_size, job.seed, extent.lengths if job.group_by_length else None)
    steps = Steps(
        rows,
        order,
        collator,
        micro_batch_size=settings.micro_batch_size,
        rank=accelerator.process_index,
        processes=accelerator.num_processes,
    )
    facts = {
        "device": torch.cuda.get_device_name() if machine.device.type == "cuda" else "cpu",
        "processes": accelerator.num_processes,
        "parameters": parameters,
        "trainable_parameters": sum(weight.numel() for weight in model.parameters() if weight.requires_grad),
        "weights_here": sum(weights_here(weight) for weight in model.parameters()),
        "trained_tokens": round(extent.trained_tokens * job.epochs),
        "isolation": isolation,
        **settings.model_dump(),
    }
    journal.total_steps = len(steps)
    checkpoints = job.checkpoints or job.output / "checkpoints"
    keeper = Keeper(
        checkpoints,
        accelerator,
        model,
        optimizer,
        journal,
        settings.model_dump(),
        seconds_between=job.watching.checkpoint_minutes * 60,
        resumable=job.checkpoints is not None,
    )
    loop = Loop(
        job,
        accelerator,
        model,
        optimizer,
        steps,
        extent,
        _heldout_batches(heldout, collator, settings.micro_batch_size),
        journal,
        Facts(
            steps=len(steps),
            epochs=job.epochs,
            rows=len(rows),
            vocabulary=vocabulary,
            parameters=parameters,
            learning=_learning(job, parameters, facts["trainable_parameters"]),
            learning_rate=job.learning_rate,
        ),
        keeper,
        regulariser,
    )
    smoke = Smoke(loop, tokenizer, prompts_of(heldout), job.end_ids, smoke_step(job, len(steps)))
    tracking = Tracking(job, accelerator)
    run = Run(job, machine, tokenizer, loop, keeper, smoke, tracking, facts)
    # The same draws for dropout, whether anything was tried before or not.
    torch.manual_seed(job.seed)
    random.seed(job.seed)
    np.random.seed(job.seed)  # noqa: NPY002  # the global generator of libraries
    try:
        yield run
    finally:
        accelerator.end_training()
        if job.checkpoints is None and accelerator.is_main_process:
            shutil.rmtree(checkpoints, ignore_errors=True)


def _learning(job: TrainingJob, parameters: int, trainable: int) -> Learning:
    if not job.method.trains_base:
        return "an adapter"
    return "some weights" if trainable < parameters else "every weight"


def _settings_of(job: TrainingJob) -> Settings | None:
    """Those of the checkpoint to go on from; sparing more memory where it ran out since."""
    if job.resume_from is None:
        return None
    saved = resuming.read_json(job.resume_from, resuming.SETTINGS)
    settings = Settings.model_validate({name: value for name, value in saved.items() if name in Settings.model_fields})
    size = min(settings.micro_batch_size, job.micro_batch_size or settings.micro_batch_size)
    recompute = settings.gradient_checkpointing or job.gradient_checkpointing is True
    return settings.model_copy(update={"micro_batch_size": size, "gradient_checkpointing": recompute})


def _isolated(
    names: Sequence[str],
    accelerator: Accelerator,
    model: Any,
    rows: Dataset,
    extent: Extent,
    padding: int,
) -> tuple[PackedCollator, dict[str, Any] | None]:
    """The first attention that this model can compute with and that keeps samples apart, and the proof."""
    for name in names:
        try:
            model.set_attn_implementation(name)
            collator = PackedCollator(padding, flat=attention_of(model) in FLAT)
            return collator, prove_isolation(model, accelerator, rows, extent.packed_row or 0, collator)
        except LeakError:
            if name == names[-1]:
                raise
        except (ImportError, RuntimeError, ValueError) as error:
            if len(names) == 1:
                raise ValueError(
                    f"training.attention is {name}, which cannot be used with this model on this machine: {error} "
                    "Set it to auto."
                ) from error
            if name == names[-1]:
                raise
    raise ValueError("no attention is known for this model. Set training.attention to auto.")


def _regulariser(
    job: TrainingJob, model: Any, rows: Dataset, collator: PackedCollator, accelerator: Accelerator
) -> Regulariser | None:
    roles = getattr(job.method, "roles", None)
    if roles is None:
        return None
    samples = (collator([each]).on(accelerator.device).inputs for each in _samples_of(rows, set(roles)))
    return job.method.regulariser(model, samples, lambda inputs: trained_loss(model, inputs))


def _samples_of(rows: Dataset, roles: set[str]) -> Iterator[dict[str, Any]]:
    """The samples of some roles, one at a time, in the order of the rows."""
    for number, row in enumerate(rows):
        bounds = np.flatnonzero(row["position_ids"] == 0)[1:]
        columns = {name: np.split(values, bounds) for name, values in row.items()}
        for sample, role in enumerate(names_of(rows, number, "roles")):
            if role in roles:
                yield {name: pieces[sample] for name, pieces in columns.items()}


def _heldout_batches(heldout: Dataset | None, collator: PackedCollator, size: int) -> list[Batch]:
    """Batches of similar length, longest first, so that memory runs out at once or never."""
    if heldout is None:
        return []
    lengths = [len(row["input_ids"]) for row in heldout]
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    return [collator([heldout[index] for index in order[start : start + size]]) for start in range(0, len(order), size)]


def _anew(job: TrainingJob, machine: Machine) -> Any:
    """The model as it was before training, whole and on the CPU."""
    dtype = torch.float32 if job.method.trains_base else machine.compute_dtype
    return job.method.prepare(load_model(job.base_model, dtype), job.adapter)


def _refuse_misfits(job: TrainingJob, extent: Extent, model: Any) -> None:
    """Rows that this model cannot take, before the first step."""
    if extent.trained_tokens == 0:
        raise ValueError(
            f"{extent.rows} sequence rows with {extent.trained_tokens} trained tokens: there is nothing to learn from."
        )
    known_ids = model.get_input_embeddings().num_embeddings
    if extent.highest_id >= known_ids:
        raise ValueError(
            f"token id {extent.highest_id} is beyond the model's {known_ids} embeddings. "
            "Tokenize the sequences with the model's own tokenizer."
        )
    limit = longest_input(model)
    if limit is not None and extent.longest_sample > limit:
        raise ValueError(
            f"a sample has {extent.longest_sample} tokens and the model takes {limit}. Lower the maximum length."
        )
    if job.group_by_length and extent.packed_row is not None:
        raise ValueError(
            f"training.group_by_length is set, but the rows are packed (row {extent.packed_row} holds several samples) "
            "and so of one length already. Set tokenization.packing to false to group them, or leave grouping off."
        )
