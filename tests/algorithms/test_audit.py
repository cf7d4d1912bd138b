"""The audit's figures against plain counting, however the rows are batched."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.algorithms.audit import MOST_FIELDS, SAMPLE_ROWS, FieldCounts, SourceAudit, duplicates
from tasks.algorithms.languages import UNSURE, language, language_shares
from tasks.algorithms.leftovers import LEFTOVERS
from tasks.algorithms.lengths import EDGES, bands, quantiles
from tasks.algorithms.splitting import is_held_out, prompt_key
from tasks.conversation import CONVERSATIONS, conversation_id, conversation_text, words

Row = dict[str, Any]


def conversation(*texts: str, system: str = "", **last: Any) -> Row:
    messages: list[Any] = [{"role": "system", "content": system}] if system else []
    messages += [{"role": "assistant" if n % 2 else "user", "content": text} for n, text in enumerate(texts)]
    messages[-1] |= last
    return {"id": conversation_id(messages), "split": "train", "messages": messages}


def audited(*batches: Sequence[Row], name: str = "s") -> SourceAudit:
    audit = SourceAudit(name, "domain", 1)
    for batch in batches:
        audit.add(pa.Table.from_pylist(list(batch), CONVERSATIONS), refusals=0)
    return audit


def test_turns_are_counted_by_row() -> None:
    audit = audited(
        [
            conversation("Hi", "Hello", "How?", "So", system="Be kind."),
            conversation("Call it", "", tool_calls='[{"type": "function"}]'),
            conversation("Say nothing", " \n"),
            conversation("Ask", "### Response:\nThis"),
            {**conversation("With tools", "Good"), "tools": "[]"},
        ]
    )
    assert (audit.rows, audit.turns, audit.several_turns, audit.with_system) == (5, 6, 1, 1)
    assert (audit.with_tools, audit.template_leftovers, audit.empty_answers) == (2, 1, 1)
    assert audit.prompt_characters.tolist() == [2, 7, 11, 3, 10]
    assert audit.answer_characters.tolist() == [7, 0, 2, 18, 4]


_TEXTS = st.sampled_from(["", "a", "A!", "a b", "b a", "ab", "ä", "…", "日本", "日 本"])


@given(st.lists(st.lists(st.tuples(_TEXTS, _TEXTS), max_size=12), min_size=1, max_size=4))
def test_duplicates_are_rows_with_the_words_of_an_earlier_row(sources: list[list[tuple[str, str]]]) -> None:
    rows_of = [[conversation(*texts) for texts in source] for source in sources]
    audits = [audited(rows[:5], rows[5:]) for rows in rows_of]
    first: dict[tuple[str, ...], int] = {}
    expected = [[0, 0] for _ in sources]
    for number, rows in enumerate(rows_of):
        for row in rows:
            said = tuple(words(conversation_text(row["messages"])))
            if said and said in first:
                expected[number][0] += 1
                expected[number][1] += first[said] != number
            first.setdefault(said, number)
    assert [list(each) for each in duplicates(audits)] == expected


def test_the_sample_is_the_same_in_any_order_and_holds_no_row_twice() -> None:
    made = [conversation(f"question {n % 900}", f"answer {n % 900}") for n in range(2000)]
    shuffled = random.Random(1).sample(made, len(made))
    sample = audited(made).sample
    assert sample == audited(*(shuffled[start : start + 64] for start in range(0, len(made), 64))).sample
    assert len(set(sample)) == len(sample) == SAMPLE_ROWS
    assert len(audited(made[:20]).sample) == 20


def test_few_short_answers_are_labels() -> None:
    labelled = [conversation(f"text {n}", "good" if n % 3 else "bad") for n in range(60)]
    assert audited(labelled[:30], labelled[30:]).labels == {"good": 40, "bad": 20}
    assert audited([conversation(f"text {n}", f"answer {n}") for n in range(60)]).labels is None
    assert audited([*labelled, conversation("text", "x" * 61)]).labels is None
    assert audited([conversation(f"text {n}", "good") for n in range(60)]).labels is None


def test_fields_are_missing_where_other_rows_have_them() -> None:
    fields = FieldCounts()
    for row in ({"a": 0, "b": "x", "c": []}, {"a": False, "b": ""}, {"a": 1, "c": None}, {"a": "x", "c": {}}):
        fields.add(row)
    assert fields.missing() == [("b", 0.75)]


def test_rows_that_are_keyed_by_an_id_do_not_fill_the_memory() -> None:
    fields = FieldCounts()
    for number in range(0, 5000, 10):
        fields.add({f"id {key}": "x" for key in range(number, number + 10)} | {"a": 1})
    assert len(fields.missing()) <= MOST_FIELDS
    assert "a" not in dict(fields.missing())


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=50))
def test_bands_hold_every_length_once_and_quantiles_are_lengths(lengths: list[int]) -> None:
    found = bands(np.array(lengths))
    assert sum(band.rows for band in found) == len(lengths)
    for band in found:
        assert band.rows == sum(band.shortest <= length <= band.longest for length in lengths)
    told = quantiles(np.array(lengths))
    assert set(told) <= set(lengths)
    assert told.longest == max(lengths)
    assert sum(length <= told.median for length in lengths) * 2 >= len(lengths)


def test_bands_grow_with_the_length() -> None:
    assert EDGES[:13].tolist() == [0, 1, 2, 3, 5, 7, 10, 15, 22, 32, 46, 68, 100]
    assert len(np.unique(EDGES)) == len(EDGES)
    assert bands(np.array([], dtype=np.int64)) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The bank releases the hold within three to five working days.", "en"),
        ("Die Bank gibt den Betrag innerhalb von drei bis fünf Werktagen frei.", "de"),
        ("La banque libère le montant dans les trois à cinq jours ouvrables.", "fr"),
        ("银行将在三到五个工作日内解除冻结，之后只保留已结算的费用。", "zh"),
        ("42", UNSURE),
        ("", UNSURE),
    ],
)
def test_languages_are_told(text: str, expected: str) -> None:
    assert language(text) == expected


def test_shares_of_languages_add_up() -> None:
    shares = language_shares(["The weather is nice today, is it not?"] * 3 + ["ok"])
    assert shares == [("en", 0.75), (UNSURE, 0.25)]
    assert language_shares([]) == []


@pytest.mark.parametrize(
    "text",
    [
        "<|im_start|>user",
        "so it is.</s>",
        "[INST] Hi [/INST]",
        "### Response: No",
        "Yes.\nHuman: and now?",
        "<｜User｜>",
    ],
)
def test_leftovers_are_found(text: str) -> None:
    assert LEFTOVERS.search(text)


@pytest.mark.parametrize("text", ["a |> f <| b", "<s>old</s> new", "The Human: a study", "## Input data", "[INSTALL]"])
def test_what_only_looks_like_a_leftover_is_none(text: str) -> None:
    assert not LEFTOVERS.search(text)


def test_near_copies_of_a_prompt_have_one_key() -> None:
    same = [
        "What's the fée?",
        "WHAT S  THE FEE",
        "what’s the fe\u0301e",
        "Please, what's the fee?",
        "Ｗｈａｔ's the fee, thanks",
    ]
    assert {prompt_key(prompt) for prompt in same} == {"what s the fee"}
    assert prompt_key("What is 2 + 2?") != prompt_key("What is 3 + 5?")
    assert prompt_key(":-)") != prompt_key("?!")


@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_a_prompt_falls_on_one_side_and_stays_out_when_more_is_held_out(prompt: str) -> None:
    assert not is_held_out(prompt, 0)
    sides = [is_held_out(prompt, fraction) for fraction in (0.1, 0.3, 0.6, 1)]
    assert sides == sorted(sides)
