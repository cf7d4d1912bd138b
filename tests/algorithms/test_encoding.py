"""Token counts are those of the tokenizer itself, whatever the text and whichever way they are found."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from tasks.algorithms.tokens import piece_store
from tasks.algorithms.tokens.edges import parts_at_edges
from tasks.algorithms.tokens.encoding import TextEncoder
from tests.algorithms.encoders import KNOWN, NAMES, TEXTS, real_tokenizers, split_by
from tests.stages.making import byte_level


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
