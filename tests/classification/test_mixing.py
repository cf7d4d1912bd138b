"""Mix: which side each row is on, which labels there are, and which of them look wrong."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from tasks.artifacts.manifest import Artifact
from tasks.artifacts.store import Store
from tasks.classification.mixing import LabelledMixingConfig, mix
from tasks.labelled_text import SIDES
from tests.classification.making import TOPICS, Text, about, facts, reasons, rows, some, texts

QUIET = LabelledMixingConfig(suspicious="ignore")


def mixed(
    store: Store,
    given: Sequence[Text],
    config: LabelledMixingConfig = QUIET,
    labels: Sequence[str] = (),
    *,
    several: bool = False,
) -> Artifact:
    return mix(store, config, texts(store, given), list(labels), several)


def sides(store: Store, made: Artifact) -> dict[str, str]:
    """The side of each text."""
    return {row["text"]: side for side in SIDES for row in rows(store, made, side)}


def names(store: Store, made: Artifact) -> list[str]:
    return [row["name"] for row in rows(store, made, "labels")]


def by_label(store: Store, made: Artifact) -> dict[str, dict[str, Any]]:
    return {each["label"]: each for each in facts(store, made)["labels"]}


def test_sides_are_drawn_label_by_label(store: Store) -> None:
    given = [*some("card", 200), *some("loan", 40), *some("open", 5), *some("fees", 4)]
    made = mixed(store, given, LabelledMixingConfig(test=0.2, validation=0.1, suspicious="ignore"))
    found = by_label(store, made)
    assert (found["card"]["test"], found["loan"]["test"]) == (40, 8)
    assert found["card"]["validation"] in range(15, 21)
    for label in TOPICS:
        assert all(found[label][side] >= 1 for side in SIDES)
    assert (made.counts.read, made.counts.kept) == (249, 249)
    assert Counter(sides(store, made).values()) == {side: sum(each[side] for each in found.values()) for side in SIDES}


def test_what_is_drawn_does_not_depend_on_the_order(store: Store) -> None:
    given = [*some("card", 30), *some("loan", 30)]
    assert sides(store, mixed(store, given)) == sides(store, mixed(store, given[::-1]))


def test_more_rows_of_a_label_move_no_row_of_another_and_hardly_any_of_its_own(store: Store) -> None:
    given = [*some("card", 200), *some("loan", 60), *some("open", 9)]
    before = sides(store, mixed(store, given))
    after = sides(store, mixed(store, [*some("card", 100, start=1000), *given]))
    moved = {text for text, side in before.items() if after[text] != side}
    assert {row.labels for row in given if row.text in moved} <= {"card"}
    assert len(moved) <= 16


def test_given_sides_stay_and_only_what_is_not_given_is_drawn(store: Store) -> None:
    given = [*some("card", 40, "train"), *some("loan", 40, "train"), *some("card", 9, "test", 100)]
    given += [*some("loan", 9, "test", 100), *some("card", 20, "", 200)]
    made = mixed(store, given)
    found = sides(store, made)
    assert all(found[row.text] == "test" for row in given if row.split == "test")
    assert all(found[row.text] in ("train", "validation") for row in given if row.split != "test")
    assert 5 <= Counter(found.values())["validation"] <= 11
    given += some("loan", 5, "validation", 300)
    found = sides(store, mixed(store, given))
    assert Counter(found.values()) == {"train": 100, "test": 18, "validation": 5}


def test_rows_that_say_train_are_never_measured_by(store: Store) -> None:
    given = [*some("card", 30, "train"), *some("loan", 30, "train"), *some("card", 10, "", 100)]
    found = sides(store, mixed(store, [*given, *some("loan", 10, "", 100)]))
    assert {row.split for row in given if found[row.text] == "test"} == {""}


def test_an_unseen_label_is_dropped_counted_and_warned_of(store: Store) -> None:
    given = [*some("card", 20, "train"), *some("loan", 20, "train"), *some("card", 5, "test", 50)]
    given += [*some("open", 2, "test"), *some("fees", 1, "validation"), *some("loan", 3, "validation", 50)]
    made = mixed(store, given)
    assert made.counts.dropped == {"label not in training": 3}
    assert set(reasons(store, made)) == {"s:46", "s:47", "s:48"}
    assert {row["evidence"] for row in rows(store, made, "dropped")} == {
        "no training row is 'open'",
        "no training row is 'fees'",
    }
    (warning,) = [each for each in made.warnings if "no training row has" in each]
    assert warning.startswith("3 test or validation rows have a label")
    assert names(store, made) == ["card", "loan"]
    assert set(sides(store, made).values()) == set(SIDES)


def test_a_single_row_stays_in_training_and_is_warned_of(store: Store) -> None:
    made = mixed(store, [*some("card", 20), *some("loan", 20), *some("open", 1), *some("fees", 3)])
    assert by_label(store, made)["open"] == {"label": "open", "train": 1, "validation": 0, "test": 0}
    assert (
        "1 label ('open') can hardly be learnt from a single training row; add rows, or leave it out." in made.warnings
    )
    assert any("of 1 label ('open') nothing is measured" in each for each in made.warnings)


def test_imbalance_is_warned_of_from_five_times_on(store: Store) -> None:
    split = [*some("card", 5, "test", 900), *some("loan", 5, "validation", 900)]
    for count, is_warned in ((50, False), (51, True)):
        train = [*some("card", count, "train"), *some("loan", 10, "train")]
        warnings = [each for each in mixed(store, [*train, *split]).warnings if "times the training rows" in each]
        assert bool(warnings) is is_warned
    assert warnings[0].startswith("'card' has 5 times the training rows of 'loan' (51 and 10)")


def test_one_label_only_is_refused_in_words(store: Store) -> None:
    with pytest.raises(ValueError, match=r"training rows every row is 'card', so there is nothing to tell apart"):
        mixed(store, some("card", 30))
    # Where texts may have several labels, those that do not have the only one are something else.
    unlabelled = [Text(row.text, ()) for row in some("loan", 30)]
    assert names(store, mixed(store, [*some("card", 30), *unlabelled], several=True)) == ["card"]
    with pytest.raises(ValueError, match="training rows no row has a label"):
        mixed(store, unlabelled, several=True)


def test_nothing_to_measure_by_is_refused_in_words(store: Store) -> None:
    with pytest.raises(ValueError, match=r"no row is left for the test side: 0 of 20 rows .* `split: test`"):
        mixed(store, [*some("card", 10, "train"), *some("loan", 10, "train")])
    with pytest.raises(ValueError, match="no row is left for the test side: 4 of 4 rows"):
        mixed(store, [*some("card", 2), *some("loan", 2)])
    with pytest.raises(ValueError, match="no row is left for the validation side"):
        mixed(store, [*some("card", 2, "train"), *some("loan", 2, "train"), *some("card", 2, "test", 9)])


@pytest.mark.parametrize("side", ["validation", "test"])
def test_a_given_side_of_labels_that_nobody_learns_is_refused_in_words(store: Store, side: str) -> None:
    given = [*some("card", 20), *some("loan", 20), *some("open", 3, side)]
    with pytest.raises(ValueError, match=f"none of the 3 rows of the given {side} side has a label .* 'open'"):
        mixed(store, given)


def test_of_a_label_no_more_is_learnt_from_than_the_recipe_says(store: Store) -> None:
    given = [*some("card", 60), *some("loan", 10)]
    config = LabelledMixingConfig(most_per_label=8, suspicious="ignore")
    made = mixed(store, given, config)
    found = by_label(store, made)
    assert found["card"]["train"] == 8
    assert found["loan"]["train"] <= 8
    assert made.counts.dropped == {"over most_per_label": 70 - made.counts.kept}
    whole = by_label(store, mixed(store, given))
    assert all(found[label][side] == whole[label][side] for label in found for side in ("validation", "test"))
    again = mixed(store, given[::-1], config)
    assert {row["id"] for row in rows(store, again, "train")} == {row["id"] for row in rows(store, made, "train")}


def test_labels_stand_in_the_declared_order_or_the_natural_one(store: Store) -> None:
    given = [Text(about("card", n), str(n % 3 + 9)) for n in range(60)]
    assert names(store, mixed(store, given)) == ["9", "10", "11"]
    assert names(store, mixed(store, given, labels=["10", "none", "11", "9"])) == ["10", "11", "9"]
    odd = ["10", "9", "-1", "b", "B", "--5", "1" * 30, "01", "1"]
    given = [Text(about("card", n), odd[n % len(odd)]) for n in range(90)]
    assert names(store, mixed(store, given)) == ["-1", "01", "1", "9", "10", "--5", "1" * 30, "B", "b"]


def with_errors(count: int, every: int) -> tuple[list[Text], set[str]]:
    """Texts of four topics, every so many with the label of another one; and which."""
    given, wrong = [], set()
    labels = list(TOPICS)
    for number in range(count):
        label = labels[number % 4]
        text = about(label, number)
        if number % every == 7:
            wrong.add(text)
            label = labels[(number + 1) % 4]
        given.append(Text(text, label))
    return given, wrong


def test_planted_wrong_labels_are_among_the_suspects(store: Store) -> None:
    given, wrong = with_errors(400, 25)
    made = mixed(store, given, LabelledMixingConfig())
    train = {row["text"] for row in rows(store, made, "train")}
    suspects = rows(store, made, "suspects")
    found = [row["text"] for row in suspects]
    planted = wrong & train
    assert len(planted) >= 8
    assert len(planted & set(found)) >= 0.7 * len(planted)
    assert len(set(found) - planted) <= 4
    assert facts(store, made)["suspicious"] == len(found)
    confidences = [row["confidence"] for row in suspects]
    assert confidences == sorted(confidences)
    told = {row.text: row.labels for row in given}
    assert all(row["given"] == [told[row["text"]]] and row["suggested"] != row["given"] for row in suspects)
    assert made.counts.dropped == {}


def test_suspects_are_left_out_where_the_recipe_says_so(store: Store) -> None:
    given, _ = with_errors(400, 25)
    listed = mixed(store, given, LabelledMixingConfig())
    made = mixed(store, given, LabelledMixingConfig(suspicious="drop"))
    suspects = {row["id"] for row in rows(store, listed, "suspects")}
    train = {row["id"] for row in rows(store, made, "train")}
    assert suspects
    assert train == {row["id"] for row in rows(store, listed, "train")} - suspects
    assert made.counts.dropped == {"suspicious label": len(suspects)}
    assert {row["id"] for row in rows(store, made, "dropped")} == suspects
    assert {row["id"] for row in rows(store, made, "suspects")} == suspects
    for side in ("validation", "test"):
        assert rows(store, made, side) == rows(store, listed, side)


def test_no_label_loses_its_last_row_to_suspicion(store: Store) -> None:
    given, wrong = with_errors(400, 25)
    sides_of = sides(store, mixed(store, given))
    # Each wrong row of training alone bears a label of its own, beside the wrong one.
    own = {text: f"own {number}" for number, text in enumerate(sorted(wrong)) if sides_of[text] == "train"}
    several = [
        Text(row.text, (row.labels, own[row.text]) if row.text in own else (row.labels,), sides_of[row.text])
        for row in given
        if isinstance(row.labels, str)
    ]
    made = mixed(store, several, LabelledMixingConfig(suspicious="drop"), several=True)
    assert rows(store, made, "suspects")
    found = by_label(store, made)
    assert set(names(store, made)) == {*TOPICS, *own.values()}
    assert all(each["train"] >= 1 for each in found.values())


def test_rows_are_conserved(store: Store) -> None:
    given, _ = with_errors(120, 11)
    given += [
        *some("card", 6, "validation", 900),
        *[Text(about("fees", 800 + n), "rare", "validation") for n in range(2)],
    ]
    config = LabelledMixingConfig(suspicious="drop", most_per_label=20)
    made = mixed(store, given, config)
    kept = [row["line"] for side in SIDES for row in rows(store, made, side)]
    dropped = [row["line"] for row in rows(store, made, "dropped")]
    assert sorted(kept + dropped) == list(range(1, len(given) + 1))
    assert made.counts.kept == len(kept)
    assert set(made.counts.dropped) >= {"over most_per_label", "label not in training"}
