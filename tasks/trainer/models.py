"""Devices, precision, and models from and to folders."""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from tokenizers import Tokenizer as Backend
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from tasks.trainer.attention import VARLEN

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "chat_template.jinja",
)


FLAT = (VARLEN, "flash_attention_2")
"""The attentions that are told where samples begin by cumulative lengths, not by a mask."""


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that the trainer uses."""

    bos_token: str | None
    bos_token_id: int | None
    eos_token_id: int | None
    pad_token_id: int | None
    chat_template: Any

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]: ...
    def decode(self, token_ids: list[int], *, skip_special_tokens: bool) -> str: ...


@dataclass(frozen=True)
class Machine:
    """Where and how precisely a process computes."""

    device: torch.device
    compute_dtype: torch.dtype

    @property
    def dtype_name(self) -> str:
        return str(self.compute_dtype).removeprefix("torch.")


def prepare_machine(dtype: str, seed: int) -> Machine:
    """Choose device and dtype, seed everything, and make torch deterministic where that costs nothing."""
    quiet: Any = transformers_logging  # its functions have no annotations
    quiet.set_verbosity_error()
    quiet.disable_progress_bar()
    torch.set_num_threads(_threads())
    torch.manual_seed(seed)
    # Operations without a deterministic form still run (warn_only): refusing them would refuse whole models.
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Filling fresh memory only guards against reading it before writing, at a cost on every allocation.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # absent from its stub
    device = torch.device("cpu")
    if torch.cuda.is_available():  # each process of a machine has a device of its own
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    return Machine(device, _compute_dtype(dtype, device))


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a folder; where it has a `tokenizer.json`, what that says, as rows are tokenised by it.

    AutoTokenizer builds Llama's tokenizers anew by a rule of its own, which gives other ids at blanks in front.
    """
    fast = (folder / "tokenizer.json").is_file()
    reader: Any = PreTrainedTokenizerFast if fast else AutoTokenizer
    tokenizer: Any = reader.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if fast:
        state = json.loads(tokenizer.backend_tokenizer.to_str())
        for token in state["added_tokens"]:
            token["normalized"] &= not token["special"]  # control tokens are found in the text as it is
        tokenizer._tokenizer = Backend.from_str(json.dumps(state))  # the settings would undo it in any public way
    return cast(Tokenizer, tokenizer)


def load_model(folder: Path, dtype: torch.dtype, attention: str = "auto", **settings: Any) -> Any:
    """The causal language model of a folder, on the CPU unless the settings say otherwise. Only safetensors are read.

    Auto attention is sdpa where the architecture has it, else eager: transformers' own choice.
    """
    if not any(folder.glob("*.safetensors")):
        raise ValueError(f"{folder} holds no .safetensors file. Fettle loads no pickled weights; convert them first.")
    return AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=dtype,
        attn_implementation=None if attention == "auto" else attention,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        **settings,
    )


def attention_of(model: Any) -> str:
    """The name of the attention that a model computes with."""
    return str(model.config.get_text_config()._attn_implementation)  # no public name


def save_model(model: Any, base: Path, output: Path, chat_template: str | None = None) -> None:
    """Write a model folder: config, safetensors, the base's tokenizer files byte for byte, the template trained on."""
    model.save_pretrained(output)
    for name in TOKENIZER_FILES:
        if (base / name).is_file():
            shutil.copyfile(base / name, output / name)
    if chat_template is not None and load_tokenizer(base).chat_template != chat_template:
        (output / "chat_template.jinja").write_text(chat_template, encoding="utf-8")


def padding_id(tokenizer: Tokenizer) -> int:
    """An id to fill rows with. Any id will do: padding is told by its place, never by its id."""
    for candidate in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if candidate is not None:
            return candidate
    return 0


def stop_ids(model: Any, tokenizer: Tokenizer) -> list[int]:
    """Ids that end an answer: those of the generation config and the tokenizer's end of sequence."""
    configured = model.generation_config.eos_token_id if model.generation_config is not None else None
    ids = set(configured if isinstance(configured, list) else [configured])
    return sorted(token for token in {*ids, tokenizer.eos_token_id} if token is not None)


def stop_at(model: Any, tokenizer: Tokenizer, end_ids: Sequence[int]) -> None:
    """Have a model's generation end where the template ends an answer, and no user need know of it."""
    stops = sorted({*stop_ids(model, tokenizer), *end_ids})
    if model.generation_config is not None and stops:
        model.generation_config.eos_token_id = stops[0] if len(stops) == 1 else stops


def plain_generation(stops: list[int], fill: int, max_new_tokens: int) -> GenerationConfig:
    """Greedy decoding and nothing else: a model's own generation config may sample or penalise repetition."""
    return GenerationConfig(  # type: ignore[no-untyped-call]  # its constructor has no annotations
        do_sample=False, num_beams=1, max_new_tokens=max_new_tokens, eos_token_id=stops or None, pad_token_id=fill
    )


def longest_input(model: Any) -> int | None:
    """Most positions that the model knows, or None when its architecture has no limit."""
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return limit if isinstance(limit, int) and limit > 0 else None


def _threads() -> int:
    """Threads for one operation: OMP_NUM_THREADS where somebody set it, else the cores this process may run on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return min(int(wanted), cores) if wanted.isdigit() and int(wanted) > 0 else cores


def _compute_dtype(dtype: str, device: torch.device) -> torch.dtype:
    if dtype == "auto":
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if fast else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[dtype]
