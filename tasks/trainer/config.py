"""How a model learns: the configuration of training, which the stage and the trainer process share."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tasks.config import Config
from tasks.methods import Full, Method

Dtype = Literal["auto", "float32", "bfloat16"]
Attention = Literal["auto", "varlen", "sdpa", "eager", "flash_attention_2", "flex_attention"]
Tracker = Literal["wandb", "mlflow", "trackio"]


class EarlyStopping(Config):
    """When to stop because more training no longer helps."""

    patience: int = Field(3, ge=1)
    """How many evaluations in a row may bring no improvement."""
    min_delta: float = Field(0.001, ge=0)
    """How much lower the held-out loss must be to count as improved, in nats a token."""


class Cost(Config):
    """What training may take."""

    price_per_device_hour: float | None = Field(None, ge=0)
    """Price of one device for an hour, in your currency."""
    most: float | None = Field(None, gt=0)
    """Budget: training that would cost more is refused, and one that does cost more is stopped with a checkpoint."""
    most_hours: float | None = Field(None, gt=0)
    """As the budget, in hours of training."""
    device: str | None = None
    """Device to estimate for where none has been measured, such as h100, a100, l40s or rtx4090."""

    @model_validator(mode="after")
    def _budget_has_a_price(self) -> "Cost":
        if self.most is not None and self.price_per_device_hour is None:
            raise ValueError(
                f"cost.most is {self.most:g}, but no price is known; set cost.price_per_device_hour, too, "
                "or limit the hours with cost.most_hours"
            )
        return self


class Watching(Config):
    """What is told and judged while training runs. Does not change the result of a run that goes well."""

    preflight: bool = True
    """Measure memory on the longest batch before the first step, and judge the run's first steps (100, or 5 %) before
    the rest is paid for."""
    trackers: tuple[Tracker, ...] = ()
    """Where metrics go besides the artifact and TensorBoard's files; each needs its package and its own variables."""
    silence_seconds: float = Field(1800, gt=0)
    """Longest time without a step, an evaluation or a checkpoint; a trainer that is silent for longer is stopped, and
    resumed from its last checkpoint."""
    checkpoint_minutes: float = Field(15, ge=0)
    """Time between checkpoints that a killed run resumes from."""


EXECUTION = frozenset(
    {
        "micro_batch_size", "attention", "gradient_checkpointing", "compile", "processes", "nodes", "rendezvous",
        "parallel", "cost", "watching", "timeout_seconds",
    }
)  # fmt: skip
"""Fields that say how a result is computed, and not what it is: they never enter the identity."""


class TrainingConfig(Config):
    """How the model learns."""

    method: Method = Full()
    """Which weights learn, and how."""
    learning_rate: float = Field(2e-5, gt=0, lt=10)
    """Highest learning rate of the schedule."""
    epochs: float = Field(2.0, gt=0, le=1000)
    """Passes over the mixture; may be a fraction."""
    batch_size: int = Field(16, ge=1)
    """Packed rows of one optimiser step, over all processes."""
    warmup_ratio: float = Field(0.03, ge=0, lt=1)
    """Share of the steps in which the learning rate rises from 0."""
    weight_decay: float = Field(0.0, ge=0, lt=1)
    """AdamW's weight decay; norms and biases are spared."""
    scheduler: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate falls after the warm-up."""
    max_grad_norm: float = Field(1.0, ge=0)
    """Longest gradient; longer ones are scaled down. 0 sets no limit."""
    evaluations: int = Field(10, ge=1, le=1000)
    """How many times the held-out loss is measured while training; the best of them is the model that is kept."""
    heldout_rows: int = Field(256, ge=0)
    """Most held-out rows it is measured on, chosen by a stable hash."""
    early_stopping: EarlyStopping | None = EarlyStopping()
    """When to stop early; null trains to the end."""
    group_by_length: bool = False
    """Rows of similar length share a batch; only without tokenization.packing."""
    dtype: Dtype = "auto"
    """Precision; auto is bfloat16 on GPUs that have it, else float32."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Orders the rows, and starts adapters and dropout."""
    micro_batch_size: Annotated[int, Field(ge=1)] | None = None
    """Packed rows of one forward pass of one process; chosen by memory when not set. The effective batch stays."""
    attention: Attention = "auto"
    """Which attention computes; auto is the fastest that keeps packed samples apart, which is proven before the first
    step. One that lets them see each other is refused."""
    gradient_checkpointing: bool | Literal["auto"] = "auto"
    """Compute activations twice to save memory, about a third slower; auto does so only where memory needs it."""
    compile: bool = False
    """Compile the model with torch.compile; pays on GPUs in long runs of packed rows."""
    processes: int = Field(1, ge=1)
    """Processes on each machine, one a device."""
    nodes: int = Field(1, ge=1)
    """Machines that train together, each with `processes` devices."""
    rendezvous: str | None = None
    """Where they meet: host:port of the first machine."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """How several processes share the work: each with the whole model, or each with a part of it (FSDP2)."""
    cost: Cost = Cost()
    """Price and budget."""
    watching: Watching = Watching()
    """What is told and judged while it runs."""
    timeout_seconds: float | None = Field(None, gt=0)
    """Longest time that training may take; unlimited when not set."""

    @model_validator(mode="after")
    def _parts_fit(self) -> "TrainingConfig":
        several = f"processes is {self.processes}" + (f" on each of {self.nodes} nodes" if self.nodes > 1 else "")
        if self.batch_size % self.devices:
            raise ValueError(
                f"batch_size is {self.batch_size} and {several}; their number must divide the first, "
                "so that the effective batch does not depend on it"
            )
        if self.method.kind == "qlora" and self.devices > 1 and self.parallel == "fsdp":
            raise ValueError(
                "training.method is qlora and training.parallel is fsdp; weights of 4 bits cannot be spread over "
                "devices. Set parallel to ddp, or method to lora."
            )
        share = self.batch_size // self.devices
        if self.micro_batch_size is not None and share % self.micro_batch_size:
            raise ValueError(
                f"micro_batch_size is {self.micro_batch_size} and each process has {share} rows of a batch "
                f"(batch_size {self.batch_size}, {several}); the first must divide them"
            )
        return self

    @model_validator(mode="after")
    def _nodes_can_meet(self) -> "TrainingConfig":
        if self.nodes > 1 and self.rendezvous is None:
            raise ValueError(
                f"nodes is {self.nodes}, but rendezvous is not set; give host:port of the first machine, where the "
                "others can reach it"
            )
        host, _, port = (self.rendezvous or "host:1").rpartition(":")
        if not host or not port.isdecimal() or not 1 <= int(port) <= 65535:
            raise ValueError(f"rendezvous is {self.rendezvous}; give it as host:port, such as 10.0.0.1:29500")
        return self

    @property
    def devices(self) -> int:
        """Devices, and so processes, of all machines."""
        return self.processes * self.nodes

    def identity(self) -> dict[str, Any]:
        """What decides the result."""
        return {
            name: self.method.identity() if name == "method" else value
            for name, value in self.model_dump(mode="json").items()
            if name not in EXECUTION
        }
