"""What the classifier's processes are told: one JSON file each, read at their start. All paths are local."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from tasks.config import Config
from tasks.trainer.classifier.config import ClassifierTrainingConfig
from tasks.trainer.classifier.encoder import EncoderConfig
from tasks.trainer.config import Dtype


class EncoderJob(EncoderConfig):
    """Make a small encoder from texts."""

    texts: list[Path] = Field(min_length=1)
    """Parquet files with the columns `text` and `text_pair` ("" = none)."""

    output: Path
    """Folder for the results; made when missing."""


class ClassifierJob(ClassifierTrainingConfig):
    """Train one classifier, as the configuration says."""

    base_model: Path
    """Folder of the model to start from: config, safetensors and tokenizer files."""

    train: list[Path] = Field(min_length=1)
    """Parquet files of tokenised rows: `id`, `input_ids`, `token_type_ids`, and in `labels` the places of the row's
    labels in the list of names."""

    validation: list[Path] = Field(min_length=1)
    """Parquet files with the same columns; they choose the epoch whose model is kept."""

    labels: list[str] = Field(min_length=1)
    """The names of the labels, in the order of the model's outputs."""

    multi_label: bool = False
    """Whether a row may have several labels, or none."""

    max_length: int = Field(ge=1)
    """Where texts were cut, in tokens; the model's tokenizer will cut there, too."""

    made_here: bool = False
    """Whether the base is an encoder that was made from the recipe's own texts."""

    output: Path
    """Folder for the results; made when missing."""

    checkpoints: Path | None = None
    """Folder for `step-N` and `best-N`; None writes none to resume from."""

    resume_from: Path | None = None
    """A `step-N` folder that an earlier process of the same job wrote, with its `best-N` beside it."""

    trust_remote_code: Literal[False] = False
    """Code that comes with a model is never run."""

    @model_validator(mode="after")
    def _labels_fit(self) -> "ClassifierJob":
        if len(set(self.labels)) != len(self.labels):
            twice = sorted({each for each in self.labels if self.labels.count(each) > 1})
            raise ValueError(f"labels names {', '.join(twice)} more than once; give each name once")
        if len(self.labels) < 2 and not self.multi_label:
            raise ValueError(f"{self.labels[0]} is the only label, so there is nothing to tell apart; add another")
        if isinstance(self.class_weights, dict) and (unknown := sorted(set(self.class_weights) - set(self.labels))):
            raise ValueError(
                f"class_weights names {', '.join(unknown)}, but the rows have no such label; "
                f"they have {', '.join(self.labels)}"
            )
        return self


class ClassifierScoringJob(Config):
    """Have one model read texts."""

    model: Path
    """Folder of the model: config, safetensors and tokenizer files."""

    texts: list[Path] = Field(min_length=1)
    """Parquet files with the columns `id`, `text` and `text_pair` ("" = none)."""

    output: Path
    """Folder for the results; made when missing."""

    what: Literal["logits", "features"] = "logits"
    """The classifier's outputs, or the mean of the last hidden states over the text's tokens."""

    batch_size: int = Field(32, ge=1)
    """Most texts of one forward pass."""

    dtype: Dtype = "auto"
    """Precision of the computation; auto = bfloat16 on GPUs that support it, else float32."""

    max_length: int = Field(512, ge=1)
    """Where texts are cut, in tokens."""

    trust_remote_code: Literal[False] = False
    """Code that comes with a model is never run."""
