"""Tokenizers of all kinds, made here and real ones, and texts that are hard to tokenise."""

import json
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from tasks.algorithms.tokens.edges import EDGE
from tasks.algorithms.tokens.encoding import TextEncoder
from tests.stages.making import byte_fallback, byte_level

REAL = Path(os.environ.get("FETTLE_REAL_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")) / "tokenizers"
NAMES = ("gpt2", "qwen_151k", "llama2_fast", "mistral_7b_v02", "bert_base_uncased")

FRAGMENTS = [
    *("the", "Capital", "of", "x", "don't", "'s", "’s", "naïve", "É", "e\u0301", "ß", "Ⅷ", "東京", "ไทย"),
    *("1", "2024", "3.14", "²", "\u200b", "\ufeff", "\u212a", "\u037e", "ﬁ", "İ", "\x01", "\x7f", "▁", "I'm"),
    *("😀", "👩‍👩‍👧", "«", "»", "“", "”", "—", "_", "a_b"),
    *(" ", " ", " ", "  ", "    ", "\n", "\n\n", "\r\n", "\t", "\u00a0", "\u3000", "\u2028", "\x85", " \u0301"),
    *(".", ",", "!?", "...", "(", ")", "{", "}", "#", "```", "<", ">", "/", "\\", "$", "^", "~", "==", "</", "://"),
    *("<s>", "</s>", "<unk>", "<|im_start|>", "<|im_end|>", "<|endoftext|>", "[CLS]", "[MASK]", "<S>", "<0x0A>"),
    *("def f(x):\n    return x", "\n- item", "Hello, world"),
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=12
)


def split_by(pattern: str) -> Tokenizer:
    """A byte-level BPE with a pattern of its own, as Llama 3 and Qwen have."""
    made = Tokenizer(models.BPE())
    byte_wise = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), byte_wise])
    made.normalizer = normalizers.NFC()
    trainer = trainers.BpeTrainer(
        vocab_size=350,
        special_tokens=["<s>", "<|im_start|>"],
        initial_alphabet=byte_wise.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(["the capital of the world, don't you say?\n\n  Hello, world 2024 ..."] * 3, trainer)
    return made


def word_piece() -> Tokenizer:
    """As BERT has it."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=120, special_tokens=["[UNK]", "[CLS]", "[MASK]"], show_progress=False
    )
    made.train_from_iterator(["the capital of the world, don't you say? hello world 2024 ..."] * 3, trainer)
    return made


def sentence_piece() -> Tokenizer:
    """As Llama 2 has it: no merge reaches over the end of a word."""
    made = json.loads(byte_fallback().to_str())
    model = made["model"]
    model["merges"] = [pair for pair in model["merges"] if not EDGE.search("".join(pair).replace("▁", " "))]
    return Tokenizer.from_str(json.dumps(made))


LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
KNOWN = {
    name: TextEncoder(tokenizer, {}, None)
    for name, tokenizer in {
        "byte level": byte_level(),
        "sentence piece": sentence_piece(),
        "llama 3": split_by(LLAMA_3),
        "word piece": word_piece(),
    }.items()
}


def real_tokenizers(folder: Path) -> dict[str, Tokenizer]:
    """Those that are unpacked into a folder; skips the test where there are none."""
    if not REAL.is_dir():
        pytest.skip(f"no real tokenizers: {REAL} is absent")
    for name in NAMES:
        with tarfile.open(REAL / f"{name}.tar.gz") as archive:
            archive.extractall(folder, filter="data")
    return {name: Tokenizer.from_file(str(folder / name / "tokenizer.json")) for name in NAMES}
