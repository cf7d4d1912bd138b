"""The training loop: TRL's SFTTrainer with what it lacks for packed rows, held-out loss and divergence."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch.optim.lr_scheduler import LambdaLR
from transformers import PrinterCallback, TrainerCallback
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer
from typing_extensions import override

from tasks.trainer.batches import PackedCollator
from tasks.trainer.events import emit
from tasks.trainer.job import TrainingJob
from tasks.trainer.journal import Journal
from tasks.trainer.models import Machine
from tasks.trainer.schedule import evaluation_steps, learning_rate_factor


def training_arguments(job: TrainingJob, machine: Machine, checkpoints: Path) -> SFTConfig:
    """The job in TRL's words."""
    return SFTConfig(
        output_dir=str(checkpoints),
        seed=job.seed,
        learning_rate=job.learning_rate,
        num_train_epochs=job.epochs,
        per_device_train_batch_size=job.micro_batch_size,
        gradient_accumulation_steps=job.batch_size // job.micro_batch_size,
        weight_decay=job.weight_decay,
        max_grad_norm=job.max_grad_norm,
        bf16=machine.compute_dtype == torch.bfloat16,  # autocast; the default would be True, on the CPU too
        use_cpu=machine.device.type == "cpu",
        gradient_checkpointing=job.gradient_checkpointing,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,  # else TRL drops position_ids, and with them the isolation of samples
        logging_steps=1,
        logging_nan_inf_filter=False,  # the default hides NaN losses
        report_to="none",
        disable_tqdm=True,
        log_level="error",
        eval_strategy="no",  # the held-out schedule asks for evaluations
        eval_on_start=bool(job.heldout),
        save_strategy="best" if job.heldout else "no",
        load_best_model_at_end=bool(job.heldout),
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        save_only_model=True,
        train_sampling_strategy="group_by_length" if job.group_by_length else "random",
        save_total_limit=1,
    )


class FineTuner(SFTTrainer):
    """SFTTrainer on packed rows: counts tokens, reports to a journal, weighs held-out loss by tokens."""

    def __init__(
        self, job: TrainingJob, *, journal: Journal, collator: PackedCollator, heldout: Dataset | None, **options: Any
    ) -> None:
        super().__init__(data_collator=collator, **options)
        self.job = job
        self.remove_callback(PrinterCallback)
        self.journal = journal
        self.step_tokens = 0
        self.heldout = heldout
        self.heldout_batches = [] if heldout is None else _by_length(heldout, self.args.per_device_train_batch_size)

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """One micro-batch; the count of its tokens is not for the model."""
        inputs: dict[str, Any] = args[1] if len(args) > 1 else kwargs["inputs"]
        self.step_tokens += int(inputs.pop("tokens"))
        step: Callable[..., torch.Tensor] = super().training_step
        return step(*args, **kwargs)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> LambdaLR:
        """The job's schedule, whose first step already learns."""
        factor = learning_rate_factor(self.job.scheduler, self.job.warmup_ratio, num_training_steps)
        stepped: Any = optimizer or self.optimizer
        self.lr_scheduler = LambdaLR(stepped, factor)
        self._created_lr_scheduler = True
        return self.lr_scheduler

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Called after every step with its loss over all trained tokens of the step, and once at the end."""
        if "loss" in logs:
            self.journal.step(
                self.state.global_step,
                self.state.epoch,
                loss=logs["loss"],
                grad_norm=logs.get("grad_norm"),
                learning_rate=logs["learning_rate"],
                tokens=self.step_tokens,
            )
            self.step_tokens = 0
        super().log(logs, start_time)

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Held-out loss over trained tokens; Trainer's own averages the means of batches, whatever their tokens."""
        model: Any = self.model
        model.eval()
        loss_sum, tokens = torch.zeros((), dtype=torch.float64), 0
        with torch.no_grad(), self.compute_loss_context_manager():
            for batch in self._heldout_tensors():
                outputs = model(**batch, use_cache=False, fused_lm_head=True)
                loss_sum -= outputs.log_probs.double().sum().cpu()
                tokens += int(outputs.label_mask.sum())
        loss = float(loss_sum) / tokens if tokens else math.nan
        self.journal.evaluation(self.state.global_step, self.state.epoch or 0.0, loss)
        metrics = {"eval_loss": loss}
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Write none: the model card of a published model is not TRL's."""

    def inputs_of(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """What the model is given of these rows, on its device."""
        batch: dict[str, Any] = self.data_collator(rows)
        batch.pop("tokens", None)
        inputs: dict[str, Any] = self._prepare_inputs(batch)
        return inputs

    def _heldout_tensors(self) -> Iterator[dict[str, Any]]:
        rows: Any = self.heldout
        for indices in self.heldout_batches:
            yield self.inputs_of([rows[index] for index in indices])


class HeldoutSchedule(TrainerCallback):
    """Announces the start, asks for evaluations at evenly spread steps, and keeps their time out of the speed."""

    def __init__(self, journal: Journal, evaluations: int, facts: dict[str, Any]) -> None:
        self.journal = journal
        self.evaluations = evaluations
        self.facts = facts
        self.steps: set[int] = set()

    @override
    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.journal.total_steps = state.max_steps
        self.steps = evaluation_steps(state.max_steps, self.evaluations)
        emit("started", steps=state.max_steps, **self.facts)

    @override
    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.journal.start_clock()

    @override
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        control.should_evaluate = state.global_step in self.steps
        return control

    @override
    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        emit("saved", step=state.global_step)


def _by_length(rows: Dataset, batch_size: int) -> list[list[int]]:
    """Indices in batches of similar length, longest first, so that memory runs out at once or never."""
    lengths = [len(row["input_ids"]) for row in rows]
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
