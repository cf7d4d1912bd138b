"""What filters see in columns is what single rows say, and what they suspect holds every row they would drop."""

import json
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.algorithms.refusal import is_refusal
from tasks.conversation import MESSAGE, answer_text, conversation_text, prompt_text
from tasks.filters import CurationConfig
from tasks.filters.empty import Empty
from tasks.filters.length import Length
from tasks.filters.reading import Readings
from tasks.filters.refusal import refusals
from tasks.filters.repetition import Repetition
from tasks.filters.row import Columns, Filter, Reading
from tasks.filters.truncation import Truncation

FRAGMENTS = [
    *("the", "of ", " and", "Word", "word ", "Is it", "İt", "ı", "ſorry", "K", "1.", "- ", "#", "12", "x", " help"),
    *("\n", "\n\n", " ", "  ", "\t", "\u00a0", "\x1c", "\x85", "\u2028", "\r\n", "\u3000", "\x0b", "²", "é", "東京"),
    *(",", ".", "!", "(", "[", " -", "–", "…", "。", ":", '."', "’", "?)", "{", "`", "```", "~~~", "````", "```py\n"),
    *("I am", "I'm", "I’m ", " sorry", "sorry to hear", "I apologize", " for", "I can", "not", "can't", "As an AI"),
    *("it is", " illegal", " not ethical", "never", "in", "appropriate", "Dear ", "Dear Sam,", "but ", "Bob: "),
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=20
)
ROUND = st.lists(st.sampled_from(["a", "b", "c", "d e", ".", "\n", "\n \n"]), min_size=1, max_size=60).map(" ".join)


def columns(answers: list[str], tokens: int = 100) -> Columns:
    texts, counts = pl.Series(answers, dtype=pl.String), pl.Series([tokens] * len(answers), dtype=pl.Int64)
    return Columns(texts, texts, texts, counts, counts)


@given(st.lists(TEXTS | ROUND, min_size=1, max_size=5), st.integers(0, 3000))
@pytest.mark.parametrize(
    "judge",
    [
        Empty(),
        Length(),
        Truncation(),
        Truncation(missing_end=True),
        Repetition(min_words=3),
        Repetition(min_words=5, min_unique_ratio=0, max_repeated_ngrams=0.2, max_repeated_lines=0),
        Repetition(min_words=1, min_unique_ratio=0, max_repeated_ngrams=1, max_repeated_lines=0.7),
        Repetition(min_words=1, min_unique_ratio=1),
    ],
    ids=str,
)
def test_every_row_that_would_be_dropped_is_suspected(judge: Filter, texts: list[str], tokens: int) -> None:
    suspected = judge.suspects(columns(texts, tokens)).to_list()
    dropped = [judge(Reading(text, text, tokens, tokens)) is not None for text in texts]
    assert len(suspected) == len(texts)
    assert not [text for text, seen, gone in zip(texts, suspected, dropped, strict=True) if gone and not seen]


@given(st.lists(TEXTS, max_size=5))
def test_flags_of_columns_are_those_of_single_answers(texts: list[str]) -> None:
    series, strict = pl.Series(texts, dtype=pl.String), Truncation(missing_end=True)
    assert refusals(series).to_list() == [is_refusal(text) for text in texts]
    cut = [bool(text.strip()) and strict.how_cut(text.rstrip()) is not None for text in texts]
    assert Truncation().cut_short(series).to_list() == cut


@pytest.mark.parametrize(
    ("answer", "evidence"),
    [
        ("I am not sure. " * 20, "0.05 different runs of 3 words a word"),
        ("one two three four five six seven eight nine ten " * 2 + "eleven", None),
        (" ".join("abcdefghijkl") + " " + " ".join("abcdefghijkl" * 2), "0.56 of the words in 10-grams"),
        ("\n".join(["ox", "cow"] * 3 + [f"a{n} b{n} c{n} d{n}" for n in range(4)]), None),
        ("\n".join(["ox", "cow"] * 8 + [f"a{n} b{n} c{n} d{n}" for n in range(4)]), "0.70 of the lines stood"),
    ],
)
def test_what_repeats_is_told_with_its_share(answer: str, evidence: str | None) -> None:
    verdict = Repetition()(Reading("", answer, 10, 100))
    assert (verdict is None) == (evidence is None)
    assert verdict is None or verdict.evidence.startswith(str(evidence))


CALLS = json.dumps([{"type": "function", "function": {"name": "find", "arguments": {"who": 'a\n"b"', "n": 7}}}])
SAID = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool"]), "content": SAID},
    optional={"reasoning": SAID, "tool_calls": st.just(CALLS)},
)


@given(st.lists(st.lists(MESSAGES, max_size=4), max_size=6), st.integers(0, 3))
def test_columns_hold_what_the_rows_say(rows: list[list[Any]], start: int) -> None:
    start = min(start, len(rows))
    readings = Readings(pa.array(rows, pa.list_(MESSAGE)).slice(start))
    left = rows[start:]
    assert readings.prompts.to_pylist() == [prompt_text(row) for row in left]
    assert readings.answers.to_pylist() == [answer_text(row) for row in left]
    counts = np.arange(len(left))
    seen = readings.columns(counts, counts)
    for row, text in zip(left, seen.text, strict=True):
        if all(set(message) == {"role", "content"} and message["role"] in ("user", "assistant") for message in row):
            assert text == conversation_text(row)
        for message in row:
            assert message["content"] in text
            assert (message.get("reasoning") or "") in text
        if any("tool_calls" in message for message in row):
            assert 'find\na\n"b"\n7' in text
    for place, row in enumerate(readings.rows(seen, list(range(len(left))))):
        assert row[:4] == (prompt_text(left[place]), answer_text(left[place]), place, place)
        assert prompt_text(row.messages) == row.prompt


def test_a_row_is_judged_by_the_filters_in_their_order() -> None:
    answers = ["I am not sure. " * 20 + "Call the", "Call the person who keeps the", "All is well."]
    turns = [[{"role": "user", "content": "Who?"}, {"role": "assistant", "content": text}] for text in answers]
    readings = Readings(pa.array(turns, pa.list_(MESSAGE)))
    found = CurationConfig().judge_all(readings, readings.columns(np.full(3, 9), np.array([5000, 100, 3])))
    assert {place: verdict.reason for place, verdict in found.items()} == {
        0: "repetitive",
        1: "truncated",
        2: "answer too short",
    }
    assert found == {
        place: CurationConfig().judge(row)
        for place, row in enumerate(readings.rows(readings.columns(np.full(3, 9), np.array([5000, 100, 3])), [0, 1, 2]))
    }
