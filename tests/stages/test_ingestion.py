"""Sources in, conversations out: the split, the rejects, the audit."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.artifacts.manifest import Artifact
from tasks.artifacts.store import Store
from tasks.conversation import Message
from tasks.formats import reader
from tasks.formats.row import RowError
from tasks.ingestion import FieldMap, IngestionConfig, TooManyRejectsError, ingest, split_of
from tasks.sources import UnreadableFileError
from tests.stages.making import chat, pair, source

EVERYTHING = IngestionConfig(max_reject_ratio=1.0)


def rows(store: Store, artifact: Artifact, table: str = "conversations") -> list[dict[str, Any]]:
    return list(store.rows(artifact, table))


def test_rejects_are_kept_with_their_place_cause_and_beginning(tmp_path: Path, store: Store) -> None:
    data = json.dumps(pair("a", "b")).encode() + b'\n{"question": "c", "answer": null}\n\n{"broken\n'
    made = ingest(store, EVERYTHING, [source(tmp_path / "faq.jsonl", data)])
    assert made.counts.read == 3
    assert made.counts.dropped == {"no completion": 1, "broken JSON": 1}
    found = [(r["source"], r["file"], r["line"], r["cause"], r["raw"]) for r in rows(store, made, "rejected")]
    assert found == [
        ("faq", "faq.jsonl", 2, "no completion", '{"question": "c", "answer": null}'),
        ("faq", "faq.jsonl", 4, "broken JSON", '{"broken'),
    ]


def test_too_many_rejects_fail_with_the_commonest_causes_and_their_places(tmp_path: Path, store: Store) -> None:
    bad: list[dict[str, Any]] = [{"question": "c", "answer": None}] * 3 + [{"x": 1}] * 2
    given_source = source(tmp_path / "faq.jsonl", [pair("a", "b")] * 95 + bad)
    with pytest.raises(TooManyRejectsError) as caught:
        ingest(store, IngestionConfig(max_reject_ratio=0.04), [given_source])
    for part in ("5 of 100 rows", "5.0%", "3 × no completion", "faq.jsonl:96", "2 × unknown format", "faq.jsonl:99"):
        assert part in str(caught.value)
    assert store.addresses() == []
    made = ingest(store, IngestionConfig(max_reject_ratio=0.05), [given_source])
    assert (made.counts.read, made.counts.kept) == (100, 95)


def test_a_source_without_rows_is_refused_by_name(tmp_path: Path, store: Store) -> None:
    full = source(tmp_path / "full.jsonl", [pair("a", "b")])
    for name, data in (("bare.jsonl", b"\n"), ("none.json", b"[]"), ("header.csv", b"question,answer\n")):
        empty = source(tmp_path / name, data)
        with pytest.raises(UnreadableFileError, match=f"source {empty.facts['name']}: .* holds no rows"):
            ingest(store, EVERYTHING, [full, empty])
    with pytest.raises(ValueError, match="no sources"):
        ingest(store, EVERYTHING, [])


def test_an_unreadable_file_fails_by_name(tmp_path: Path, store: Store) -> None:
    with pytest.raises(UnreadableFileError, match=r"rows\.parquet: not a readable \.parquet file"):
        ingest(store, EVERYTHING, [source(tmp_path / "rows.parquet", b"no such thing")])


def test_fields_are_mapped(tmp_path: Path, store: Store) -> None:
    fields = FieldMap(prompt="task", answer="solution")
    made = ingest(store, EVERYTHING, [source(tmp_path / "x.csv", b"task,solution\nadd,a + b\n", "code", fields)])
    (row,) = rows(store, made)
    assert row["messages"] == [{"role": "user", "content": "add"}, {"role": "assistant", "content": "a + b"}]
    assert (row["role"], row["source"], row["file"], row["line"]) == ("code", "x", "x.csv", 1)


VARIANTS = ["What is the fee?", "what is the FEE", "  What is,  the fee?!\n", "«What is the fee»"]


@pytest.mark.parametrize("number", range(30))
def test_variants_of_a_prompt_and_all_answers_to_it_fall_on_one_side(number: int) -> None:
    sides = set()
    for variant in VARIANTS:
        for answers in (("a",), ("b", "And then?", "c")):
            messages: list[Message] = chat(f"{variant} {number}", *answers, system=f"s{number}")["messages"]
            sides.add(split_of(messages, 0.5))
    assert len(sides) == 1


def test_the_split_keeps_its_rows_when_data_is_added_and_has_about_its_share_in_each_source(
    tmp_path: Path, store: Store
) -> None:
    def heldout(artifact: Artifact) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for row in rows(store, artifact):
            if row["split"] == "heldout":
                found.setdefault(row["source"], set()).add(row["id"])
        return found

    def sources(count: int) -> Any:
        return [source(tmp_path / f"{s}.jsonl", [pair(f"{s} {n}?", "Yes.") for n in range(count)]) for s in "ab"]

    config = IngestionConfig(heldout_fraction=0.1)
    few = heldout(ingest(store, config, sources(1000)))
    many = heldout(ingest(store, config, sources(2000)))
    for name in "ab":
        assert few[name] < many[name]
        assert 140 < len(many[name]) < 260


def test_nothing_is_held_out_of_a_fraction_of_zero(tmp_path: Path, store: Store) -> None:
    given_source = source(tmp_path / "a.jsonl", [pair(str(n), "b") for n in range(200)])
    made = ingest(store, IngestionConfig(heldout_fraction=0), [given_source])
    assert {row["split"] for row in rows(store, made)} == {"train"}


def test_the_audit_counts_every_source(tmp_path: Path, store: Store) -> None:
    good = source(tmp_path / "good.jsonl", [chat("ab", "abcd"), chat("ab", "ab", "c", "d"), {"x": 1}], "general")
    made = ingest(store, IngestionConfig(max_reject_ratio=1, heldout_fraction=0), [good])
    assert store.manifest(made).facts["audit"] == [
        {
            "source": "good",
            "role": "general",
            "read": 3,
            "rejected": 1,
            "heldout": 0,
            "prompt_characters_median": 2.0,
            "answer_characters_median": 4.0,
            "answer_characters_p95": 4.0,
            "turns_mean": 1.5,
        }
    ]


def test_the_id_is_that_of_the_content(tmp_path: Path, store: Store) -> None:
    made = ingest(
        store,
        EVERYTHING,
        [
            source(tmp_path / "a.jsonl", [pair("a", "b")]),
            source(tmp_path / "b.jsonl", [chat("a", "b"), chat("a", "c")]),
        ],
    )
    first, same, other = (row["id"] for row in rows(store, made))
    assert first == same != other


_LINES = st.lists(
    st.binary(max_size=30).map(lambda raw: raw.replace(b"\n", b""))
    | st.sampled_from([json.dumps(pair("a", "b")).encode(), b'{"messages": [[1]]}', b'{"question": 1}', b"[]", b" "]),
    min_size=1,
    max_size=20,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(lines=_LINES)
def test_no_line_is_lost(tmp_path: Path, store: Store, lines: list[bytes]) -> None:
    data = b"\n".join(lines)
    filled = [line for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip()]
    given_source = source(tmp_path / "x.jsonl", data)
    if not filled:
        with pytest.raises(UnreadableFileError, match="holds no rows"):
            ingest(store, EVERYTHING, [given_source])
        return
    made = ingest(store, EVERYTHING, [given_source])
    assert made.counts.read == len(filled) == made.counts.kept + sum(made.counts.dropped.values())
    assert made.tables["conversations"].rows == made.counts.kept
    assert made.tables["rejected"].rows == sum(made.counts.dropped.values())


def test_a_reject_raises_row_errors_only() -> None:
    with pytest.raises(RowError):
        reader(None, {})({"conversations": [{"from": {"a": 1}, "value": "x"}]})
