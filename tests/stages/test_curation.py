"""Curate: every row kept or dropped for one reason, with its token counts."""

from pathlib import Path

from tasks.artifacts.resource import Resource
from tasks.artifacts.store import Store
from tasks.curation import curate
from tasks.filters import CurationConfig
from tasks.filters.length import Length
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
    assert store.manifest(made).facts["refusals"] == {"faq": 1}
    assert kept[1]["answer_tokens"] == len(byte_level().encode(ANSWER).ids)


def test_all_answers_count_and_only_the_first_prompt(tmp_path: Path, store: Store, tokenizer: Resource) -> None:
    given = [chat("one two three", "a b c.", "one two three four five", "d e f.")]
    config = CurationConfig(length=Length(prompt_tokens=(0, 1000), answer_tokens=(0, 1000)))
    ingested = ingest(store, IngestionConfig(heldout_fraction=0), [source(tmp_path / "faq.jsonl", given)])
    (row,) = store.rows(curate(store, config, ingested, tokenizer), "conversations")
    raw = byte_level()
    assert row["prompt_tokens"] == len(raw.encode("one two three").ids)
    assert row["answer_tokens"] == len(raw.encode("a b c.\nd e f.").ids)
