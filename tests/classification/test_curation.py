"""Curate: contradictions, rare labels, short texts; every row is kept or dropped for one reason."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.artifacts.store import Store
from tasks.classification.curation import LabelledCurationConfig, curate
from tests.classification.making import Text, facts, lines, reasons, rows, some, texts

SAME = [
    Text("My card is lost", "card"),
    Text(" my  CARD is\tlost\n", "fees"),
    Text("MY CARD IS LOST", "card"),
    Text("My card is lost!", "open"),
]
"""The first three differ in capitals and white space only; the last in a mark, too."""


def test_contradictions_go_with_what_proves_them(store: Store) -> None:
    made = curate(store, LabelledCurationConfig(), texts(store, SAME))
    assert lines(store, made) == ["s:4"]
    assert reasons(store, made) == dict.fromkeys(("s:1", "s:2", "s:3"), "contradicting labels")
    evidence = {row["evidence"] for row in rows(store, made, "dropped")}
    assert evidence == {"the same text is 'card' 2× and 'fees' 1×: 'card' in s s.jsonl:1, 'fees' in s s.jsonl:2"}
    assert facts(store, made)["contradictions"] == 1
    (warning,) = made.warnings
    assert warning.startswith(
        "1 texts have contradicting labels in 3 rows, such as s s.jsonl:1 and s s.jsonl:2; they were dropped."
    )


def test_the_commonest_label_stays_where_it_is_asked_for(store: Store) -> None:
    made = curate(store, LabelledCurationConfig(contradictions="majority"), texts(store, SAME))
    assert lines(store, made) == ["s:1", "s:3", "s:4"]
    tied = [*SAME[:2], Text("other text", "card"), Text("Other text", "card")]
    made = curate(store, LabelledCurationConfig(contradictions="majority"), texts(store, tied))
    assert lines(store, made) == ["s:3", "s:4"]


def test_contradictions_are_kept_where_it_is_asked_for_and_told_of(store: Store) -> None:
    made = curate(store, LabelledCurationConfig(contradictions="keep"), texts(store, SAME))
    assert (made.counts.kept, made.counts.dropped) == (4, {})
    assert "they were kept" in made.warnings[0]


def test_given_test_rows_stay_and_are_told_of(store: Store) -> None:
    given_rows = [SAME[0]._replace(split="test"), SAME[1]._replace(split="train"), SAME[2]._replace(split="validation")]
    made = curate(store, LabelledCurationConfig(), texts(store, given_rows))
    assert lines(store, made) == ["s:1"]
    assert "but for 1 on the given test side" in made.warnings[0]
    made = curate(store, LabelledCurationConfig(), texts(store, [row._replace(split="test") for row in SAME]))
    assert made.counts.kept == 4
    assert facts(store, made)["contradictions"] == 1


def test_equal_labels_are_no_contradiction_in_whatever_order(store: Store) -> None:
    several = [Text("a b", ("x", "y")), Text("A b", ("y", "x")), Text("c d", ()), Text("c  D", ())]
    assert curate(store, LabelledCurationConfig(), texts(store, several)).counts.kept == 4
    several += [Text("c d", ("x",)), Text("a b", ("x",))]
    made = curate(store, LabelledCurationConfig(), texts(store, several))
    assert made.counts.dropped == {"contradicting labels": 6}


@pytest.mark.parametrize("settled", ["drop", "majority"])
def test_a_label_with_a_comma_is_not_two_labels(store: Store, settled: str) -> None:
    given_rows = [Text("a b", ("x, y",)), Text("a b", ("x", "y"))]
    made = curate(store, LabelledCurationConfig.model_validate({"contradictions": settled}), texts(store, given_rows))
    assert made.counts.dropped == {"contradicting labels": 2}


def test_pairs_are_compared_as_pairs(store: Store) -> None:
    pairs = [Text("a b", "x", pair="c"), Text("a b", "y", pair="d"), Text("a b", "z")]
    assert curate(store, LabelledCurationConfig(), texts(store, pairs)).counts.kept == 3
    pairs.append(Text("A  b", "y", pair="C"))
    assert reasons(store, curate(store, LabelledCurationConfig(), texts(store, pairs))).keys() == {"s:1", "s:4"}


def test_rare_labels_and_short_texts_are_left_out(store: Store) -> None:
    given_rows = [*some("card", 5), *some("loan", 2), Text("one", "open"), Text("one two three", "card")]
    made = curate(store, LabelledCurationConfig(min_rows_per_label=3, min_words=3), texts(store, given_rows))
    found = reasons(store, made)
    assert found == {"s:6": "rare label", "s:7": "rare label", "s:8": "too few words"}
    assert made.counts.dropped == {"rare label": 2, "too few words": 1}
    evidence = {row["evidence"] for row in rows(store, made, "dropped")}
    assert evidence == {"'loan' has 2 rows, at least 3", "1 words, at least 3"}


def test_a_label_is_rare_by_what_the_contradictions_leave(store: Store) -> None:
    given_rows = [*some("card", 3), *some("fees", 2), *SAME[:2]]
    made = curate(store, LabelledCurationConfig(min_rows_per_label=3), texts(store, given_rows))
    assert made.counts.dropped == {"contradicting labels": 2, "rare label": 2}


WORDS = st.sampled_from(["a", "A", "b", "a b", "A  b", " a b", "c d e"])
ROWS = st.lists(
    st.tuples(WORDS, st.lists(st.sampled_from("xyz"), max_size=2, unique=True), st.sampled_from(["", "test", "train"])),
    max_size=15,
)


@given(
    given_rows=ROWS,
    settled=st.sampled_from(["drop", "majority", "keep"]),
    least=st.integers(1, 3),
    words=st.integers(1, 2),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_row_is_kept_or_dropped_once_and_nothing_contradicts_that_is_left(
    tmp_path: Path, store: Store, given_rows: list[tuple[str, list[str], str]], settled: str, least: int, words: int
) -> None:
    made_rows = [Text(text, tuple(labels), split) for text, labels, split in given_rows]
    config = LabelledCurationConfig.model_validate(
        {"contradictions": settled, "min_rows_per_label": least, "min_words": words}
    )
    made = curate(store, config, texts(store, made_rows))
    kept, dropped = rows(store, made), rows(store, made, "dropped")
    assert sorted(row["line"] for row in [*kept, *dropped]) == list(range(1, len(given_rows) + 1))
    assert made.counts.kept == len(kept)
    assert sum(made.counts.dropped.values()) == len(dropped)
    if settled != "keep":
        said: dict[str, set[tuple[str, ...]]] = {}
        for row in kept:
            if row["split"] != "test":
                said.setdefault(" ".join(row["text"].lower().split()), set()).add(tuple(sorted(row["labels"])))
        assert all(len(each) == 1 for each in said.values())
