"""`python -m tasks.trainer.tokenizer_conversion job.json`: a `tokenizer.json` for a folder that has none.

Tokenizers once saved by slow classes (SentencePiece's `*.model`, `vocab.json` with `merges.txt`, `vocab.txt`) are read
by transformers in a process of its own, and what comes of them is compared with SentencePiece's own ids, or with the
vocabulary as it is listed.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tasks.artifacts.fingerprint import digest
from tasks.artifacts.resource import Resource, ResourceError, read_bytes, read_resource
from tasks.config import Config
from tasks.trainer import child, launch

MODULE = "tasks.trainer.tokenizer_conversion"
VERSION = 1
"""Raised when what a conversion gives changes by this module's own rules."""
READERS = ("transformers", "tokenizers", "sentencepiece", "protobuf")
"""The packages whose versions decide what a conversion gives."""
SAMPLES = (
    "The capital of France is Paris, isn't it?",
    " a leading blank, two  blanks, a tab\tand\n\nline breaks\n",
    "def add(a, b):\n    return a + b  # 12,345.678\n",
    "Žluťoučký kůň; naïve café; ½ ≠ ²; e\u0301",
    "汉字和假名カナ 한국어 मानक العربية",
    '😀👩‍👩‍👧 🇨🇿 <tag> &amp; {"key": [1, 2]}',
    "ALL CAPS, camelCase, snake_case, https://example.org/?q=1",
    "x",
)
"""Texts that both forms must tokenise alike: words, blanks, code, accents, other scripts, emoji."""


class ConversionJob(Config):
    """What the process is told. All paths are local."""

    tokenizer: Path
    """Folder of the tokenizer's files and the model's `config.json`."""

    output: Path
    """Folder for what is made."""


def converted(model: Resource, folder: Path) -> Resource:
    """The model with a `tokenizer.json`: itself where it has one, else links to its files beside one made of them.

    The links stand below `folder`, which keeps them: the same files, read by the same packages, are converted once.
    The same files give the same bytes, so what is made of them has the same identity wherever it was made.
    """
    if "tokenizer.json" in model.files:
        return model
    versions = {"rules": VERSION, **{name: _version(name) for name in READERS}}
    target = folder.resolve() / digest({"files": model.files, "versions": versions})[:32]
    if not _holds(target, model):
        _make(model, folder, target)
        if not _holds(target, model):
            raise ResourceError(f"{model.uri} changed while its tokenizer was converted; run again")
    return read_resource(str(target), facts=model.facts)


def _holds(target: Path, model: Resource) -> bool:
    """Whether the folder holds the model's very files; its links may lead to a folder that has changed since."""
    if not all((target / name).is_file() for name in (*model.files, "tokenizer.json")):
        return False
    there = read_resource(str(target)).files
    return all(there.get(name) == known for name, known in model.files.items())


def _make(model: Resource, folder: Path, target: Path) -> None:
    """Whole or not at all; where another run was faster, its equal bytes stay."""
    source = model.folder
    shutil.rmtree(target, ignore_errors=True)  # links to a folder that is gone
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="making-", dir=folder) as temporary:
        made = Path(temporary) / "made"
        _run(model, Path(temporary), made)
        for name in set(model.files) - {path.name for path in made.iterdir()}:
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            (made / name).symlink_to((source / name).resolve())
        try:
            os.rename(made, target)
        except OSError:
            if not target.is_dir():
                raise


def _run(model: Resource, folder: Path, made: Path) -> None:
    given = folder / "given"
    given.mkdir()
    for name in model.files:
        if "/" not in name and not name.endswith((".safetensors", ".safetensors.index.json")):
            (given / name).write_bytes(read_bytes(model, name))
    job = ConversionJob(tokenizer=given, output=made)
    try:
        launch.run(MODULE, job, folder=folder / "job", on_event=lambda _: None, on_line=lambda _: None)
    except launch.TrainerFailed as failure:
        raise ResourceError(
            f"{model.uri} has no tokenizer.json, and none could be made of its files: {failure.message} Convert it "
            "where it works, see that its ids are right, and keep the result beside the model: "
            "AutoTokenizer.from_pretrained(…).save_pretrained(…)."
        ) from failure


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def convert(job: ConversionJob) -> None:
    """Read, compare and write."""
    _refuse_missing_packages(job.tokenizer)
    tokenizer = _load(job.tokenizer)
    backend = _checked(job.tokenizer, tokenizer)
    backend.no_padding()
    backend.no_truncation()
    job.output.mkdir(parents=True, exist_ok=True)
    (job.output / "tokenizer.json").write_text(backend.to_str(pretty=True), encoding="utf-8")
    if not (job.tokenizer / "special_tokens_map.json").is_file():
        named = {name: text for name, text in sorted(tokenizer.special_tokens_map.items()) if isinstance(text, str)}
        written = json.dumps(named, indent=2, ensure_ascii=False)
        (job.output / "special_tokens_map.json").write_text(written, encoding="utf-8")


def _refuse_missing_packages(folder: Path) -> None:
    models = sorted(path.name for path in folder.glob("*.model"))
    if models and not all(map(_is_installed, ("sentencepiece", "google.protobuf"))):
        raise ValueError(
            f"{models[0]} is a SentencePiece model, which is read with packages that are not installed: "
            "pip install sentencepiece protobuf."
        )


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package around it
        return False


def _load(folder: Path) -> Any:
    from transformers import AutoTokenizer
    from transformers.utils import logging

    quiet: Any = logging  # its functions have no annotations
    quiet.set_verbosity_error()
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        files = ", ".join(sorted(path.name for path in folder.iterdir()))
        told = " ".join(str(error).split()).replace(str(folder), "there")
        raise ValueError(f"transformers cannot read {files}: {told[:200]}.") from error
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise ValueError(f"{type(tokenizer).__name__} is written in Python and has no fast form.")
    return tokenizer


def _checked(folder: Path, tokenizer: Any) -> Any:
    """The fast form, once it says what the files say."""
    if models := sorted(folder.glob("*.model")):
        return _as_sentence_piece(models[0], tokenizer)
    if (folder / "vocab.json").is_file():
        fault = _unlike_list(json.loads((folder / "vocab.json").read_text(encoding="utf-8")), tokenizer)
        fault = fault or _unlike_itself(tokenizer.backend_tokenizer)
    elif (folder / "vocab.txt").is_file():
        lines = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
        fault = _unlike_list({line.rstrip("\r"): number for number, line in enumerate(lines) if line}, tokenizer)
    else:
        fault = "there is no *.model, vocab.json or vocab.txt to compare it with."
    if fault:
        raise ValueError(fault)
    return tokenizer.backend_tokenizer


def _as_sentence_piece(model: Path, tokenizer: Any) -> Any:
    """The first form that splits the samples as SentencePiece does.

    transformers 5 reads models of the Llama family with one rule for the blank in front of a text, which is not that
    of all of them; the other form writes blanks as SentencePiece's plainest models do.
    """
    from sentencepiece import SentencePieceProcessor

    slow: Any = SentencePieceProcessor(model_file=str(model))
    faults = []
    for form in _forms(tokenizer.backend_tokenizer, slow):
        fault = _unlike_pieces(slow, form)
        if not fault:
            return form
        faults.append(fault)
    raise ValueError(faults[0])


def _forms(backend: Any, slow: Any) -> Iterator[Any]:
    from tokenizers import Tokenizer

    yield backend
    state = json.loads(backend.to_str())
    if state["model"]["type"] == "BPE":
        in_front = slow.encode("x", out_type=str)[0].startswith("▁")
        steps: list[dict[str, Any]] = [{"type": "Prepend", "prepend": "▁"}] if in_front else []
        steps.append({"type": "Replace", "pattern": {"String": " "}, "content": "▁"})
        undo: list[dict[str, Any]] = [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
        ]
        if in_front:
            undo.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
        state["normalizer"] = {"type": "Sequence", "normalizers": steps}
        state["pre_tokenizer"] = None
        state["decoder"] = {"type": "Sequence", "decoders": undo}
        yield Tokenizer.from_str(json.dumps(state))


def _unlike_pieces(slow: Any, form: Any) -> str | None:
    """How the form differs from SentencePiece; pieces are compared, as some architectures number them anew."""
    unknown = slow.id_to_piece(slow.unk_id())
    for text in SAMPLES:
        ids = slow.encode(text)
        pieces = [slow.id_to_piece(each) for each in ids]
        found = form.encode(text, add_special_tokens=False).tokens
        if [each if slow.piece_to_id(each) != slow.unk_id() else unknown for each in found] != pieces:
            return f"transformers would split {text!r} into {found}, and SentencePiece splits it into {pieces}."
    return None


def _unlike_list(listed: dict[str, int], tokenizer: Any) -> str | None:
    vocabulary = tokenizer.backend_tokenizer.get_vocab(with_added_tokens=True)
    wrong = [(token, number) for token, number in listed.items() if vocabulary.get(token) != number]
    if not wrong:
        return None
    token, number = wrong[0]
    return (
        f"{token!r} is listed with the id {number} and would have {vocabulary.get(token)} ({len(wrong)} such tokens)."
    )


def _unlike_itself(backend: Any) -> str | None:
    for text in SAMPLES:
        found = backend.decode(backend.encode(text, add_special_tokens=False).ids, skip_special_tokens=False)
        if found.removeprefix(" ") != text.removeprefix(" "):
            return f"the tokens of {text!r} would spell {found!r}."
    return None


if __name__ == "__main__":
    child.main(ConversionJob, convert)
