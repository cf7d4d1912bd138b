"""Texts as a model's own tokenizer cuts them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tasks.algorithms.classification.cutting import shortened

_TEXTS_AT_ONCE = 1000


@dataclass(frozen=True)
class Encoded:
    """A text's tokens, with the special ones."""

    input_ids: list[int]
    token_type_ids: list[int]
    is_cut: bool
    """Whether some tokens were left out."""


def read_columns(paths: Sequence[Path], columns: Sequence[str]) -> dict[str, list[str]]:
    """Some columns of texts, of all files in their order; what is null is "" """
    found: dict[str, list[str]] = {name: [] for name in columns}
    for path in paths:
        if missing := sorted(set(columns) - set(pq.read_schema(path).names)):
            raise ValueError(f"{path} has no column {', '.join(missing)}; it needs {', '.join(columns)}")
        table = pq.read_table(path, columns=list(columns))
        for name in columns:
            found[name] += [each or "" for each in table[name].to_pylist()]
    return found


def encoded(tokenizer: Any, texts: Sequence[str], pairs: Sequence[str], max_length: int) -> Iterator[Encoded]:
    """Each text, or pair of texts where the second is not empty, cut to so many tokens: the longer of a pair first."""
    raw = tokenizer.backend_tokenizer
    raw.no_padding()
    for begin in range(0, len(texts), _TEXTS_AT_ONCE):
        end = begin + _TEXTS_AT_ONCE
        raw.no_truncation()
        inputs = list(shortened(raw, texts[begin:end], pairs[begin:end], max_length))
        raw.enable_truncation(max_length, strategy="longest_first")
        for each in raw.encode_batch(inputs):
            yield Encoded(each.ids, each.type_ids, bool(each.overflowing))
