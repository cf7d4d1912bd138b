"""Token counts are those of the tokenizer itself, whatever the text and whichever way they are found."""

import unicodedata
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from tasks.algorithms.tokens import encoding, piece_store
from tasks.algorithms.tokens.arrays import Ranges
from tasks.algorithms.tokens.edges import parts_at_edges
from tasks.algorithms.tokens.encoding import TextEncoder
from tasks.algorithms.tokens.plain_tokens import are_equal, plain_tokens
from tasks.artifacts.store import Store
from tasks.curation import curate
from tasks.deduplication import DeduplicationConfig, deduplicate
from tasks.filters import CurationConfig
from tasks.filters.leftovers import Leftovers
from tasks.filters.length import Length
from tasks.ingestion import IngestionConfig, ingest
from tasks.mixing import MixingConfig, mix
from tasks.tokenization import TokenizationConfig, tokenize
from tests.algorithms.encoders import KNOWN, LLAMA_3, NAMES, TEXTS, real_tokenizers, sentence_piece, split_by
from tests.stages.making import byte_level, pair, source, tokenizer_files


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
    tokenizers = real_tokenizers(tmp_path_factory.mktemp("tokenizers"))
    return {name: TextEncoder(tokenizer, {}, None) for name, tokenizer in tokenizers.items()}


@pytest.mark.parametrize("name", NAMES)
def test_counts_are_those_of_real_tokenizers(name: str, real: dict[str, TextEncoder]) -> None:
    encoder = real[name]
    assert parts_at_edges(encoder.tokenizer)

    @given(st.lists(TEXTS, min_size=20, max_size=40))
    def same(texts: list[str]) -> None:
        assert encoder.count(texts).tolist() == own_counts(encoder.tokenizer, texts)

    same()


def test_pieces_that_no_longer_fit_are_counted_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(piece_store, "FEWEST_SLOTS", 2)
    monkeypatch.setattr(piece_store, "MOST_SLOTS", 16)
    encoder = TextEncoder(byte_level(), {}, None)
    for start in range(0, 60, 3):
        texts = [f"word{number} and{number} the w{number % 7}" for number in range(start, start + 3)]
        assert encoder.count(pa.array(texts)).tolist() == own_counts(byte_level(), texts)


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


def test_added_tokens_are_counted_whatever_they_take_in() -> None:
    tokenizer = byte_level()
    tokenizer.add_tokens(
        [
            AddedToken("of France", normalized=False),
            AddedToken("<tab>", rstrip=True, normalized=False),
            AddedToken("yes", single_word=True, normalized=False),
        ]
    )
    texts = ["the capital of France is", "the capital of Spain", "a <tab>  b", "x<|im_end|>y", "yes", "yesterday yes"]
    assert TextEncoder(tokenizer, {}, None).count(texts).tolist() == own_counts(tokenizer, texts)


METASPACE = changed(sentence_piece(), normalizer=normalizers.Sequence([]), pre_tokenizer=pre_tokenizers.Metaspace())


@pytest.mark.parametrize(
    ("tokenizer", "form", "opening"),
    [
        (byte_level(), None, ""),
        (split_by(LLAMA_3), "NFC", ""),
        (sentence_piece(), None, " "),
        (METASPACE, None, " "),
    ],
    ids=["byte level", "composing", "sentence piece", "metaspace"],
)
@given(TEXTS.filter(lambda text: "▁" not in text and "<" not in text))
def test_ids_spell_the_text(tokenizer: Tokenizer, form: Literal["NFC"] | None, opening: str, text: str) -> None:
    spelling = TextEncoder(tokenizer, {}, None).spelling
    assert spelling
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    spelled = b"".join(bytes(spelling.data[slice(*spelling.offsets[each : each + 2])]) for each in ids).decode()
    wanted = unicodedata.normalize(form, text) if form else text
    assert spelled in (wanted, opening + wanted)


def merging() -> Tokenizer:
    """A byte-level BPE without a pattern: it joins a word's last letter to the space behind it."""
    control = ["<s>", "</s>"]
    spellings = [*control, *sorted(pre_tokenizers.ByteLevel.alphabet()), "eĠ"]
    made = Tokenizer(models.BPE({each: number for number, each in enumerate(spellings)}, [("e", "Ġ")]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.add_special_tokens(control)
    return made


def test_a_batch_on_which_the_fast_way_differs_is_made_anew_by_the_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "parts_at_edges", lambda _: True)
    encoder = TextEncoder(merging(), {}, None)
    plain = Ranges(np.zeros(3, np.int64), np.empty(0, np.int64), np.empty(0, np.int64))
    for texts, notes in ((["one", "two"], 0), (["the end", "the capital of the world."], 1), (["the", "the end"], 1)):
        made = encoder.tokens(pa.array(texts, pa.large_string()), plain)
        assert are_equal(made, plain_tokens(encoder.tokenizer, texts))
        assert len(encoder.notes) == notes
    assert "differed" in encoder.notes[0]


def test_a_run_on_which_the_fast_way_differs_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(str(tmp_path / "store"))
    store.probe()
    rows = [pair(f"What is the capital of {each}?", f"The end of {each}.") for each in ("the world", "the sea")]
    given = tokenizer_files(tmp_path / "tokenizer", merging())
    ingested = ingest(store, IngestionConfig(heldout_fraction=0), [source(tmp_path / "faq.jsonl", rows)])
    lengths = Length(prompt_tokens=(0, 9999), answer_tokens=(0, 9999))
    curated = curate(store, CurationConfig(length=lengths, leftovers=Leftovers(enabled=False)), ingested, given)
    mixed = mix(store, MixingConfig(), deduplicate(store, DeduplicationConfig(), curated, []))
    config = TokenizationConfig(max_length=256, packing=False)
    quiet = tokenize(store, config, mixed, given)
    monkeypatch.setattr(encoding, "parts_at_edges", lambda _: True)
    told = tokenize(store, config.model_copy(update={"seed": 1}), mixed, given)
    assert sorted(row["input_ids"] for row in store.rows(told, "sequences")) == sorted(
        row["input_ids"] for row in store.rows(quiet, "sequences")
    )
    assert [each for each in told.warnings if "fast tokenisation differed" in each]
    assert not [each for each in quiet.warnings if "fast tokenisation differed" in each]
