"""Classifiers from and to folders."""

import inspect
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from tasks.trainer.classifier.job import ClassifierJob
from tasks.trainer.models import TOKENIZER_FILES, Tokenizer

TOKENIZER_CONFIG = "tokenizer_config.json"


@dataclass(frozen=True)
class Loaded:
    """A base model with a classification head."""

    model: Any
    new: frozenset[str]
    """The names of the weights that are not the base's: the head's, and those that its files lack."""
    dtype: torch.dtype
    """What the base's weights are stored in."""


def load_classifier(job: ClassifierJob, compute_dtype: torch.dtype) -> Loaded:
    """The job's base with a head for its labels, on the CPU; what is new is drawn from torch's global seed."""
    require_safetensors(job.base_model)
    config: Any = AutoConfig.from_pretrained(job.base_model, local_files_only=True, trust_remote_code=False)
    stored = config.dtype if isinstance(config.dtype, torch.dtype) else torch.float32
    # Weights that learn are held in float32, as steps are smaller than bfloat16 can add to a weight. Frozen ones need
    # not be.
    is_frozen = job.method.kind == "lora" and compute_dtype == torch.bfloat16
    model, info = AutoModelForSequenceClassification.from_pretrained(
        job.base_model,
        dtype=stored if is_frozen else torch.float32,
        num_labels=len(job.labels),
        id2label=dict(enumerate(job.labels)),
        label2id={label: place for place, label in enumerate(job.labels)},
        problem_type="multi_label_classification" if job.multi_label else "single_label_classification",
        ignore_mismatched_sizes=True,  # a head for other labels is replaced
        output_loading_info=True,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
    )
    return Loaded(model, _new(model, info, job.base_model), stored)


def set_padding(model: Any, padding: int) -> int:
    """Give a model an id that fills rows where it has none, as decoders often do; gives the one that it has then.

    Decoders read their answer off the last token that is not this one.
    """
    for each in (model.config, model.config.get_text_config()):
        known = getattr(each, "pad_token_id", None)
        if known is None or known < 0:
            each.pad_token_id = padding
    return int(model.config.get_text_config().pad_token_id)


def without_cache(model: Any) -> dict[str, Any]:
    """What keeps a decoder from storing keys and values that nobody will read."""
    return {"use_cache": False} if "use_cache" in inspect.signature(model.forward).parameters else {}


def require_safetensors(folder: Path) -> None:
    """ValueError where a folder holds no weights that are safe to read."""
    if not any(folder.glob("*.safetensors")):
        raise ValueError(f"{folder} holds no .safetensors file. Fettle loads no pickled weights; convert them first.")


def _new(model: Any, info: Any, folder: Path) -> frozenset[str]:
    inside = {name: weight for name, weight in model.named_parameters() if is_of_base(model, name)}
    different = sorted({each[0] for each in info["mismatched_keys"]} & inside.keys())
    missing = set(info["missing_keys"]) & inside.keys()
    lacking = sum(inside[name].numel() for name in missing)
    if different or lacking * 2 > sum(weight.numel() for weight in inside.values()):
        first = (different or sorted(missing))[0]
        raise ValueError(
            f"the weights in {folder} are not those of its config.json: {first} "
            f"{'has another shape' if different else 'and most others are missing'}. Fetch the model again."
        )
    return frozenset(name for name, _ in model.named_parameters() if name not in inside or name in missing)


def is_of_base(model: Any, name: str) -> bool:
    """Whether a weight belongs to the base, and not to the classification head."""
    return name.startswith(f"{model.base_model_prefix}.")


def takes_types(model: Any) -> bool:
    """Whether a model tells first from second texts by `token_type_ids`."""
    known = getattr(model.config, "type_vocab_size", None) or 0
    return known > 1 and "token_type_ids" in inspect.signature(model.forward).parameters


def longest_text(model: Any) -> int | None:
    """Most tokens that a model's positions are enough for, or None when there is no limit.

    RoBERTa and its kin begin to count behind the padding's id.
    """
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if not isinstance(limit, int) or limit <= 0:
        return None
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            return limit if module.padding_idx is None else module.num_embeddings - module.padding_idx - 1
    return limit


def save_classifier(model: Any, job: ClassifierJob, tokenizer: Tokenizer, folder: Path) -> None:
    """Write a model folder: config, safetensors, and the base's tokenizer, which is told where texts were cut."""
    model.save_pretrained(folder)
    for name in TOKENIZER_FILES:
        if (job.base_model / name).is_file():
            shutil.copyfile(job.base_model / name, folder / name)
    config = folder / TOKENIZER_CONFIG
    settings = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    settings["model_max_length"] = job.max_length
    if tokenizer.pad_token_id is None:
        # Without one, nobody could give the model two texts at once.
        settings["pad_token"] = _padding_token(tokenizer, int(model.config.get_text_config().pad_token_id))
    config.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _padding_token(tokenizer: Any, padding: int) -> str:
    token: str = tokenizer.convert_ids_to_tokens(padding)
    return token
