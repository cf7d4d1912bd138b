"""Processes, devices and the optimiser: accelerate and torch, set up as a job asks."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import InitProcessGroupKwargs, gather_object
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from tasks.trainer.batches import Extent
from tasks.trainer.child import Interrupted
from tasks.trainer.config import EXECUTION, TrainingConfig
from tasks.trainer.job import TrainingJob
from tasks.trainer.models import Machine


def is_sharded(job: TrainingJob) -> bool:
    """Whether each process holds a part of the model only."""
    return job.devices > 1 and job.parallel == "fsdp"


def accelerate(job: TrainingJob, machine: Machine) -> Accelerator:
    """One process, or this one of several."""
    # accelerate keeps one state a process: a second run in it would be held to the settings of the first.
    AcceleratorState._reset_state(reset_partial_state=job.devices == 1)
    return Accelerator(
        cpu=machine.device.type == "cpu",
        mixed_precision="bf16" if machine.compute_dtype == torch.bfloat16 else "no",
        log_with=["tensorboard", *job.watching.trackers],
        project_dir=str(job.output / "tensorboard"),
        # The others wait while the first writes a checkpoint, which may take longer than torch's ten minutes.
        kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(seconds=job.watching.silence_seconds))],
    )


def agreed(job: TrainingJob, extent: Extent) -> TrainingJob:
    """The job, computed as the first machine says; raises where another one was told to train something else."""
    if job.nodes == 1:
        return job
    settings = {name: value for name, value in job.identity().items() if name in TrainingConfig.model_fields}
    together = {"processes": job.processes, "nodes": job.nodes, "parallel": job.parallel}
    mine = {f"training.{name}": value for name, value in (settings | together).items()} | {
        "the rows": (extent.rows, extent.trained_tokens, int(extent.lengths.sum()), extent.highest_id),
        "the version of torch": torch.__version__,
        "the checkpoint": job.resume_from and job.resume_from.name,
    }
    execution = {name: getattr(job, name) for name in EXECUTION}
    told = gather_object([(mine, execution)])
    first, as_first = told[0]
    differing = [name for name in mine if any(other[name] != first[name] for other, _ in told)]
    if differing == ["the checkpoint"]:
        begun = ", ".join(sorted({str(other["the checkpoint"]) for other, _ in told}))
        raise Interrupted(f"the machines would go on from different checkpoints ({begun}); they must fetch it again.")
    if differing:
        raise ValueError(f"the machines differ in {', '.join(differing)}; start them all with the same recipe and code")
    return job.model_copy(update=as_first)


def shard(model: Any, machine: Machine) -> None:
    """Spread a model over all processes, block by block (FSDP2); each gathers a block when it is computed.

    torch's own way, and not accelerate's, which on CPUs leaves the model whole.
    """
    mesh = init_device_mesh(machine.device.type, (torch.distributed.get_world_size(),))
    computed = None if machine.compute_dtype == torch.float32 else machine.compute_dtype
    # Without a policy of ours, losses and the sums of gradients would be rounded to bfloat16.
    policy = MixedPrecisionPolicy(param_dtype=computed, reduce_dtype=torch.float32)
    blocks = set(getattr(model, "_no_split_modules", None) or ())
    for module in [each for each in model.modules() if type(each).__name__ in blocks]:
        fully_shard(module, mesh=mesh, mp_policy=policy)
    # By default the outermost stays whole after a forward pass without a backward one, and an optimiser or a checkpoint
    # would then meet weights that are thrown away.
    fully_shard(model, mesh=mesh, mp_policy=policy, reshard_after_forward=True)


def weights_here(weight: torch.Tensor) -> int:
    """How many numbers of a weight this process holds."""
    return int(weight.to_local().numel() if isinstance(weight, DTensor) else weight.numel())


@contextmanager
def without_sync(accelerator: Accelerator, model: Any) -> Iterator[None]:
    """A backward pass whose gradients stay in this process, as more of the same step will follow."""
    if not isinstance(model, FSDPModule):
        with accelerator.no_sync(model):
            yield
        return
    model.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        model.set_requires_gradient_sync(True)


def optimiser(model: Any, job: TrainingJob) -> torch.optim.Optimizer:
    """AdamW over the weights that learn, in one kernel; vectors (norms, biases) do not decay."""
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in learning if weight.dim() > 1], "weight_decay": job.weight_decay},
        {"params": [weight for weight in learning if weight.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([each for each in groups if each["params"]], lr=job.learning_rate, fused=True)
