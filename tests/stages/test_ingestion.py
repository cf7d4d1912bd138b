"""Sources in, conversations out: the split, the rejects, the audit."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.artifacts.fingerprint import canonical
from tasks.artifacts.manifest import Artifact
from tasks.artifacts.resource import read_resource
from tasks.artifacts.store import Store
from tasks.conversation import Message, conversation_id
from tasks.formats import reader
from tasks.formats.mapping import FieldMap
from tasks.formats.row import RowError
from tasks.ingestion import IngestionConfig, Source, SplitError, TooManyRejectsError, ingest, split_of
from tasks.sources import UnreadableFileError
from tests.stages.making import chat, pair, source

EVERYTHING = IngestionConfig(max_reject_ratio=1.0)


def rows(store: Store, artifact: Artifact, table: str = "conversations") -> list[dict[str, Any]]:
    return list(store.rows(artifact, table))


def test_rejects_are_kept_with_their_place_cause_and_beginning(tmp_path: Path, store: Store) -> None:
    data = json.dumps(pair("a", "b")).encode() + b'\n{"question": "c", "answer": null}\n\n{"broken\n'
    made = ingest(store, EVERYTHING, [source(tmp_path / "faq.jsonl", data)])
    assert made.counts.read == 3
    assert made.counts.dropped == {"no answer": 1, "broken JSON": 1}
    found = [(r["source"], r["file"], r["line"], r["cause"], r["raw"]) for r in rows(store, made, "rejected")]
    assert found == [
        ("faq", "faq.jsonl", 2, "no answer", '{"question": "c", "answer": null}'),
        ("faq", "faq.jsonl", 4, "broken JSON", '{"broken'),
    ]


def test_too_many_rejects_fail_with_the_commonest_causes_and_their_places(tmp_path: Path, store: Store) -> None:
    bad: list[dict[str, Any]] = [{"question": "c", "answer": None}] * 3 + [{"x": 1}] * 2
    given_source = source(tmp_path / "faq.jsonl", [pair("a", "b")] * 95 + bad)
    with pytest.raises(TooManyRejectsError) as caught:
        ingest(store, IngestionConfig(max_reject_ratio=0.04), [given_source])
    for part in ("5 of 100 rows", "5.0%", "3 × no answer", "faq.jsonl:96", "2 × unknown format", "faq.jsonl:99"):
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
    with pytest.raises(UnreadableFileError, match=r"source rows: rows\.parquet: not a readable \.parquet file"):
        ingest(store, EVERYTHING, [source(tmp_path / "rows.parquet", b"no such thing")])


def test_a_source_with_both_a_format_and_a_map_is_refused() -> None:
    fields = FieldMap(prompt="instruction", answer="output")
    with pytest.raises(ValueError, match=r"source faq has format alpaca and a map.* keep one"):
        Source(name="faq", uri="faq.jsonl", format="alpaca", map=fields)


def test_fields_are_mapped(tmp_path: Path, store: Store) -> None:
    fields = FieldMap(prompt="task", answer="solution")
    made = ingest(store, EVERYTHING, [source(tmp_path / "x.csv", b"task,solution\nadd,a + b\n", "code", fields)])
    (row,) = rows(store, made)
    assert [(each["role"], each["content"]) for each in row["messages"]] == [("user", "add"), ("assistant", "a + b")]
    assert (row["role"], row["source"], row["file"], row["line"]) == ("code", "x", "x.csv", 1)


VARIANTS = [
    "What is the fée for {}?", "what is the FEE for {}", "  What is,  the fee for {}?!\n",
    "«What is the fe\u0301e for {}»",
    "Please: what is the fee for {}", "Ｗｈａｔ is the fee for {}, thank you", "What is the fee for {}, please?",
]  # fmt: skip


@pytest.mark.parametrize("number", range(30))
def test_variants_of_a_prompt_and_all_answers_to_it_fall_on_one_side(number: int) -> None:
    sides = set()
    for variant in VARIANTS:
        for answers in (("a",), ("b", "And then?", "c")):
            messages: list[Message] = chat(variant.format(number), *answers, system=f"s{number}")["messages"]
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


def facts(store: Store, made: Artifact) -> dict[str, Any]:
    return store.manifest(made).facts


def test_the_audit_counts_every_source(tmp_path: Path, store: Store) -> None:
    good = source(
        tmp_path / "good.jsonl",
        [chat("ab", "abcd", system="s"), chat("ab", "ab", "c", "I cannot help."), {"x": 1}, chat("AB!", "Abcd")],
        "general",
    )
    other = source(tmp_path / "other.jsonl", [chat("ab", "abcd"), chat("x", "### Response: y")], "code")
    made = ingest(store, IngestionConfig(max_reject_ratio=1, heldout_fraction=0), [good, other])
    found = facts(store, made)
    nothing = {"rejected": 0, "heldout": 0, "heldout_share": 0.0, "of_other_sources": 0, "files": 1}
    assert found["audit"] == [
        {**nothing, "source": "good", "role": "general", "read": 4, "rejected": 1, "duplicates": 1},
        {**nothing, "source": "other", "role": "code", "read": 2, "duplicates": 1, "of_other_sources": 1},
    ]
    first, second = found["audit: contents"]
    assert first["turns_mean"] == round(4 / 3, 2)
    assert first["several_turns"] == first["with_system"] == round(1 / 3, 4)
    assert (first["template_leftovers"], second["template_leftovers"]) == (0.0, 0.5)
    lengths = [
        (row["source"], row["text"], row["median"], row["longest"]) for row in found["audit: lengths in characters"]
    ]
    assert lengths[:2] == [("good", "prompt", 2, 3), ("good", "answer", 4, 16)]
    assert found["audit: missing fields"] == [
        {"source": "good", "field": "x", "missing": 0.75, "": "█████████"},
        {"source": "good", "field": "messages", "missing": 0.25, "": "███"},
    ]
    assert found["length_bands"]["good"]["prompt"] == [[2, 2, 2], [3, 4, 1]]


def test_the_audit_warns_of_imbalance_by_name(tmp_path: Path, store: Store) -> None:
    labels = [pair(f"text {n}", "spam" if n % 20 == 0 else "ham") for n in range(200)]
    small = source(tmp_path / "small.jsonl", [pair(f"{n}?", f"answer {n}") for n in range(30)], "general")
    made = ingest(store, IngestionConfig(heldout_fraction=0), [source(tmp_path / "mail.jsonl", labels), small])
    assert made.warnings == (
        "source mail has 6.7 times as many rows to train on as small (200 against 30); mixing.shares decides how much "
        "of each the model sees",
        "source mail: the label 'ham' has 19.0 times as many rows as 'spam' (190 against 10); add rows of the rare "
        "labels, or measure each label apart",
    )
    (row,) = facts(store, made)["audit: labels"]
    assert (row["labels"], row["commonest"], row["rows_of_rarest"]) == (2, "ham", 10)


def test_a_source_of_which_nothing_is_held_out_is_named(tmp_path: Path, store: Store) -> None:
    same = [pair("What is the fee?", f"It is {n}.") for n in range(40)]
    held = split_of(chat("What is the fee?", "x")["messages"], 0.05) == "heldout"
    made = ingest(store, IngestionConfig(), [source(tmp_path / "same.jsonl", same)])
    expected = "100.0% of its rows are held out where 5.0%" if held else "none of its 40 rows is held out"
    assert [warning for warning in made.warnings if warning.startswith(f"source same: {expected}")]


def test_a_held_out_source_is_the_whole_held_out_side(tmp_path: Path, store: Store) -> None:
    rows_of = [pair(f"question {n}?", f"answer {n}") for n in range(200)]
    declared = Source(name="own", uri=str(tmp_path / "own.jsonl"), heldout=True)
    training = source(tmp_path / "training.jsonl", rows_of)
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(pair(f"mine {n}?", "b")) + "\n" for n in range(30)))
    own = read_resource(declared.uri, facts=declared.reading())
    made = ingest(store, IngestionConfig(), [training, own])
    sides = {(row["source"], row["split"]) for row in rows(store, made)}
    assert sides == {("training", "train"), ("own", "heldout")}
    assert [row["heldout"] for row in facts(store, made)["audit"]] == [0, 30]
    with pytest.raises(SplitError, match="every source is held out"):
        ingest(store, IngestionConfig(), [own])


def test_a_wholly_broken_source_does_not_hide_in_a_large_one(tmp_path: Path, store: Store) -> None:
    large = source(tmp_path / "large.jsonl", [pair(f"{n}?", "b") for n in range(1000)])
    broken = source(tmp_path / "broken.jsonl", [{"question": "a", "answer": None}] * 3)
    with pytest.raises(TooManyRejectsError, match=r"source broken: none of its 3 rows can be read: 3 × no .*jsonl:1"):
        ingest(store, IngestionConfig(), [large, broken])
    half = source(tmp_path / "half.jsonl", [pair("a", "b"), {"question": "a", "answer": None}])
    made = ingest(store, IngestionConfig(), [large, half])
    assert [
        warning for warning in made.warnings if warning.startswith("source half: 1 of 2 rows cannot be read (50.0%)")
    ]


def test_a_field_name_that_json_cannot_hold_is_told_all_the_same(tmp_path: Path, store: Store) -> None:
    data = b'{"question": "a", "answer": "b", "\\ud800": 1}\n{"question": "a", "answer": "b"}\n'
    made = ingest(store, IngestionConfig(heldout_fraction=0), [source(tmp_path / "odd.jsonl", data)])
    assert [row["field"] for row in facts(store, made)["audit: missing fields"]] == ["\\ud800"]


def test_rows_and_audit_do_not_depend_on_how_rows_are_batched(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_rows = [
        chat(f"Question {n % 700}?", f"Answer {n % 650}. " * (n % 9), system="s" * (n % 2)) for n in range(1500)
    ]
    given_source = source(tmp_path / "a.jsonl", [*made_rows, {"x": 1}])
    at_once = ingest(store, IngestionConfig(), [given_source])
    apart = Store(str(tmp_path / "apart"))
    apart.probe()
    monkeypatch.setattr("tasks.ingestion.ROWS_PER_BATCH", 7)
    in_bits = ingest(apart, IngestionConfig(), [given_source])
    assert at_once.content == in_bits.content
    assert facts(store, at_once) == facts(apart, in_bits)


def test_progress_is_told_of_all_bytes(tmp_path: Path, store: Store) -> None:
    told: list[tuple[int, int | None, str]] = []
    sources = [source(tmp_path / f"{name}.jsonl", [pair("a" * 1000, "b")] * 1000) for name in "ab"]
    identity = ingest.identity(EVERYTHING, sources)
    with store.attempt(identity, progress=lambda *moved: told.append(moved)) as attempt:
        ingest.body(attempt, EVERYTHING, sources)
    assert told[-1] == (2, 2, "MB")
    assert told == sorted(told)


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


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.text(st.characters(codec="utf-8"))), max_size=3))
def test_the_id_of_plain_texts_is_that_of_their_canonical_spelling(turns: list[tuple[str, str]]) -> None:
    messages: list[Message] = [{"role": role, "content": content} for role, content in turns]
    spelled = canonical([[role, content] for role, content in turns])
    assert conversation_id(messages) == hashlib.sha256(spelled).hexdigest()[:32]
    padded: list[Message] = [{**message, "name": None} for message in messages]
    assert conversation_id(padded) == conversation_id(messages)


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content"]), inner, max_size=2)
    ),
    max_leaves=4,
)
_NAMES = [
    "question",
    "answer",
    "instruction",
    "output",
    "messages",
    "conversations",
    "chosen",
    "text",
    "label",
    "\ud800",
]
_GARBAGE = (
    st.binary(max_size=30).map(lambda raw: raw.replace(b"\n", b""))
    | st.sampled_from([json.dumps(pair("a", "b")).encode(), b'{"messages": [[1]]}', b'{"question": 1}', b"[]", b" "])
    | st.dictionaries(st.sampled_from(_NAMES), _JSON, max_size=4).map(lambda row: json.dumps(row).encode())
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80, deadline=None)
@given(garbage=st.lists(_GARBAGE, max_size=20))
def test_no_line_is_lost(tmp_path: Path, store: Store, garbage: list[bytes]) -> None:
    # A file that begins like another kind of file is refused as a whole; this one begins with a row.
    lines = [json.dumps(pair("a", "b")).encode(), *garbage]
    filled = [line for line in lines if line.strip()]
    given_source = source(tmp_path / "x.jsonl", b"\n".join(lines))
    made = ingest(store, EVERYTHING, [given_source])
    assert made.counts.read == len(filled) == made.counts.kept + sum(made.counts.dropped.values())
    assert made.tables["conversations"].rows == made.counts.kept
    assert made.tables["rejected"].rows == sum(made.counts.dropped.values())
    places = [row["line"] for table in ("conversations", "rejected") for row in rows(store, made, table)]
    assert sorted(places) == [number for number, line in enumerate(lines, start=1) if line.strip()]


def test_a_reject_raises_row_errors_only() -> None:
    with pytest.raises(RowError):
        reader(None, {})({"conversations": [{"from": {"a": 1}, "value": "x"}]})
