"""One training of a classifier, from a job to a model in a folder."""

import shutil
from dataclasses import dataclass, replace
from typing import Any

import torch

from tasks.trainer.classifier.batches import Collator, Masking
from tasks.trainer.classifier.job import ClassifierJob
from tasks.trainer.classifier.journal import Journal
from tasks.trainer.classifier.keeping import Keeper
from tasks.trainer.classifier.loop import Loop
from tasks.trainer.classifier.losses import Objective, class_weights
from tasks.trainer.classifier.methods import export, prepare
from tasks.trainer.classifier.misfits import refuse_misfits
from tasks.trainer.classifier.models import load_classifier, save_classifier, set_padding, takes_types, without_cache
from tasks.trainer.classifier.order import Order, balanced_shares
from tasks.trainer.classifier.rows import Rows, read_rows
from tasks.trainer.events import emit
from tasks.trainer.models import Machine, Tokenizer, load_tokenizer, padding_id


@dataclass
class Run:
    """A training that is ready to begin."""

    job: ClassifierJob
    tokenizer: Tokenizer
    loop: Loop
    stored: torch.dtype
    """What the base's weights are stored in."""
    facts: dict[str, Any]

    def train(self) -> None:
        """To the end, from the checkpoint to go on from where there is one."""
        loop = self.loop
        first_step = 0 if self.job.resume_from is None else loop.keeper.resume(self.job.resume_from)
        emit("started", steps=loop.order.steps, first_step=first_step, **self.facts)
        loop.run(first_step)

    def write(self) -> None:
        """The best epoch's model, and the metrics."""
        job, loop = self.job, self.loop
        loop.keeper.restore_best()
        # What was computed in bfloat16 never saw more of a weight than that; else the base's precision is no limit.
        dtype = self.stored if loop.machine.compute_dtype == torch.bfloat16 else torch.float32
        model = export(loop.model, job, dtype)
        save_classifier(model, job, self.tokenizer, job.output / "model")
        loop.journal.write(job.output / "metrics.parquet")
        if job.checkpoints is None:
            shutil.rmtree(loop.keeper.folder, ignore_errors=True)

    def result(self) -> dict[str, Any]:
        """What the artifact tells of the run."""
        journal, job = self.loop.journal, self.job
        losses, best = journal.losses(), journal.best() or {}
        return self.facts | {
            "steps": len(losses),
            "planned_steps": self.loop.order.steps,
            "steps_per_epoch": self.loop.order.steps_per_epoch,
            "stopped_early": len(losses) < self.loop.order.steps,
            "first_loss": losses[0],
            "last_loss": losses[-1],
            "best_step": best.get("step"),
            "best_epoch": best.get("epoch"),
            "best_heldout_loss": best.get("heldout_loss"),
            "best_macro_f1": best.get("macro_f1"),
            "best_accuracy": best.get("accuracy"),
            "learning_rate": job.learning_rate,
            "epochs": job.epochs,
            "label_smoothing": job.label_smoothing,
            "token_dropout": self.loop.rows.masking.share if self.loop.rows.masking else 0.0,
            "class_weights": _told(self.loop.objective, job),
            "tokens": journal.tokens,
            "tokens_per_second": round(journal.tokens_per_second(), 1),
            "seconds": round(journal.seconds_spent(), 3),
        }


def build(given: ClassifierJob, machine: Machine) -> Run:
    """Load all, and refuse what cannot be trained, before the first step."""
    job = given.settled(made_here=given.made_here)
    journal = Journal(job.early_stopping.metric)  # its clock counts what is loaded, too
    rows, validation = (
        read_rows(each, job.labels, multi_label=job.multi_label) for each in (job.train, job.validation)
    )
    tokenizer, loaded = load_tokenizer(job.base_model), load_classifier(job, machine.compute_dtype)
    for each in (rows, validation):
        refuse_misfits(each, job, loaded.model)
    parameters = int(loaded.model.num_parameters())  # before adapters come on top
    collator = _collator(validation, tokenizer, loaded.model)
    model = prepare(loaded, job).to(machine.device)
    order = _order(job, rows)
    journal.total_steps = order.steps
    optimizer = optimiser(model, job)
    folder = job.checkpoints or job.output / "checkpoints"
    keeper = Keeper(folder, model, optimizer, journal, job.checkpoints is not None, job.checkpoint_minutes * 60)
    learning = replace(collator, rows=rows, masking=_masking(job, tokenizer))
    size, objective = min(job.micro_batch_size or job.batch_size, job.batch_size), _objective(job, rows, machine)
    loop = Loop(job, machine, model, optimizer, objective, order, learning, collator, journal, keeper, size)
    torch.manual_seed(job.seed)
    return Run(job, tokenizer, loop, loaded.dtype, _facts(machine, parameters, model, size))


def _collator(rows: Rows, tokenizer: Tokenizer, model: Any) -> Collator:
    """What makes batches for measuring."""
    padding = set_padding(model, padding_id(tokenizer))
    return Collator(rows, padding, takes_types(model), without_cache(model))


def _order(job: ClassifierJob, rows: Rows) -> Order:
    shares = balanced_shares(rows.truth) if job.sampling == "balanced" else None
    return Order(rows.lengths, job.epochs or 1, job.batch_size, job.seed, shares)


def _objective(job: ClassifierJob, rows: Rows, machine: Machine) -> Objective:
    weights = class_weights(job.class_weights, rows.truth, job.labels, multi_label=job.multi_label)
    placed = None if weights is None else torch.tensor(weights, device=machine.device)
    return Objective(job.multi_label, placed, job.label_smoothing or 0.0)


def _facts(machine: Machine, parameters: int, model: Any, size: int) -> dict[str, Any]:
    return {
        "device": torch.cuda.get_device_name() if machine.device.type == "cuda" else "cpu",
        "dtype": machine.dtype_name,
        "parameters": parameters,
        "trainable_parameters": sum(weight.numel() for weight in model.parameters() if weight.requires_grad),
        "micro_batch_size": size,
    }


def optimiser(model: Any, job: ClassifierJob) -> torch.optim.Optimizer:
    """AdamW over the weights that learn; vectors (norms, biases) do not decay."""
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in learning if weight.dim() > 1], "weight_decay": job.weight_decay},
        {"params": [weight for weight in learning if weight.dim() <= 1], "weight_decay": 0.0},
    ]
    # A small model at a high rate forgets old gradients sooner.
    betas = (0.9, 0.98 if job.made_here else 0.999)
    kept = [each for each in groups if each["params"]]
    return torch.optim.AdamW(kept, lr=job.learning_rate or 0.0, betas=betas, fused=True)


def _masking(job: ClassifierJob, tokenizer: Any) -> Masking | None:
    if not job.token_dropout or tokenizer.mask_token_id is None:
        return None
    return Masking(job.token_dropout, int(tokenizer.mask_token_id), frozenset(tokenizer.all_special_ids))


def _told(objective: Objective, job: ClassifierJob) -> dict[str, float] | None:
    if objective.weights is None:
        return None
    return {label: round(weight, 4) for label, weight in zip(job.labels, objective.weights.tolist(), strict=True)}
