"""Processes, devices and the optimiser: accelerate and torch, set up as a job asks."""

from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import FullyShardedDataParallelPlugin

from tasks.trainer.job import TrainingJob
from tasks.trainer.models import Machine


def is_sharded(job: TrainingJob) -> bool:
    """Whether each process holds a part of the model only."""
    return job.processes > 1 and job.parallel == "fsdp"


def accelerate(job: TrainingJob, machine: Machine) -> Accelerator:
    """One process, or this one of several, each with a whole model (DDP) or a part of it (FSDP2)."""
    # accelerate keeps one state a process: a second run in it would be held to the settings of the first.
    AcceleratorState._reset_state(reset_partial_state=job.processes == 1)
    return Accelerator(
        cpu=machine.device.type == "cpu",
        mixed_precision="bf16" if machine.compute_dtype == torch.bfloat16 else "no",
        fsdp_plugin=_fsdp() if is_sharded(job) else None,
        log_with=["tensorboard", *job.watching.trackers],
        project_dir=str(job.output / "tensorboard"),
    )


def _fsdp() -> FullyShardedDataParallelPlugin:
    return FullyShardedDataParallelPlugin(
        fsdp_version=2,
        auto_wrap_policy="transformer_based_wrap",
        reshard_after_forward=True,
        state_dict_type="FULL_STATE_DICT",
        cpu_ram_efficient_loading=False,
    )


def optimiser(model: Any, job: TrainingJob) -> torch.optim.Optimizer:
    """AdamW over the weights that learn, in one kernel; vectors (norms, biases) do not decay."""
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in learning if weight.dim() > 1], "weight_decay": job.weight_decay},
        {"params": [weight for weight in learning if weight.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([each for each in groups if each["params"]], lr=job.learning_rate, fused=True)
