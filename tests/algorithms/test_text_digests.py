"""Digests are equal for texts that are equal but for capitals and white space, whatever the script."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tasks.algorithms.text_digests import groups, text_digests

TEXTS = [
    "",
    " ",
    "Yes.",
    "yes",
    "YES",
    "Straße",
    "STRASSE",
    "ﬃ",
    "ffi",
    "İ",
    "i̇",
    "a b",
    " a\u3000B\n",
    "ab",
    "😀",
    "𐐀",
    "𐐨",
    "ΐ",
]


def plain(text: str) -> str:
    return " ".join(text.casefold().split())


def same(texts: list[str]) -> list[list[bool]]:
    digests = text_digests(pa.array(texts, pa.string())).tolist()
    return [[left == right for right in digests] for left in digests]


def test_digests_are_equal_where_the_normalised_texts_are() -> None:
    assert same(TEXTS) == [[plain(left) == plain(right) for right in TEXTS] for left in TEXTS]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), max_size=8))
def test_any_text_is_normalised_as_python_does(texts: list[str]) -> None:
    texts = [*texts, *map(str.upper, texts), *(f"\t{text} " for text in texts)]
    assert same(texts) == [[plain(left) == plain(right) for right in texts] for left in texts]


def test_only_texts_that_several_have_are_a_group() -> None:
    texts = pa.array(["b", "a", "B", "", "c", " a", ""])
    found = groups(text_digests(texts), np.array([not text for text in texts.to_pylist()])).tolist()
    assert found[0] == found[2]
    assert found[1] == found[5]
    assert sorted({found[0], found[1]}) == [0, 1]
    assert found[3] == found[4] == found[6] == -1
    assert groups(text_digests(pa.array([], pa.string())), np.empty(0, dtype=bool)).tolist() == []
