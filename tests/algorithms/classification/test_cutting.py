"""Long pairs are cut to what the tokenizer alone would keep, without its cost."""

import time

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from tasks.algorithms.classification.cutting import shortened


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    pieces = ["[UNK]", "[CLS]", "[SEP]", *"abcde", *(f"##{letter}" for letter in "abcde")]
    made = Tokenizer(models.WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return made


@pytest.mark.parametrize("first", ["a b", "abc " * 40, "abcde" * 30])
@pytest.mark.parametrize("second", ["c", "de " * 50, "é😀 " * 60])
def test_what_stays_is_what_the_tokenizer_would_keep(tokenizer: Tokenizer, first: str, second: str) -> None:
    tokenizer.no_truncation()
    (given,) = shortened(tokenizer, [first], [second], 16)
    tokenizer.enable_truncation(16)
    assert tokenizer.encode(*given).ids == tokenizer.encode(first, second).ids


def test_a_pair_of_very_long_texts_takes_no_time(tokenizer: Tokenizer) -> None:
    tokenizer.no_truncation()
    began = time.process_time()
    ((first, second),) = shortened(tokenizer, ["abc " * 100_000], ["de " * 100_000], 128)
    assert max(len(first), len(second)) < 2_000
    assert time.process_time() - began < 30  # without it: hours


def test_a_single_text_stays_whole(tokenizer: Tokenizer) -> None:
    tokenizer.no_truncation()
    assert list(shortened(tokenizer, ["abc " * 1000], [""], 16)) == ["abc " * 1000]
