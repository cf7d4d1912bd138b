"""Token counts are those of the tokenizer itself, whatever the text and whichever way they are found."""

import json
import os
import tarfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from tasks.algorithms import token_counts
from tasks.algorithms.encoding import TextEncoder
from tasks.algorithms.token_edges import EDGE, parts_at_edges, stretching_tokens
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


def own_counts(tokenizer: Tokenizer, texts: list[str]) -> list[int]:
    return [len(each) for each in tokenizer.encode_batch(texts, add_special_tokens=False)]


@pytest.mark.parametrize("name", KNOWN)
@given(st.lists(TEXTS, max_size=6))
def test_counts_are_those_of_the_tokenizer(name: str, texts: list[str]) -> None:
    wanted = own_counts(KNOWN[name].tokenizer, texts)
    assert KNOWN[name].count(texts).tolist() == wanted
    # Once more, when every piece is known, and from Arrow.
    assert KNOWN[name].count(pa.array(texts, pa.string())).tolist() == wanted


@pytest.mark.parametrize("name", KNOWN)
def test_tokenizers_of_the_usual_kinds_part_at_edges(name: str) -> None:
    assert parts_at_edges(KNOWN[name].tokenizer)


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TextEncoder]:
    if not REAL.is_dir():
        pytest.skip(f"no real tokenizers: {REAL} is absent")
    folder = tmp_path_factory.mktemp("tokenizers")
    for name in NAMES:
        with tarfile.open(REAL / f"{name}.tar.gz") as archive:
            archive.extractall(folder, filter="data")
    files = {name: str(folder / name / "tokenizer.json") for name in NAMES}
    return {name: TextEncoder(Tokenizer.from_file(file), {}, None) for name, file in files.items()}


@pytest.mark.parametrize("name", NAMES)
def test_counts_are_those_of_real_tokenizers(name: str, real: dict[str, TextEncoder]) -> None:
    encoder = real[name]
    assert parts_at_edges(encoder.tokenizer)

    @given(st.lists(TEXTS, min_size=20, max_size=40))
    def same(texts: list[str]) -> None:
        assert encoder.count(texts).tolist() == own_counts(encoder.tokenizer, texts)

    same()


def test_pieces_that_no_longer_fit_are_counted_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_counts, "_FEWEST_SLOTS", 2)
    monkeypatch.setattr(token_counts, "_MOST_SLOTS", 16)
    counts = token_counts.TokenCounts(byte_level())
    for start in range(0, 60, 3):
        texts = [f"word{number} and{number} the w{number % 7}" for number in range(start, start + 3)]
        assert counts(pa.array(texts)).tolist() == own_counts(byte_level(), texts)


def changed(tokenizer: Tokenizer, **parts: object) -> Tokenizer:
    made = Tokenizer.from_str(tokenizer.to_str())
    for name, part in parts.items():
        setattr(made, name, part)
    return made


@pytest.mark.parametrize(
    "tokenizer",
    [
        changed(byte_level(), pre_tokenizer=pre_tokenizers.Sequence([])),
        changed(byte_level(), pre_tokenizer=pre_tokenizers.WhitespaceSplit()),
        changed(byte_level(), normalizer=normalizers.Strip()),
        changed(byte_level(), normalizer=normalizers.Replace("the", "a")),
        split_by(r"[a-z ]+|\s+(?!\S)|\s+"),
        Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]")),
    ],
    ids=["no splitter", "spaces only", "strip", "replace", "own pattern", "word level"],
)
def test_tokenizers_that_nobody_looked_at_are_asked_for_whole_texts(tokenizer: Tokenizer) -> None:
    assert not parts_at_edges(tokenizer)
    texts = ["the capital of  the world.", " the"]
    assert TextEncoder(tokenizer, {}, None).count(texts).tolist() == own_counts(tokenizer, texts)


def test_texts_with_a_token_that_stretches_over_an_edge_are_counted_whole() -> None:
    tokenizer = byte_level()
    tokenizer.add_tokens(
        [AddedToken("of France", normalized=False), AddedToken("<tab>", rstrip=True, normalized=False)]
    )
    assert set(stretching_tokens(tokenizer)) >= {"of France", "<tab>", "<|im_end|>"}
    texts = ["the capital of France is", "the capital of Spain", "a <tab>  b", "x<|im_end|>y"]
    assert TextEncoder(tokenizer, {}, None).count(texts).tolist() == own_counts(tokenizer, texts)
