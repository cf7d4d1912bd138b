"""Sources in, labelled texts out: fields, labels, sides, and what cannot be read."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.artifacts.store import Store
from tasks.classification.ingestion import LabelledIngestionConfig, LabelledSource, ingest
from tasks.classification.reading import LabelMap
from tasks.source_reading import TooManyRejectsError
from tasks.sources import UnreadableFileError
from tests.classification.making import facts, rows, source

EVERYTHING = LabelledIngestionConfig(max_reject_ratio=1)
SEVERAL = LabelledIngestionConfig(max_reject_ratio=1, multi_label=True)


def read(store: Store, path: Path, row: dict[str, Any], config: LabelledIngestionConfig, **how: Any) -> dict[str, Any]:
    """What one row becomes: a text, or a reject."""
    made = ingest(store, config, [source(path, [row], **how)])
    (found,) = rows(store, made) + rows(store, made, "rejected")
    return found


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"text": "a b", "label": "x"}, ("a b", "", ["x"])),
        ({"sentence": "a b", "label": "x"}, ("a b", "", ["x"])),
        ({"query": "a b", "category": "x"}, ("a b", "", ["x"])),
        ({"text": "a b", "intent": " x\n"}, ("a b", "", ["x"])),
        ({"premise": "a", "hypothesis": "b", "label": "x"}, ("a", "b", ["x"])),
        ({"sentence1": "a", "sentence2": "b", "label": "x"}, ("a", "b", ["x"])),
        ({"question1": "a", "question2": "b", "label": 1}, ("a", "b", ["1"])),
        ({"text": "a", "label": 1, "label_text": "good"}, ("a", "", ["good"])),
        ({"text": "a", "label": 1, "label_text": None}, ("a", "", ["1"])),
        ({"text": None, "sentence": "a", "label": "x"}, ("a", "", ["x"])),
        ({"text": "a", "label": 2.0}, ("a", "", ["2"])),
        ({"text": "a", "label": False}, ("a", "", ["false"])),
        ({"text": "a", "label": "--5"}, ("a", "", ["--5"])),
    ],
)
def test_fields_are_recognised(tmp_path: Path, store: Store, row: dict[str, Any], expected: tuple[Any, ...]) -> None:
    found = read(store, tmp_path / "faq.jsonl", row, EVERYTHING)
    assert (found["text"], found["text_pair"], found["labels"]) == expected
    assert (found["source"], found["file"], found["line"], found["split"]) == ("faq", "faq.jsonl", 1, "")


def test_fields_are_mapped(tmp_path: Path, store: Store) -> None:
    fields = LabelMap(text="title", label="kind", text_pair="body", split="part")
    data = b"title,body,kind,part,label,text\nLate,It came late.,delivery,dev,no,no\n"
    made = ingest(store, EVERYTHING, [source(tmp_path / "mail.csv", data, map=fields)])
    (row,) = rows(store, made)
    assert (row["text"], row["text_pair"], row["labels"]) == ("Late", "It came late.", ["delivery"])
    assert row["split"] == "validation"


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (0, ["bad"]),
        ("1", ["good"]),
        (1.0, ["good"]),
        ("good", ["good"]),
        (2, None),
        (-1, None),
        ("--1", ["--1"]),
        ("9" * 5000, None),
    ],
)
def test_numbers_are_named(tmp_path: Path, store: Store, label: Any, expected: list[str] | None) -> None:
    found = read(store, tmp_path / "a.jsonl", {"text": "a", "label": label}, EVERYTHING, label_names=("bad", "good"))
    assert found.get("labels") == expected
    if expected is None:
        assert found["cause"] == "unknown label"
        assert found["detail"].startswith(f"{label} is the place of none of the 2 label_names"[:300])


def test_label_names_that_repeat_are_refused() -> None:
    with pytest.raises(ValueError, match="label_names of source s has 'a' twice"):
        LabelledSource(name="s", uri="x", label_names=("a", "b", "a"))


@pytest.mark.parametrize(
    ("label", "expected"),
    [("a|b", ["a", "b"]), (" b | a |b", ["b", "a"]), (["b", "a"], ["b", "a"]), ([], []), ([0, "a"], ["0", "a"])],
)
def test_a_text_may_have_several_labels(tmp_path: Path, store: Store, label: Any, expected: list[str]) -> None:
    row = {"text": "t", "label": label}
    assert read(store, tmp_path / "a.jsonl", row, SEVERAL, separator="|")["labels"] == expected


def test_what_stands_between_labels_means_nothing_where_nobody_says_so(tmp_path: Path, store: Store) -> None:
    row = {"text": "t", "label": "a|b"}
    assert read(store, tmp_path / "a.jsonl", row, SEVERAL)["labels"] == ["a|b"]
    assert read(store, tmp_path / "b.jsonl", row, EVERYTHING)["labels"] == ["a|b"]
    assert read(store, tmp_path / "c.jsonl", row, EVERYTHING, separator="|")["cause"] == "several labels"


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"text": "t"}, "no label"),
    ({"text": "t", "label": None}, "no label"),
    ({"text": "t", "label": " "}, "no label"),
    ({"text": "t", "label": float("nan")}, "no label"),
    ({"label": "a"}, "no text"),
    ({"text": None, "label": "a"}, "no text"),
    ({"text": " \n\t\u00a0", "label": "a"}, "no text"),
    ({"premise": "", "hypothesis": "b", "label": "a"}, "no text"),
    ({"text": 5, "label": "a"}, "wrong type"),
    ({"text": ["t"], "label": "a"}, "wrong type"),
    ({"text": "t", "label": {"name": "a"}}, "wrong type"),
    ({"text": "t", "label": "c"}, "unknown label"),
    ({"text": "t", "label": ["a"]}, "several labels"),
    ({"x": 1}, "unknown fields"),
    ({}, "unknown fields"),
]


def test_faults_are_kept_with_their_place_and_counted_by_cause(tmp_path: Path, store: Store) -> None:
    good = {"text": "fine", "label": "a"}
    data = [json.dumps(row).encode() for row, _ in [*FAULTS, (good, "")]] + [b'{"broken']
    config = LabelledIngestionConfig(max_reject_ratio=1, labels=("b", "a"))
    made = ingest(store, config, [source(tmp_path / "faq.jsonl", b"\n".join(data))])
    found = [(row["file"], row["line"], row["cause"]) for row in rows(store, made, "rejected")]
    expected = [("faq.jsonl", line, cause) for line, (_, cause) in enumerate(FAULTS, start=1)]
    assert found == [*expected, ("faq.jsonl", len(data), "broken JSON")]
    assert made.counts.read == len(data) == made.counts.kept + sum(made.counts.dropped.values())
    assert made.counts.dropped == {
        "no label": 4,
        "no text": 4,
        "wrong type": 3,
        "unknown label": 1,
        "several labels": 1,
        "unknown fields": 2,
        "broken JSON": 1,
    }
    assert [row["text"] for row in rows(store, made)] == ["fine"]
    (warning,) = made.warnings
    assert "16 of 17 rows have no text or label, or cannot be read" in warning
    assert "faq: faq.jsonl:1" in warning
    (unknown,) = [row["detail"] for row in rows(store, made, "rejected") if row["cause"] == "unknown label"]
    assert unknown == "'c' is none of the 2 labels in labels"


@pytest.mark.parametrize("fields", [None, LabelMap(text="text", label="label", split="split")])
def test_a_side_that_is_none_is_refused(fields: LabelMap | None, tmp_path: Path, store: Store) -> None:
    row = {"text": "t", "label": "a", "split": "extra"}
    found = read(store, tmp_path / "b.jsonl", row, EVERYTHING, map=fields)
    assert (found["cause"], found["line"]) == ("unknown split", 1)
    assert "'extra', none of train, validation, test" in found["detail"]


def test_sides_are_those_of_the_rows_or_of_the_source(tmp_path: Path, store: Store) -> None:
    named = ["train", "Training", "dev", "VAL", "validation", "test", "", None]
    data = [{"text": f"t {number}", "label": "a", "split": each} for number, each in enumerate(named)]
    made = ingest(store, EVERYTHING, [source(tmp_path / "own.jsonl", data)])
    sides = ["train", "train", "validation", "validation", "validation", "test", "", ""]
    assert [row["split"] for row in rows(store, made)] == sides
    (audit,) = facts(store, made)["audit"]
    assert [audit[f"given_{side}"] for side in ("train", "validation", "test")] == [2, 3, 1]
    made = ingest(store, EVERYTHING, [source(tmp_path / "all.jsonl", data, split="test")])
    assert {row["split"] for row in rows(store, made)} == {"test"}


def test_too_many_rejects_are_refused_in_words(tmp_path: Path, store: Store) -> None:
    good: list[dict[str, Any]] = [{"text": f"t {number}", "label": "a"} for number in range(95)]
    bad: list[dict[str, Any]] = [{"text": "t", "label": None}] * 3 + [{"text": "", "label": "a"}] * 2
    faq = source(tmp_path / "faq.jsonl", good + bad)
    with pytest.raises(TooManyRejectsError) as caught:
        ingest(store, LabelledIngestionConfig(max_reject_ratio=0.04), [faq])
    for part in ("5 of 100 rows", "5.0%", "3 × no label", "faq.jsonl:96", "2 × no text", "faq.jsonl:99", "map its"):
        assert part in str(caught.value)
    assert store.addresses() == []
    made = ingest(store, LabelledIngestionConfig(max_reject_ratio=0.05), [faq])
    assert (made.counts.read, made.counts.kept) == (100, 95)


def test_a_source_that_gives_nothing_is_refused_however_small_it_is(tmp_path: Path, store: Store) -> None:
    full = source(tmp_path / "full.jsonl", [{"text": f"t {number}", "label": "a"} for number in range(100)])
    for name, data in (("bare.jsonl", b""), ("none.json", b"[]"), ("header.csv", b"text,label\n")):
        with pytest.raises(UnreadableFileError, match=f"source {Path(name).stem}: .* holds no rows"):
            ingest(store, EVERYTHING, [full, source(tmp_path / name, data)])
    with pytest.raises(TooManyRejectsError, match="source odd: none of its 1 rows can be read: 1 × unknown fields"):
        ingest(store, LabelledIngestionConfig(), [full, source(tmp_path / "odd.jsonl", [{"x": 1}])])


def test_a_parquet_file_that_breaks_off_fails_by_its_name(tmp_path: Path, store: Store) -> None:
    pq.write_table(pa.table({"text": ["a"] * 1000, "label": ["x"] * 1000}), tmp_path / "whole.parquet")
    whole = (tmp_path / "whole.parquet").read_bytes()
    for cut in (0, 3, len(whole) // 2, len(whole) - 1):
        torn = source(tmp_path / "torn.parquet", whole[:cut])
        with pytest.raises(UnreadableFileError, match=r"source torn: torn\.parquet: not a readable \.parquet file"):
            ingest(store, EVERYTHING, [torn])
    assert store.addresses() == []


def test_parquet_columns_of_numbers_lists_and_nothing_are_read(tmp_path: Path, store: Store) -> None:
    columns = {"text": ["a", "b", None], "label": pa.array([[0, 1], [], [1]], pa.list_(pa.int8()))}
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
    given = source(tmp_path / "rows.parquet", (tmp_path / "rows.parquet").read_bytes(), label_names=("no", "yes"))
    made = ingest(store, SEVERAL, [given])
    assert [row["labels"] for row in rows(store, made)] == [["no", "yes"], []]
    assert [(row["line"], row["cause"]) for row in rows(store, made, "rejected")] == [(3, "no text")]


def test_odd_texts_come_through_as_they_are(tmp_path: Path, store: Store) -> None:
    odd = [
        "\x00nul\x07bell\x1b[31m",
        "汉字 \u202eevil\u200b",
        "e\u0301 👩\u200d👩\u200d👧",
        "a\r\nb\u2028c",
        "x" * 7_000_000,
    ]
    made = ingest(
        store, EVERYTHING, [source(tmp_path / "a.jsonl", [{"text": t, "label": f"\x01{t[:9]}"} for t in odd])]
    )
    found = rows(store, made)
    assert [row["text"] for row in found] == odd
    assert [row["labels"] for row in found] == [[f"\x01{text[:9]}".strip()] for text in odd]
    assert facts(store, made)["audit"][0]["words_longest"] == 3


def test_ten_megabytes_of_text_are_read_from_a_table_and_rejected_as_a_line(tmp_path: Path, store: Store) -> None:
    long = "word " * 2_000_000
    pq.write_table(pa.table({"text": [long, "short"], "label": ["a", "b"]}), tmp_path / "t.parquet")
    made = ingest(store, EVERYTHING, [source(tmp_path / "t.parquet", (tmp_path / "t.parquet").read_bytes())])
    assert [row["text"] for row in rows(store, made)] == [long, "short"]
    assert facts(store, made)["audit"][0]["words_longest"] == 2_000_000
    lines = [{"text": long, "label": "a"}, {"text": "short", "label": "b"}]
    made = ingest(store, EVERYTHING, [source(tmp_path / "l.jsonl", lines)])
    assert [(row["line"], row["text"]) for row in rows(store, made)] == [(2, "short")]
    (rejected,) = rows(store, made, "rejected")
    assert rejected["line"] == 1
    assert len(rejected["raw"]) <= 500


def test_half_a_character_is_rejected_and_ends_nothing(tmp_path: Path, store: Store) -> None:
    data = b'{"text": "a \\ud800 b", "label": "x"}\n{"text": "t", "label": "\\udfff"}\n{"text": "fine", "label": "x"}\n'
    data += b'{"premise": "a", "hypothesis": "\\ud800", "label": "x"}\n'
    made = ingest(store, EVERYTHING, [source(tmp_path / "a.jsonl", data)])
    assert [row["text"] for row in rows(store, made)] == ["fine"]
    causes = [(row["line"], row["cause"], row["detail"].split()[0]) for row in rows(store, made, "rejected")]
    assert causes == [(1, "broken text", "text"), (2, "broken text", "label"), (4, "broken text", "hypothesis")]


def test_ids_are_those_of_what_is_said(tmp_path: Path, store: Store) -> None:
    first = source(tmp_path / "a.jsonl", [{"text": "t", "label": ["b", "a"]}, {"text": "t", "label": ["a"]}])
    second = [{"sentence1": "t", "sentence2": "", "label": "a|b"}, {"sentence1": "t", "sentence2": "u", "label": "a|b"}]
    made = ingest(store, SEVERAL, [first, source(tmp_path / "b.jsonl", second, separator="|")])
    ids = [row["id"] for row in rows(store, made)]
    assert ids[0] == ids[2]
    assert len(set(ids)) == 3
    assert all(len(each) == 32 for each in ids)


def test_the_audit_counts_every_source(tmp_path: Path, store: Store) -> None:
    first = [{"text": "a b c", "label": "x"}, {"text": "a", "label": "y"}, {"text": "a", "label": ""}]
    second = [{"text": "one two", "label": "x", "split": "test", "note": None}]
    given_sources = [source(tmp_path / "a.jsonl", first), source(tmp_path / "b.jsonl", second)]
    made = ingest(store, EVERYTHING, given_sources)
    told = [
        {name: audit[name] for name in ("source", "files", "read", "rejected", "rows", "labels", "words_longest")}
        for audit in facts(store, made)["audit"]
    ]
    assert told == [
        {"source": "a", "files": 1, "read": 3, "rejected": 1, "rows": 2, "labels": 2, "words_longest": 3},
        {"source": "b", "files": 1, "read": 1, "rejected": 0, "rows": 1, "labels": 1, "words_longest": 2},
    ]
    assert facts(store, made)["labels"] == [{"label": "x", "rows": 2}, {"label": "y", "rows": 1}]


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6), st.lists(st.text(max_size=3), max_size=2)
)
NAMES = st.sampled_from(["text", "label", "sentence", "premise", "hypothesis", "split", "x", "category"])


@given(
    given_rows=st.lists(st.dictionaries(NAMES, VALUES, max_size=5), min_size=1, max_size=12),
    several=st.booleans(),
    named=st.booleans(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_row_becomes_a_text_or_a_reject(
    tmp_path: Path, store: Store, given_rows: list[dict[str, Any]], several: bool, named: bool
) -> None:
    how = {"label_names": ("no", "yes")} if named else {}
    config = SEVERAL if several else EVERYTHING
    made = ingest(store, config, [source(tmp_path / "any.jsonl", given_rows, **how)])
    found, rejected = rows(store, made), rows(store, made, "rejected")
    assert sorted(row["line"] for row in [*found, *rejected]) == list(range(1, len(given_rows) + 1))
    assert all(row["text"].strip() and (several or len(row["labels"]) == 1) for row in found)
    assert all(row["cause"] for row in rejected)


def test_a_side_that_nobody_knows_is_never_drawn_for(store: Store, tmp_path: Path) -> None:
    rows = [{"text": f"text {number}", "label": "a", "split": "train"} for number in range(50)]
    rows += [{"text": "set aside", "label": "a", "split": "fold-3"}, {"text": "kept", "label": "a", "split": "holdout"}]
    ingested = ingest(store, LabelledIngestionConfig(), [source(tmp_path / "rows.jsonl", rows)])
    assert ingested.counts.dropped == {"unknown split": 1}
    assert [row["split"] for row in store.rows(ingested, "texts")][-1] == "test"


def test_labels_of_the_recipe_differ() -> None:
    for labels in (("a", "a"), (" a", "b"), ("", "b")):
        with pytest.raises(ValidationError, match="no row would match"):
            LabelledIngestionConfig(labels=labels)
