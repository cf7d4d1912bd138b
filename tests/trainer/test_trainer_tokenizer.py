"""The trainer's processes tokenise as the stages do, whatever class a tokenizer's settings name."""

import os
import tarfile
from pathlib import Path

import pytest

from tasks.algorithms.tokens.encoding import load_encoder
from tasks.artifacts.resource import read_resource
from tasks.trainer.models import load_tokenizer
from tests.stages.making import byte_fallback, byte_level, tokenizer_files

DATA = Path(os.environ.get("FETTLE_REAL_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
TEXTS = [
    "hello world",
    " leading blank",
    "  two",
    "a\n\n b",
    "<s>hello</s> again",
    "<s>[INST] hi [/INST] there </s><s>[INST] x",
    "<|im_start|>user\nhi<|im_end|>\n",
    "</s>\n",
    "héé 汉字 😀",
]


def assert_same_ids(folder: Path) -> None:
    trainers, stages = load_tokenizer(folder), load_encoder(read_resource(str(folder))).tokenizer
    for text in TEXTS:
        assert trainers.encode(text, add_special_tokens=False) == stages.encode(text, add_special_tokens=False).ids


def test_made_tokenizers_give_the_same_ids(tmp_path: Path) -> None:
    tokenizer_files(tmp_path / "spaces", byte_fallback(), tokenizer_class="LlamaTokenizer", unk_token="<unk>")
    tokenizer_files(tmp_path / "bytes", byte_level(), tokenizer_class="GPT2Tokenizer")
    assert_same_ids(tmp_path / "spaces")
    assert_same_ids(tmp_path / "bytes")


@pytest.mark.parametrize("name", ["gpt2", "llama2_fast", "mistral_7b_v02", "qwen_151k", "bert_base_uncased"])
def test_real_tokenizers_give_the_same_ids(name: str, tmp_path: Path) -> None:
    """Llama 2's and Mistral's do not, as AutoTokenizer reads them: at blanks in front, and behind control tokens."""
    if not DATA.is_dir():
        pytest.skip(f"no real data: {DATA} is absent")
    with tarfile.open(DATA / "tokenizers" / f"{name}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    assert_same_ids(tmp_path / name)
