"""Small inputs for the data stages: tokenizers, sources, benchmarks."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from tasks.artifacts.resource import Resource, read_resource
from tasks.benchmarks import BenchmarkSource
from tasks.conversation import Role
from tasks.formats.mapping import FieldMap
from tasks.ingestion import Source

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{{ message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate user/assistant') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% else %}{{ message['content'] + eos_token }}{% endif %}{% endfor %}"
)
_SPECIAL = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
_CORPUS = [
    "The capital of France is Paris. What is the fee of the card? It is four dollars and fifty cents.",
    "### Instruction:\nName a colour.\n\n### Response:\nBlue is one of the colours that people name first.",
    "def add(a, b):\n    return a + b\n",
    "user assistant system question answer please open the app and tap on settings to freeze your card",
] * 3


def byte_level() -> Tokenizer:
    """A byte-level BPE of 400 tokens, as GPT-2 has."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        _CORPUS,
        trainers.BpeTrainer(vocab_size=400, special_tokens=_SPECIAL, initial_alphabet=alphabet, show_progress=False),
    )
    return made


def byte_fallback() -> Tokenizer:
    """A SentencePiece-like BPE: spaces as ▁, one in front, unknown characters as their bytes."""
    normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizer
    trained.train_from_iterator(
        [line for text in _CORPUS for line in text.splitlines()],
        trainers.BpeTrainer(vocab_size=250, special_tokens=_SPECIAL, show_progress=False),
    )
    model = json.loads(trained.to_str())["model"]
    vocabulary = dict(model["vocab"])
    for byte in range(256):
        vocabulary[f"<0x{byte:02X}>"] = len(vocabulary)
    merges = [tuple(merge) for merge in model["merges"]]
    made = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.normalizer = normalizer
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    made.add_special_tokens(_SPECIAL)
    return made


def tokenizer_files(
    folder: Path, tokenizer: Tokenizer, *, template: str | None = None, positions: int | None = None, **settings: Any
) -> Resource:
    """A tokenizer as a model folder holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    known = {"bos_token": "<s>", "eos_token": "</s>", **settings}
    (folder / "tokenizer_config.json").write_text(json.dumps(known | ({"chat_template": template} if template else {})))
    if positions is not None:
        (folder / "config.json").write_text(json.dumps({"max_position_embeddings": positions}))
    return read_resource(str(folder))


def source(
    path: Path, rows: Sequence[dict[str, Any]] | bytes, role: Role = "domain", fields: FieldMap | None = None
) -> Resource:
    """A source of one file, written as JSON lines unless it is bytes already."""
    data = rows if isinstance(rows, bytes) else "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    declared = Source(name=path.stem, uri=str(path), role=role, map=fields)
    return read_resource(declared.uri, facts=declared.reading())


def benchmark(path: Path, rows: Sequence[dict[str, Any]], **settings: Any) -> Resource:
    """A benchmark of one JSON-lines file."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    declared = BenchmarkSource(name=path.stem, uri=str(path), **settings)
    return read_resource(declared.uri, facts=declared.reading())


def prose(seed: int, count: int) -> str:
    """Different words for each seed."""
    return " ".join(f"w{seed}x{number}" for number in range(count))


def pair(prompt: str, answer: str) -> dict[str, str]:
    """A row of one question and its answer."""
    return {"question": prompt, "answer": answer}


def chat(*texts: str, system: str = "") -> dict[str, Any]:
    """A row of user and assistant in turn."""
    turns = [{"role": "assistant" if n % 2 else "user", "content": text} for n, text in enumerate(texts)]
    return {"messages": ([{"role": "system", "content": system}] if system else []) + turns}
