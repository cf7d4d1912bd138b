"""Deduplicate: one row of every group of copies, and nothing to learn from that stands on a given other side."""

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.artifacts.store import Store
from tasks.classification.deduplication import LabelledDeduplicationConfig, deduplicate
from tasks.classification.ingestion import LabelledIngestionConfig, ingest
from tasks.conversation import words
from tests.classification.making import Text, facts, lines, reasons, rows, some, source, texts

LONG = "I lost my card in the train this morning, please send me a new one to the address that you have of me"
NEAR = LONG.replace("morning", "evening")
CONFIG = LabelledDeduplicationConfig(similarity=0.5)


def near(left: str, right: str, ngram: int = 5) -> float:
    """Jaccard similarity of word n-grams, computed the simple way; equal words are copies however few."""
    one, other = words(left), words(right)
    if one == other:
        return 1.0
    sets = [{tuple(each[at : at + ngram]) for at in range(len(each) - ngram + 1)} for each in (one, other)]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1]) if sets[0] and sets[1] else 0.0


def test_one_of_each_group_of_copies_stays(store: Store) -> None:
    given_rows = [Text(LONG, "card"), Text(f"  {LONG.upper()}", "card"), Text(NEAR, "card"), *some("loan", 3)]
    made = deduplicate(store, CONFIG, texts(store, given_rows))
    assert made.counts.kept == 4
    assert sorted(reasons(store, made).values()) in (
        ["exact duplicate", "near duplicate"],
        ["near duplicate", "near duplicate"],
    )
    assert len({words(row["text"])[0] == "i" for row in rows(store, made)}) == 2
    assert sum(row["labels"] == ["card"] for row in rows(store, made)) == 1


def test_the_source_that_the_recipe_names_first_stays(store: Store) -> None:
    given_rows = [Text(LONG, "card", source=name) for name in ("b", "a", "c")]
    for order in (("c", "a", "b"), ("b", "c", "a"), ("a", "b", "c")):
        made = deduplicate(store, CONFIG, texts(store, given_rows), list(order))
        assert [row["source"] for row in rows(store, made)] == [order[0]]
        assert facts(store, made)["copies"] == [
            {"source": name, "reason": "exact duplicate", "rows": 1} for name in sorted(order[1:])
        ]


@pytest.mark.parametrize("side", ["test", "validation"])
@pytest.mark.parametrize("copy", [LONG, LONG.upper(), NEAR])
@pytest.mark.parametrize("split", ["", "train"])
def test_planted_copies_of_given_sides_leave_training(store: Store, side: str, copy: str, split: str) -> None:
    given_rows = [Text(copy, "card", split, source="a"), *some("loan", 3), Text(LONG, "card", side, source="z")]
    made = deduplicate(store, CONFIG, texts(store, given_rows), ["a", "s", "z"])
    assert reasons(store, made) == {"a:1": f"copy of a {side} row"}
    (dropped,) = rows(store, made, "dropped")
    (kept,) = [row for row in rows(store, made) if row["source"] == "z"]
    assert dropped["evidence"].startswith(f"kept {kept['id']} (z z.jsonl:5, card), similarity ")
    assert 0.5 <= float(dropped["evidence"].split()[-1]) <= 1
    assert made.warnings[0].startswith("1 rows are copies of rows on a given test or validation side")


def test_validation_rows_that_copy_test_rows_go_and_not_the_other_way(store: Store) -> None:
    given_rows = [Text(LONG, "card", "validation"), Text(NEAR, "card", "test")]
    made = deduplicate(store, CONFIG, texts(store, given_rows))
    assert reasons(store, made) == {"s:1": "copy of a test row"}


def test_given_sides_keep_their_own_repeats(store: Store) -> None:
    for side in ("test", "validation"):
        given_rows = [Text(text, "card", side) for text in (LONG, LONG, NEAR, LONG.lower())]
        assert deduplicate(store, CONFIG, texts(store, given_rows)).counts.kept == 4
        # Each of the repeats still keeps its copies out of training.
        late = "Please note that " + NEAR + " and thank you"
        made = deduplicate(store, CONFIG, texts(store, [*given_rows, Text(late, "card")]))
        assert reasons(store, made) == {"s:5": f"copy of a {side} row"}


def test_near_copies_with_another_label_are_told_of(store: Store) -> None:
    made = deduplicate(store, CONFIG, texts(store, [Text(LONG, "card"), Text(NEAR, "fees")]))
    assert list(reasons(store, made).values()) == ["near duplicate with another label"]
    assert made.warnings[0].startswith("1 rows are near copies of a row with another label")
    strict = LabelledDeduplicationConfig(similarity=0.95)
    assert deduplicate(store, strict, texts(store, [Text(LONG, "card"), Text(NEAR, "fees")])).counts.kept == 2


def test_short_texts_are_copies_only_if_they_are_equal(store: Store) -> None:
    given_rows = [Text("Lost my card", "card"), Text("lost  my CARD", "card"), Text("Lost your card", "card")]
    made = deduplicate(store, CONFIG, texts(store, given_rows))
    assert made.counts.dropped == {"exact duplicate": 1}
    assert sorted(row["text"].lower().split()[1] for row in rows(store, made)) == ["my", "your"]


def test_pairs_are_copies_where_both_texts_are(store: Store) -> None:
    given_rows = [Text(LONG, "yes", pair="He is well."), Text(LONG, "no", pair="Nobody has ever lost any card at all.")]
    made = deduplicate(store, LabelledDeduplicationConfig(), texts(store, given_rows))
    assert made.counts.kept == 2
    again = [*given_rows, Text(LONG.upper(), "yes", pair="he is well.")]
    assert deduplicate(store, LabelledDeduplicationConfig(), texts(store, again)).counts.dropped == {
        "exact duplicate": 1
    }


def planted(seed: int, count: int) -> list[Text]:
    """Texts of few words, on all sides, that are often near copies of one another."""
    chance = random.Random(seed)
    roots = [[f"w{chance.randrange(12)}" for _ in range(chance.randint(3, 12))] for _ in range(max(2, count // 4))]
    made = []
    for _ in range(count):
        root = list(chance.choice(roots))
        if chance.random() < 0.6:
            root[chance.randrange(len(root))] = "other"
        side = chance.choice(["", "train", "validation", "test"])
        made.append(Text(" ".join(root), chance.choice(["card", "loan"]), side, source=chance.choice("ab")))
    return made


@given(seed=st.integers(0, 10**6), count=st.integers(2, 60), similarity=st.sampled_from([0.3, 0.5, 0.8, 1.0]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_that_is_left_is_a_near_copy_of_a_row_on_another_side(
    tmp_path: Path, store: Store, seed: int, count: int, similarity: float
) -> None:
    given_rows = planted(seed, count)
    made = deduplicate(store, LabelledDeduplicationConfig(similarity=similarity), texts(store, given_rows), ["b", "a"])
    kept, dropped = rows(store, made), rows(store, made, "dropped")
    assert sorted(row["line"] for row in [*kept, *dropped]) == list(range(1, count + 1))
    assert sum(row.split == "test" for row in given_rows) == sum(row["split"] == "test" for row in kept)
    for place, one in enumerate(kept):
        for other in kept[:place]:
            own = one["split"] == other["split"] and one["split"] in ("test", "validation")
            assert own or near(one["text"], other["text"]) < similarity
    known = {row["id"]: row["text"] for row in kept}
    told = dict(enumerate(given_rows, start=1))
    for row in dropped:
        copied = known[row["evidence"].split()[1]]
        assert near(told[row["line"]].text, copied) == pytest.approx(float(row["evidence"].split()[-1]), abs=6e-4)


def test_the_result_does_not_depend_on_the_order_of_the_input(tmp_path: Path, store: Store) -> None:
    given_rows = [row._replace(source=f"{row.source}{number % 3}") for number, row in enumerate(planted(4, 80))]
    found = set()
    for seed in range(4):
        random.Random(seed).shuffle(given_rows)
        made = deduplicate(store, CONFIG, texts(store, given_rows), ["b1", "a0"])
        found.add(
            (
                tuple((row["id"], row["split"], row["source"]) for row in rows(store, made)),
                tuple(sorted((row["id"], row["reason"]) for row in rows(store, made, "dropped"))),
            )
        )
    assert len(found) == 1
    ((kept, dropped),) = found
    assert kept
    assert len(dropped) > 10


def test_clean_rows_stay(store: Store) -> None:
    given_rows = [*some("card", 50), *some("loan", 50)]
    made = deduplicate(store, LabelledDeduplicationConfig(), texts(store, given_rows))
    assert (made.counts.kept, made.warnings, lines(store, made, "dropped")) == (100, (), [])


def test_questions_about_one_passage_are_no_copies_of_each_other(store: Store, tmp_path: Path) -> None:
    passage = " ".join(f"word{number}" for number in range(120))
    asked = [f"Is the answer to question number {number} told in the passage above?" for number in range(4)]
    rows = [{"premise": passage, "hypothesis": each, "label": "yes"} for each in asked]
    rows.append({"premise": passage.upper(), "hypothesis": asked[0], "label": "yes"})
    ingested = ingest(store, LabelledIngestionConfig(), [source(tmp_path / "pairs.jsonl", rows)])
    deduplicated = deduplicate(store, LabelledDeduplicationConfig(), ingested.only("texts"), ["pairs"])
    assert deduplicated.counts.kept == 4
    assert deduplicated.counts.dropped == {"exact duplicate": 1}
