"""Hashed words are the words of `tasks.conversation.words`, whatever the text and however Arrow holds it."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.algorithms.word_hashes import word_hashes
from tasks.conversation import words

TEXTS = [
    "",
    "Hello, WORLD! it's big_city_7",
    "東京タワー is 333m",
    "ΣΊΣΥΦΟΣ σίσυφος",
    "İstanbul",
    "𝔘nicode 😀 ñandú",
    "ไทย a",
]


def known(*texts: str) -> dict[str, int]:
    """The hash of each word, asked for one at a time."""
    every = sorted({word for text in texts for word in words(text)})
    return {word: int(word_hashes(pa.array([word])).hashes[0]) for word in every}


def test_hashes_are_those_of_the_words_in_order() -> None:
    found = word_hashes(pa.array(TEXTS))
    hash_of = known(*TEXTS)
    for index, text in enumerate(TEXTS):
        here = found.hashes[found.offsets[index] : found.offsets[index + 1]].tolist()
        assert here == [hash_of[word] for word in words(text)], text
    assert len(set(hash_of.values())) == len(hash_of)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5))
def test_any_text_has_the_words_that_python_finds(texts: list[str]) -> None:
    found = word_hashes(pa.array(texts, pa.string()))
    assert (found.offsets[1:] - found.offsets[:-1]).tolist() == [len(words(text)) for text in texts]
    hash_of = known(*texts)
    assert found.hashes.tolist() == [hash_of[word] for text in texts for word in words(text)]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_every_layout_of_arrow_gives_the_same(kind: pa.DataType) -> None:
    plain = word_hashes(pa.array(["two words", "", "three words here"]))
    sliced = pa.array(["before", "two words", None, "three words here", "after"], kind).slice(1, 3)
    chunked = pa.chunked_array([["two words", ""], ["three words here"]], kind)
    for texts in (sliced, chunked):
        found = word_hashes(texts)
        assert (found.hashes.tolist(), found.offsets.tolist()) == (plain.hashes.tolist(), plain.offsets.tolist())


def test_a_hash_is_the_same_on_every_machine() -> None:
    assert word_hashes(pa.array(["Fettle"])).hashes.tolist() == [0xE07B5A750B80F772]
