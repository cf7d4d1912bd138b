"""What a trainer process is told: one JSON file, read at its start."""

from pathlib import Path
from typing import Literal

from pydantic import Field

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


class ScoringJob(Config):
    """Have one model answer requests, and measure its loss on held-out conversations. All paths are local."""

    model: Path
    """Folder of the model: config, safetensors and tokenizer files."""

    requests: Path | None = None
    """Parquet file of what is asked, with the columns of `tasks.trainer.requests.REQUESTS`."""

    known: Path | None = None
    """Parquet file of requests that are answered already in some precision: columns `key` and `dtype`."""

    heldout: list[Path] = Field(default=[])
    """Parquet files of held-out rows, one conversation a row."""

    output: Path
    """Folder for the results; made when missing."""

    max_new_tokens: int = Field(default=128, ge=1)
    """Longest generated answer in tokens, where a request names no limit; longer ones count as not ended."""

    end_ids: list[int] = Field(default=[])
    """Tokens that end an answer, besides those that the model stops at."""

    batch_size: int = Field(default=16, ge=1)
    """Most texts or questions of one forward pass; fewer where their logits would need over a gigabyte."""

    dtype: Dtype = "auto"
    """Precision of the computation; auto = bfloat16 on GPUs that support it, else float32."""

    seed: int = 0
    """Seed of everything random; scoring and greedy generation draw nothing today."""

    trust_remote_code: Literal[False] = False
    """Code that comes with a model is never run."""
