"""Lengths in bands of one round width; the first tokens of a few rows."""

from typing import Any

import numpy as np
import pytest

from tasks.reporting.masks import excerpts
from tasks.reporting.training_facts import length_bands


@pytest.mark.parametrize(
    ("longest", "width"), [(0, 1), (19, 1), (20, 2), (300, 20), (512, 40), (2048, 200), (9999, 500)]
)
def test_bands_have_one_round_width_and_lose_no_text(longest: int, width: int) -> None:
    lengths = np.random.default_rng(3).integers(0, longest + 1, 500)
    lengths[0] = longest
    bands = length_bands([lengths[:100], lengths[100:]])
    assert {band.to_tokens - band.from_tokens + 1 for band in bands} == {width}
    assert sum(band.rows for band in bands) == 500
    assert len(bands) <= 21
    for band in bands:
        assert band.rows == np.sum((lengths >= band.from_tokens) & (lengths <= band.to_tokens))


def test_without_texts_there_are_no_bands() -> None:
    assert length_bands([]) == ()
    assert length_bands([np.zeros(0, dtype=np.int64)]) == ()


def row(source: str, number: int, split: str = "train") -> dict[str, Any]:
    tokens = [{"id": at, "text": "x", "trained": True, "plain": False, "special": False} for at in range(500)]
    place = {"row_id": f"{source}{number}", "source": source, "file": "f", "line": number, "split": split}
    return {**place, "kinds": [], "texts": [tokens, tokens], "lengths": [500, 500], "kept": [None, 7], "note": ""}


def test_excerpts_are_the_beginning_of_one_training_row_of_each_source() -> None:
    rows = [row("b", 1, "heldout"), row("b", 2), row("b", 3), row("a", 4), row("c", 5)]
    found = excerpts(rows, most=2, tokens=50)
    assert [sample.row_id for sample in found] == ["b2", "a4"]
    cut = {**row("d", 6), "kept": [7, None]}
    assert [len(sample.texts[0]) for sample in excerpts([cut])] == [7]
    assert [(len(sample.texts), len(sample.texts[0]), sample.lengths) for sample in found] == [(1, 50, (500,))] * 2
