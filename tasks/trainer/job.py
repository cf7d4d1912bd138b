"""What a trainer process is told: one JSON file, read at its start."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from tasks.config import Config
from tasks.trainer.config import Dtype, TrainingConfig


class TrainingJob(TrainingConfig):
    """Train one model on packed sequences, as the configuration says. All paths are local."""

    base_model: Path
    """Folder of the model to start from: config, safetensors and tokenizer files."""

    sequences: list[Path] = Field(min_length=1)
    """Parquet files of packed rows: `input_ids`, `labels` (-100 = not trained), `position_ids` and, where there are
    any, `row_ids` and `roles` of the samples."""

    heldout: list[Path] = Field(default=[])
    """Parquet files of held-out rows with the same columns; empty = no held-out loss, the last step is kept."""

    output: Path
    """Folder for the results; made when missing."""

    adapter: Path | None = None
    """Folder of an adapter in peft's format to go on from."""

    checkpoints: Path | None = None
    """Folder for `step-N` and `best-N`; None writes none to resume from."""

    resume_from: Path | None = None
    """A `step-N` folder that an earlier process of the same job wrote, with its `best-N` beside it."""

    chat_template: str | None = None
    """Jinja template that was trained on; saved with the model where the base's tokenizer has another or none."""

    end_ids: list[int] = Field(default=[])
    """Tokens that end an answer, besides those that the base model stops at; saved with the model."""

    trust_remote_code: Literal[False] = False
    """Code that comes with a model is never run."""


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
