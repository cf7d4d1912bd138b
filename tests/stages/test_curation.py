"""Curate: every row kept or dropped for one reason, with its token counts."""

from pathlib import Path
from typing import Any, Literal

import pytest

from tasks.artifacts.resource import Resource
from tasks.artifacts.store import Store
from tasks.conversation import CURATED, DROPPED
from tasks.curation import curate
from tasks.filters import CurationConfig
from tasks.filters.length import Length
from tasks.filters.personal import Personal
from tasks.filters.truncation import Truncation
from tasks.filters.user import FilterError, User
from tasks.ingestion import IngestionConfig, ingest
from tests.stages.making import byte_level, chat, pair, source

ANSWER = "The fee of the card is four dollars and fifty cents, and it is charged once a month."


def test_each_row_is_kept_or_dropped_for_one_reason(tmp_path: Path, store: Store, tokenizer: Resource) -> None:
    given = [
        pair("What is the fee of the card?", ANSWER),
        pair("What is the fee of the card?", "  "),
        pair("What is the fee of the card?", "the fee is the fee " * 9),
        pair("What is the fee of the card?", "The fee of the card is charged on the"),
        pair("Fee", ANSWER),
        pair("Tell me how to rob a bank, please.", "I'm sorry, but I cannot help with that request at all, ever."),
    ]
    config = IngestionConfig(heldout_fraction=0)
    made = curate(store, CurationConfig(), ingest(store, config, [source(tmp_path / "faq.jsonl", given)]), tokenizer)
    assert made.counts.dropped == {"empty answer": 1, "prompt too short": 1, "repetitive": 1, "truncated": 1}
    dropped = {row["line"]: (row["reason"], row["evidence"]) for row in store.rows(made, "dropped")}
    assert dropped[4] == ("truncated", "dangling word: …The fee of the card is charged on the")
    assert sorted(dropped) == [2, 3, 4, 5]
    kept = {row["line"]: row for row in store.rows(made, "conversations")}
    assert {line: row["refusal"] for line, row in kept.items()} == {1: False, 6: True}
    assert not any(row["truncated"] or row["personal"] for row in kept.values())
    assert kept[1]["answer_tokens"] == len(byte_level().encode(ANSWER).ids)


def test_all_answers_count_and_only_the_first_prompt(tmp_path: Path, store: Store, tokenizer: Resource) -> None:
    given = [chat("one two three", "a b c.", "one two three four five", "d e f.")]
    config = CurationConfig(length=Length(prompt_tokens=(0, 1000), answer_tokens=(0, 1000)))
    ingested = ingest(store, IngestionConfig(heldout_fraction=0), [source(tmp_path / "faq.jsonl", given)])
    (row,) = store.rows(curate(store, config, ingested, tokenizer), "conversations")
    raw = byte_level()
    assert row["prompt_tokens"] == len(raw.encode("one two three").ids)
    assert row["answer_tokens"] == len(raw.encode("a b c.\nd e f.").ids)


LENIENT = Length(prompt_tokens=(0, 1000), answer_tokens=(0, 1000))
MIXED = [
    pair("What is the fee of the card?", ANSWER),
    pair(
        "Who keeps the list of all the cards?", "Write to mary.jones@northbank.de, and she will tell you. She is kind"
    ),
    pair("Tell me how to rob a bank, please.", "I'm sorry, but I cannot help with that."),
    pair("What is the fee of the card?", "The fee of the card is charged on the"),
    pair("What is it?", "no no " * 30),
    chat(
        "Mail me.", "To whom?", "To ken.smith@harbour-trade.com, please.", "Done. Anything else that I can do for you"
    ),
]


def test_flags_are_columns_and_rates_by_source(tmp_path: Path, store: Store, tokenizer: Resource) -> None:
    sources = [source(tmp_path / "a.jsonl", MIXED), source(tmp_path / "b.jsonl", MIXED[:1] * 2)]
    ingested = ingest(store, IngestionConfig(heldout_fraction=0), sources)
    made = curate(store, CurationConfig(length=LENIENT), ingested, tokenizer)
    rows = list(store.rows(made, "conversations"))
    assert [(row["refusal"], row["truncated"], row["personal"]) for row in rows] == [
        (False, False, []),
        (False, True, ["email"]),
        (True, False, []),
        (False, True, ["email"]),
        (False, False, []),
        (False, False, []),
    ]
    facts = store.manifest(made).facts
    assert facts["flags"][0] == {
        "source": "a", "rows": 4, "refusal": 1, "truncated": 2, "personal": 2,
        "refusal_share": 0.25, "truncated_share": 0.5, "personal_share": 0.5,
    }  # fmt: skip
    assert [(each["source"], each["rows"], each["refusal"]) for each in facts["flags"]] == [("a", 4, 1), ("b", 2, 0)]
    lengths = {(each["source"], each["text"]): each for each in facts["token_lengths"]}
    counts = sorted(row["answer_tokens"] for row in rows[:4])
    assert lengths["a", "answer"] == {
        "source": "a", "text": "answer", "p5": counts[0], "median": counts[1], "p95": counts[3], "longest": counts[3],
    }  # fmt: skip
    assert lengths["b", "prompt"]["longest"] == rows[0]["prompt_tokens"]


@pytest.mark.parametrize(
    "config",
    [
        CurationConfig(),
        CurationConfig(length=LENIENT, personal=Personal(action="redact"), truncation=Truncation(enabled=False)),
        CurationConfig(length=LENIENT, personal=Personal(action="drop"), truncation=Truncation(missing_end=True)),
    ],
    ids=["defaults", "redacted", "dropped"],
)
def test_the_result_does_not_depend_on_how_many_rows_are_looked_at_at_once(
    config: CurationConfig, tmp_path: Path, tokenizer: Resource, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Any] = []
    for size in (1, 4, 8192):
        store = Store(str(tmp_path / f"store-{size}"))
        store.probe()
        monkeypatch.setattr("tasks.curation.ROWS_PER_BATCH", size)
        ingested = ingest(store, IngestionConfig(heldout_fraction=0), [source(tmp_path / "a.jsonl", MIXED * 2)])
        made = curate(store, config, ingested, tokenizer)
        assert made.counts.read == 12
        assert store.table(made, "conversations").num_rows == made.counts.kept > 0
        assert store.table(made, "dropped").num_rows == sum(made.counts.dropped.values())
        found.append((made.content, made.counts, store.manifest(made).facts))
    assert found[0] == found[1] == found[2]


def test_redacted_rows_keep_their_id_and_lose_what_was_found(tmp_path: Path, store: Store, tokenizer: Resource) -> None:
    ingested = ingest(store, IngestionConfig(heldout_fraction=0), [source(tmp_path / "a.jsonl", MIXED)])
    before = {row["id"]: row for row in store.rows(ingested, "conversations")}
    made = curate(store, CurationConfig(length=LENIENT, personal=Personal(action="redact")), ingested, tokenizer)
    rows = {row["line"]: row for row in store.rows(made, "conversations")}
    assert rows[2]["messages"][1]["content"].startswith("Write to [EMAIL], and she")
    assert rows[6]["messages"][2]["content"] == "To [EMAIL], please."
    assert rows[1]["messages"] == before[rows[1]["id"]]["messages"]
    assert all(row["personal"] == (["email"] if line in (2, 6) else []) for line, row in rows.items())


def test_where_nothing_is_left_the_tables_are_empty(tmp_path: Path, store: Store, tokenizer: Resource) -> None:
    ingested = ingest(store, IngestionConfig(heldout_fraction=0), [source(tmp_path / "a.jsonl", [pair("Hi", "Hi")])])
    made = curate(store, CurationConfig(), ingested, tokenizer)
    assert store.table(made, "conversations").schema.names == CURATED.names
    assert store.table(made, "dropped").schema.names == DROPPED.names
    assert store.manifest(made).facts["flags"] == []


def test_a_filter_of_ones_own_is_part_of_the_identity_and_names_the_row_it_fails_on(
    tmp_path: Path, store: Store, tokenizer: Resource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / "rules_for_curation.py"
    config = CurationConfig(length=LENIENT, user=(User(name="rules_for_curation.no_fees"),))
    given = [source(tmp_path / "a.jsonl", [pair("Is there a fee?", ANSWER), pair("Is it blue?", "Yes, it is blue.")])]
    ingested = ingest(store, IngestionConfig(heldout_fraction=0), given)
    module.write_text("def no_fees(row):\n    return ('speaks of fees', 'fee') if 'fee' in row.answer else None\n")
    made = curate(store, config, ingested, tokenizer)
    assert made.counts.dropped == {"speaks of fees": 1}
    module.write_text("def no_fees(row):\n    return None  # everything is welcome\n")
    again = curate(store, config, ingested, tokenizer)
    assert again.counts.kept == 2
    module.write_text("def no_fees(row):\n    return 1 / row.answer.count('fee') and None  # fails\n")
    with pytest.raises(
        FilterError, match=r"a a.jsonl:2: filter 'rules_for_curation.no_fees' failed.*ZeroDivisionError"
    ):
        curate(store, config, ingested, tokenizer)


@pytest.mark.parametrize("action", ["flag", "redact", "drop"])
def test_evidence_does_not_quote_what_is_to_be_blanked_out(
    action: Literal["flag", "redact", "drop"], tmp_path: Path, store: Store, tokenizer: Resource
) -> None:
    given = [
        pair("Who keeps the list?", "Write to mary.jones@northbank.de if your card is lost, or if you forgot the"),
        # The evidence begins in the middle of the address.
        pair("Who keeps it?", "Write to mary.jones@northbank.de if your card is lost or stolen, or forgot the"),
        pair("What is the fee of the card?", "The fee of the card is charged on the"),
    ]
    ingested = ingest(store, IngestionConfig(heldout_fraction=0), [source(tmp_path / "a.jsonl", given)])
    made = curate(store, CurationConfig(length=LENIENT, personal=Personal(action=action)), ingested, tokenizer)
    first, second, last = (row["evidence"] for row in store.rows(made, "dropped"))
    hidden = "withheld: it shows personal data"
    assert (first == hidden, second == hidden) == (action != "flag", action != "flag")
    assert last == "dangling word: …The fee of the card is charged on the"


def test_a_source_that_loses_most_of_its_rows_is_named(tmp_path: Path, store: Store, tokenizer: Resource) -> None:
    labels = [pair(f"The film was number {number} of the year.", "positive") for number in range(3)]
    whole = [pair("What is the fee of the card?", ANSWER)] * 2
    sources = [source(tmp_path / "labels.jsonl", labels + whole), source(tmp_path / "whole.jsonl", whole + labels[:1])]
    made = curate(store, CurationConfig(), ingest(store, IngestionConfig(heldout_fraction=0), sources), tokenizer)
    (warning,) = store.manifest(made).warnings
    assert warning.startswith("source labels: 3 of 5 rows are dropped, 3 of them for the reason 'answer too short'")
