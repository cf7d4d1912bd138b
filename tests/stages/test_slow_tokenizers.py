"""Tokenizers without a tokenizer.json: what their files say is what every stage reads, or the run ends before it."""

import io
import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from tasks.algorithms.tokens.encoding import load_encoder
from tasks.artifacts.resource import Resource, ResourceError, read_resource
from tasks.trainer import tokenizer_conversion
from tasks.trainer.tokenizer_conversion import ConversionJob, convert, converted
from tests.stages.making import byte_level

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("FETTLE_REAL_DATA", ROOT.parent / "shared" / "data"))
TEXTS = [
    *(line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if "|>" not in line),
    " leading blank",
    "two  blanks  \n\n\tand a tab",
    "Žluťoučký kůň 汉字和假名カナ 😀👩‍👩‍👧 ½ ≠ ²",
]


def folder(path: Path, **files: str | bytes | dict[str, Any]) -> Resource:
    """A folder of files, whose names have __ for a dot."""
    path.mkdir(parents=True)
    for name, content in files.items():
        text = json.dumps(content) if isinstance(content, dict) else content
        (path / name.replace("__", ".")).write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_resource(str(path))


def listed(tokenizer: dict[str, Any]) -> dict[str, Any]:
    """The vocabulary and merges of a fast tokenizer as slow ones were saved."""
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in tokenizer["model"]["merges"]]
    return {"vocab__json": tokenizer["model"]["vocab"], "merges__txt": "\n".join(["#version: 0.2", *merges, ""])}


GPT2 = {"tokenizer_class": "GPT2Tokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not DATA.is_dir():
        pytest.skip(f"no real data: {DATA} is absent")
    made = tmp_path_factory.mktemp("real")
    for name in ("gpt2", "bert_base_uncased"):
        with tarfile.open(DATA / "tokenizers" / f"{name}.tar.gz") as archive:
            archive.extractall(made, filter="data")
    return made


def read(tokenizer: Resource) -> Tokenizer:
    return load_encoder(tokenizer).tokenizer


def assert_same_ids(one: Tokenizer, other: Tokenizer) -> None:
    for text in TEXTS:
        assert one.encode(text, add_special_tokens=False).ids == other.encode(text, add_special_tokens=False).ids, text


def test_vocabulary_and_merges_become_the_same_byte_level_tokenizer(tmp_path: Path) -> None:
    fast = byte_level()
    slow = folder(tmp_path / "slow", **listed(json.loads(fast.to_str())), tokenizer_config__json=GPT2)
    made = converted(slow, tmp_path / "made")
    assert set(made.files) == {*slow.files, "tokenizer.json", "special_tokens_map.json"}
    assert slow.files.items() <= made.files.items()
    assert_same_ids(read(made), fast)
    assert load_encoder(made).eos == "</s>"


def test_the_same_files_give_the_same_bytes_and_are_converted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = listed(json.loads(byte_level().to_str()))
    one, two = (folder(tmp_path / name, **files, tokenizer_config__json=GPT2) for name in ("one", "two"))
    first, second = converted(one, tmp_path / "here"), converted(two, tmp_path / "there")
    assert first.files == second.files
    assert first.content == second.content
    monkeypatch.setattr(tokenizer_conversion.launch, "run", lambda *_, **__: pytest.fail("it was converted again"))
    assert converted(one, tmp_path / "here") == first
    monkeypatch.undo()
    shutil.rmtree(tmp_path / "one")  # what the links point to
    assert converted(two, tmp_path / "here").files == first.files


def test_a_fast_tokenizer_is_left_as_it_is(tokenizer: Resource, tmp_path: Path) -> None:
    assert converted(tokenizer, tmp_path / "made") is tokenizer
    assert not (tmp_path / "made").exists()


def test_real_gpt2_and_bert_files_give_the_ids_of_their_fast_forms(real: Path, tmp_path: Path) -> None:
    fast = json.loads((real / "gpt2" / "tokenizer.json").read_text())
    gpt2 = converted(folder(tmp_path / "gpt2", **listed(fast), config__json={"model_type": "gpt2"}), tmp_path / "made")
    assert_same_ids(read(gpt2), read(read_resource(str(real / "gpt2"))))
    assert load_encoder(gpt2).eos == "<|endoftext|>"
    vocabulary = (real / "bert_base_uncased" / "vocab.txt").read_text()
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    bert = converted(
        folder(tmp_path / "bert", vocab__txt=vocabulary, tokenizer_config__json=settings), tmp_path / "made"
    )
    assert_same_ids(read(bert), read(read_resource(str(real / "bert_base_uncased"))))


def sentence_piece(**settings: Any) -> bytes:
    trainer = pytest.importorskip("sentencepiece").SentencePieceTrainer
    written = io.BytesIO()
    lines = [line for line in TEXTS if line.strip()]
    trainer.train(
        sentence_iterator=iter(lines), model_writer=written, num_threads=1, minloglevel=2, vocab_size=700, **settings
    )
    return written.getvalue()


LLAMA = {
    "model_type": "bpe",
    "byte_fallback": True,
    "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False,
    "unk_id": 0,
    "bos_id": 1,
    "eos_id": 2,
    "pad_id": -1,
}
T5 = {"model_type": "unigram", "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}


@pytest.mark.parametrize(
    ("architecture", "settings", "trained"),
    [
        ("llama", {"tokenizer_class": "LlamaTokenizer", "eos_token": "</s>"}, LLAMA),
        ("llama", {"tokenizer_class": "LlamaTokenizer", "legacy": False}, LLAMA),
        ("llama", {"tokenizer_class": "LlamaTokenizer"}, LLAMA | {"add_dummy_prefix": False}),
        ("mistral", {"tokenizer_class": "LlamaTokenizer"}, LLAMA),
        ("olmo2", {"tokenizer_class": "PreTrainedTokenizerFast"}, LLAMA),
        ("t5", {"tokenizer_class": "T5Tokenizer", "extra_ids": 0}, T5),
    ],
)
def test_a_sentencepiece_model_gives_the_ids_of_sentencepiece(
    tmp_path: Path, architecture: str, settings: dict[str, Any], trained: dict[str, Any]
) -> None:
    """transformers' own reading of the second and fourth differs from it: at blanks in front, or everywhere."""
    model = sentence_piece(**trained)
    name = "spiece__model" if architecture == "t5" else "tokenizer__model"
    files = {name: model, "config__json": {"model_type": architecture}, "tokenizer_config__json": settings}
    slow = folder(tmp_path / "slow", **files)
    convert(ConversionJob(tokenizer=slow.folder, output=tmp_path / "slow"))
    from sentencepiece import SentencePieceProcessor

    made, known = read_resource(str(tmp_path / "slow")), SentencePieceProcessor(model_proto=model)
    for text in TEXTS:
        assert read(made).encode(text, add_special_tokens=False).ids == known.encode(text), text
    assert load_encoder(made).eos == "</s>"


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            {"vocab__json": b'{"a":', "merges__txt": "", "config__json": {"model_type": "gpt2"}},
            "config.json, merges.txt",
        ),
        ({"qwen__tiktoken": "IQ== 0", "config__json": {"model_type": "qwen"}}, "config.json, qwen.tiktoken"),
        ({"tokenizer__model": b"none", "config__json": {"model_type": "llama"}}, "config.json, tokenizer.model"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, files: dict[str, Any], words: str) -> None:
    if "tokenizer__model" in files:
        pytest.importorskip("sentencepiece")
    with pytest.raises(ValueError, match=f"transformers cannot read {words}"):
        convert(ConversionJob(tokenizer=folder(tmp_path / "slow", **files).folder, output=tmp_path / "out"))


def test_a_run_hears_what_cannot_be_converted_and_what_to_do(tmp_path: Path) -> None:
    slow = folder(tmp_path / "slow", qwen__tiktoken="IQ== 0", config__json={"model_type": "qwen"})
    with pytest.raises(ResourceError, match=r"has no tokenizer.json, and none could be made.*qwen.*save_pretrained"):
        converted(slow, tmp_path / "made")
    assert list((tmp_path / "made").iterdir()) == []


def test_packages_that_are_not_installed_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = folder(tmp_path / "slow", tokenizer__model=b"model", config__json={"model_type": "llama"})
    monkeypatch.setattr(tokenizer_conversion, "find_spec", lambda _: None)
    with pytest.raises(
        ValueError, match=r"tokenizer\.model is a SentencePiece model.*pip install sentencepiece protobuf"
    ):
        convert(ConversionJob(tokenizer=slow.folder, output=tmp_path / "out"))


def test_a_form_that_splits_otherwise_than_sentencepiece_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = sentence_piece(**LLAMA)
    slow = folder(tmp_path / "slow", tokenizer__model=model, config__json={"model_type": "llama"})
    monkeypatch.setattr(tokenizer_conversion, "_forms", lambda *_: iter([byte_level()]))
    with pytest.raises(ValueError, match=r"transformers would split .The capital of .* SentencePiece splits it into"):
        convert(ConversionJob(tokenizer=slow.folder, output=tmp_path / "out"))
    assert not (tmp_path / "out").exists()
