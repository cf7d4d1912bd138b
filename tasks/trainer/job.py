"""What a trainer process is told: one JSON file, read at its start."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from tasks.config import Config
from tasks.methods import Full, Method

Dtype = Literal["auto", "float32", "bfloat16"]
Attention = Literal["auto", "sdpa", "eager", "flash_attention_2", "flex_attention"]


class TrainingJob(Config):
    """Train one model on packed sequences. All paths are local."""

    base_model: Path
    """Folder of the model to start from: config, safetensors and tokenizer files."""

    sequences: list[Path] = Field(min_length=1)
    """Parquet files of packed rows: `input_ids`, `labels` (-100 = not trained) and `position_ids`."""

    heldout: list[Path] = Field(default=[])
    """Parquet files of held-out rows with the same columns; empty = no held-out loss, the last step is kept."""

    output: Path
    """Folder for the results; made when missing."""

    method: Method = Full()
    """Which weights learn."""

    learning_rate: float = Field(default=2e-5, gt=0)
    """Highest learning rate of the schedule."""

    epochs: float = Field(default=1.0, gt=0)
    """Passes over the sequences; may be a fraction."""

    batch_size: int = Field(default=16, ge=1)
    """Packed rows of one optimiser step."""

    micro_batch_size: int = Field(default=1, ge=1)
    """Packed rows of one forward pass; divides `batch_size`. Less memory, the same result but for rounding."""

    warmup_ratio: float = Field(default=0.03, ge=0, lt=1)
    """Share of the steps in which the learning rate rises from 0."""

    weight_decay: float = Field(default=0.0, ge=0)
    """AdamW's weight decay; norms and biases are spared."""

    scheduler: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate falls after the warm-up."""

    max_grad_norm: float = Field(default=1.0, ge=0)
    """Longest gradient; longer ones are scaled down. 0 = unlimited."""

    evaluations: int = Field(default=4, ge=1)
    """How many times held-out loss is measured during training, evenly spread; the last step is one of them."""

    seed: int = 0
    """Seed of the row order, the adapters' start and dropout."""

    dtype: Dtype = "auto"
    """Precision of the computation; auto = bfloat16 on GPUs that support it, else float32."""

    attention: Attention = "auto"
    """Which attention computes; auto = flash_attention_2 where it is installed and fits, else sdpa, else eager."""

    group_by_length: bool = False
    """Whether rows of similar length share a batch; for rows of one sample each."""

    gradient_checkpointing: bool = False
    """Compute activations twice to save memory; about a third slower."""

    chat_template: str | None = None
    """Jinja template that was trained on; saved with the model where the base's tokenizer has another or none."""

    end_ids: list[int] = Field(default=[])
    """Tokens that end an answer, besides those that the base model stops at; saved with the model."""

    trust_remote_code: Literal[False] = False
    """Code that comes with a model is never run."""

    @model_validator(mode="after")
    def _micro_batches_fill_a_batch(self) -> Self:
        if self.batch_size % self.micro_batch_size:
            raise ValueError(
                f"micro_batch_size is {self.micro_batch_size} and batch_size is {self.batch_size}; "
                "micro_batch_size must divide batch_size. Change one of them."
            )
        return self


class BenchmarkItems(Config):
    """The items of one benchmark, prompts fully rendered."""

    name: str
    """Name of the benchmark in the outputs."""

    kind: Literal["multiple_choice", "generation"]
    """Whether given answers are scored or free text is generated."""

    items: Path
    """Parquet file: `item_id`, `cluster`, `prompt`, and `choices` + `gold`, or `answer`."""


class ScoringJob(Config):
    """Score one model on benchmarks and held-out conversations. All paths are local."""

    model: Path
    """Folder of the model: config, safetensors and tokenizer files."""

    heldout: list[Path] = Field(default=[])
    """Parquet files of held-out rows, one conversation a row."""

    benchmarks: list[BenchmarkItems] = Field(default=[])
    """The benchmarks to run."""

    output: Path
    """Folder for the results; made when missing."""

    max_new_tokens: int = Field(default=128, ge=1)
    """Longest generated answer in tokens; longer ones count as not ended."""

    end_ids: list[int] = Field(default=[])
    """Tokens that end an answer, besides those that the model stops at."""

    batch_size: int = Field(default=16, ge=1)
    """Most rows of one forward pass; fewer where their logits would need over a gigabyte."""

    dtype: Dtype = "auto"
    """Precision of the computation; auto = bfloat16 on GPUs that support it, else float32."""

    seed: int = 0
    """Seed of everything random; scoring and greedy generation draw nothing today."""

    trust_remote_code: Literal[False] = False
    """Code that comes with a model is never run."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [benchmark.name for benchmark in self.benchmarks]
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"benchmark names occur twice: {doubled}. Give each benchmark its own name.")
        return self
