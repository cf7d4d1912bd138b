"""What decontamination looks for: each item's question, with its choices where the question alone says too little."""

from collections.abc import Sequence

import numpy as np

from tasks.algorithms.containment import MIN_WORDS, NGRAM, column
from tasks.algorithms.gram_scan import holders, table_of, whole_keys
from tasks.algorithms.word_hashes import word_hashes
from tasks.benchmarks.item import Item


def asked(name: str, items: Sequence[Item]) -> list[tuple[str, str]]:
    """A name for the evidence and a text for every item of a benchmark; three for one that asks as others do.

    "Which of the following is true?" is asked by half of a benchmark and by many who never saw it: only with its
    choices is it a question, and without them only a prompt that says no more than that.
    """
    told = []
    for item, generic in zip(items, _generic([item.question for item in items]), strict=True):
        name_of = f"{name} {item.item_id}"
        told.append((name_of, item.question))
        if generic and item.choices:
            lettered = [f"{chr(ord('A') + place)}. {choice}" for place, choice in enumerate(item.choices)]
            told.extend((name_of, "\n".join([item.question, *choices])) for choices in (item.choices, lettered))
    return told


def _generic(questions: Sequence[str]) -> list[bool]:
    """Whether each question has too few words to be known by, or no more than an n-gram that others ask with too."""
    hashed = word_hashes(column(questions))
    lengths = np.diff(hashed.offsets)
    generic = lengths < MIN_WORDS
    short = ~generic & (lengths <= NGRAM)
    keys, beginnings = whole_keys(*hashed, MIN_WORDS)
    table, numbers = table_of(keys[short], beginnings[short])
    generic[short] = holders(*hashed, table, MIN_WORDS, NGRAM)[numbers] > 1
    return [bool(each) for each in generic]
