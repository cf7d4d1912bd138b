"""The classifier's gate: what it says of models by hand, and how often it errs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.metrics import f1_score

from tasks.algorithms.classification.scores import LabelScores, per_label
from tasks.algorithms.classification.verdicts import GateLimits, compare, verdict_of
from tasks.algorithms.gate.pairs import Row, Rows
from tasks.gate_record import SCORES
from tests.algorithms.classification.matrices import Indicator, guesses, one_hot

LIMITS = GateLimits()
BOTH = ["a", "b"]


def half_right(rows: int, wrong: int) -> Indicator:
    """Answers to as many rows of one label as of another, of which the first are wrong."""
    return one_hot([(place + (place < wrong)) % 2 for place in range(rows)], 2)


def gate(
    rows: int, wrong: int, limits: GateLimits = LIMITS, labels: list[LabelScores] | None = None, **rivals: int
) -> Rows:
    """Score rows where the model has `wrong` rows wrong and its rivals theirs; one's errors are among the other's."""
    truth, decided = half_right(rows, 0), half_right(rows, wrong)
    others = {name: half_right(rows, count) for name, count in rivals.items()}
    return compare(truth, decided, others, labels or [], limits, 1)


def macro(rows: Rows, against: str) -> Row:
    (found,) = (row for row in rows if row["name"] == "macro-F1" and row["against"] == against)
    return found


def test_rows_are_those_of_the_scores_table() -> None:
    labels = [LabelScores("a", 10, 2, 1, 0.0, 0, 0, 0.3)]
    found = gate(100, 10, labels=labels, majority=50, production=9)
    assert [set(row) for row in found] == [set(SCORES.names)] * 5
    assert [(row["name"], row["against"], row["group"]) for row in found] == [
        ("macro-F1", "majority", "baseline"),
        ("accuracy", "majority", "baseline"),
        ("macro-F1", "production", "production"),
        ("accuracy", "production", "production"),
        ("recall of a", "floor", "label"),
    ]
    assert {row["unit"] for row in found} == {"%"}


def test_values_are_in_percent_and_differences_are_tuned_less_rival() -> None:
    found, accuracy = gate(200, 20, tfidf=60)
    assert (found["base"], found["tuned"], found["difference"]) == pytest.approx((70, 90, 20), abs=0.1)
    assert (accuracy["base"], accuracy["tuned"], accuracy["difference"]) == pytest.approx((70, 90, 20))
    assert found["low"] <= found["bootstrap_low"] + 0.5 < 20 < found["high"]
    assert (accuracy["lost"], accuracy["gained"], accuracy["items"]) == (0, 40, 200)
    assert accuracy["mcnemar_p"] < 1e-9
    assert accuracy["verdict"] is None


@pytest.mark.parametrize(
    ("rows", "wrong", "rival", "verdict"),
    [
        (400, 40, 120, "pass"),
        (2000, 200, 200, "pass"),
        (400, 60, 40, "fail"),
        (400, 42, 40, "investigate"),
        (20, 4, 4, "underpowered"),
        (20, 3, 4, "underpowered"),
    ],
)
def test_verdicts_on_macro_f1(rows: int, wrong: int, rival: int, verdict: str) -> None:
    assert macro(gate(rows, wrong, tfidf=rival), "tfidf")["verdict"] == verdict


def test_a_stricter_limit_needs_more_rows() -> None:
    assert macro(gate(400, 40, GateLimits(worse=0.1), tfidf=42), "tfidf")["verdict"] == "underpowered"


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_as_many_rows_as_were_said_to_decide_do_decide(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = np.arange(80) % 3
    one, other = guesses(random, truth, 3, 0.7), guesses(random, truth, 3, 0.7)
    decided, rival = sorted((one, other), key=lambda each: -f1_score(truth, each, average="macro"))
    few = compare(one_hot(truth, 3), one_hot(decided, 3), {"tfidf": one_hot(rival, 3)}, [], LIMITS, 1)[0]
    assert few["verdict"] == "underpowered"
    times = -(-few["needed_items"] // 80)
    more = [np.tile(each, times) for each in (truth, decided, rival)]
    found = compare(one_hot(more[0], 3), one_hot(more[1], 3), {"tfidf": one_hot(more[2], 3)}, [], LIMITS, 1)[0]
    assert found["verdict"] == "pass"


def test_two_that_answer_alike_are_said_to_and_few_rows_prove_nothing() -> None:
    few, many = macro(gate(40, 4, tfidf=4), "tfidf"), macro(gate(400, 4, tfidf=4), "tfidf")
    assert (few["verdict"], many["verdict"]) == ("underpowered", "pass")
    assert many["note"] == "The two answer alike on every row."
    assert macro(gate(few["needed_items"] // 2 * 2 + 2, 4, tfidf=4), "tfidf")["verdict"] == "pass"


def test_only_the_baselines_of_the_limits_and_production_are_judged() -> None:
    found = gate(400, 80, majority=40, frozen=40, production=40)
    assert macro(found, "majority")["verdict"] == macro(found, "production")["verdict"] == "fail"
    assert macro(found, "frozen")["verdict"] is None
    found = gate(400, 80, GateLimits(baselines=("frozen",)), majority=40, frozen=40)
    assert (macro(found, "majority")["verdict"], macro(found, "frozen")["verdict"]) == (None, "fail")


def test_more_rivals_make_wider_intervals() -> None:
    alone, among = (
        macro(gate(300, 40, **rivals), "tfidf") for rivals in ({"tfidf": 60}, {"tfidf": 60, "majority": 150})
    )
    assert among["low"] < alone["low"] < alone["high"] < among["high"]
    assert among["bootstrap_low"] == alone["bootstrap_low"]


@pytest.mark.parametrize(
    ("hits", "rows", "floor", "verdict"),
    [(0, 200, 0.1, "fail"), (0, 5, 0.1, "investigate"), (1, 20, 0.1, "investigate"), (1, 4, 0.1, None)],
)
def test_labels_that_are_not_learnt(hits: int, rows: int, floor: float, verdict: str | None) -> None:
    truth = one_hot([0] * rows + [1] * 500, 2)
    decided = one_hot([0] * hits + [1] * (rows - hits) + [1] * 500, 2)
    labels = per_label(truth, decided.astype(np.float64), BOTH)
    (found,) = compare(truth, decided, {}, labels, GateLimits(recall_floor=floor), 1)
    assert (found["name"], found["verdict"], found["items"]) == ("recall of a", verdict, rows)
    assert found["difference"] == pytest.approx(100 * (hits / rows - floor))
    assert found["low"] <= found["difference"] <= found["high"]


def test_labels_surely_above_the_floor_or_never_tested_have_no_row() -> None:
    truth = one_hot([0] * 30 + [1] * 30, 3)
    labels = per_label(truth, truth.astype(np.float64), ["a", "b", "nowhere"])
    assert compare(truth, truth, {}, labels, LIMITS, 1) == []


def test_no_floor_no_row() -> None:
    labels = [LabelScores("a", 10, 0, 0, 0, 0, 0, 0.3)]
    assert compare(half_right(10, 0), half_right(10, 0), {}, labels, GateLimits(recall_floor=0), 1) == []


def test_the_reason_says_what_was_compared() -> None:
    assert verdict_of(gate(400, 40, majority=200, tfidf=120)) == (
        "pass",
        "Not below the majority class and TF-IDF with logistic regression in macro-F1, and no label is left unlearnt.",
    )
    verdict, reason = verdict_of(gate(400, 80, production=40))
    assert verdict == "fail"
    assert reason.startswith("Surely below what it must not be below: macro-F1 -10.0 points against the model in prod")
    verdict, reason = verdict_of(gate(20, 4, tfidf=4))
    assert verdict == "underpowered"
    assert "about" in reason
    assert "rows would decide" in reason


def test_the_reason_names_the_labels_and_counts_the_rest() -> None:
    labels = [LabelScores(name, 300, 0, 0, 0, 0, 0, 0.02) for name in "abcde"]
    verdict, reason = verdict_of(gate(400, 40, labels=labels, majority=200))
    assert verdict == "fail"
    assert "recall of a 0.0 % of 300 rows, floor 10 %; " in reason
    assert reason.endswith("; and 2 more.")


def test_without_a_rival_nothing_is_passed() -> None:
    assert verdict_of([])[0] == "underpowered"
    assert verdict_of(gate(400, 40, frozen=60))[0] == "underpowered"


@pytest.mark.parametrize("wrong", [{"worse": -1}, {"recall_floor": 1.5}, {"baselines": ("knn",)}])
def test_limits_out_of_range_are_refused(wrong: Row) -> None:
    with pytest.raises(ValidationError):
        GateLimits.model_validate(wrong)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=1, max_size=25),
    rival=st.sampled_from(["majority", "production"]),
)
def test_any_models_give_rows_that_agree_with_themselves(rows: list[tuple[int, int, int]], rival: str) -> None:
    truth, decided, other = (one_hot(column, 3) for column in zip(*rows, strict=True))
    labels = per_label(truth, decided.astype(np.float64), list("abc"))
    found = compare(truth, decided, {rival: other}, labels, LIMITS, 1)
    for row in found:
        assert row["low"] <= row["difference"] <= row["high"]
        assert row["difference"] == pytest.approx(row["tuned"] - row["base"])
        assert 0 <= row["base"] <= 100
        assert 0 <= row["tuned"] <= 100
    assert verdict_of(found)[1]


def verdicts(behind: float, rows: int, labels: int, runs: int) -> list[str]:
    """The gate's verdicts on a model that is so many points behind its rival, half of whose answers it shares."""
    random = np.random.default_rng([rows, labels, int(behind)])
    better = 0.65 + 2 * behind / 100 / (1 - 1 / labels)
    found = []
    for _ in range(runs):
        truth = random.integers(0, labels, rows)
        shared, common = guesses(random, truth, labels, 0.65), random.random(rows) < 0.5
        ours, theirs = (np.where(common, shared, guesses(random, truth, labels, each)) for each in (0.65, better))
        answers = one_hot(theirs, labels)
        row = compare(one_hot(truth, labels), one_hot(ours, labels), {"tfidf": answers}, [], LIMITS, 1)[0]
        found.append(str(row["verdict"]))
    return found


@pytest.mark.parametrize(("rows", "labels"), [(12, 2), (40, 5), (100, 20), (300, 5)])
def test_a_model_as_good_as_its_rival_seldom_fails(rows: int, labels: int) -> None:
    found = verdicts(0, rows, labels, 150)
    # Two and a half standard errors above 4 %; nominal is 2.5 %.
    assert found.count("fail") / len(found) <= 0.04 + 0.04


@pytest.mark.parametrize(("rows", "labels"), [(40, 2), (150, 5), (400, 5)])
def test_one_that_is_far_behind_hardly_ever_passes(rows: int, labels: int) -> None:
    assert verdicts(7, rows, labels, 100).count("pass") <= 2


def test_and_with_rows_enough_it_fails() -> None:
    found = verdicts(7, 1500, 5, 30)
    assert found.count("fail") / len(found) > 0.9


def test_unlearnt_labels_are_seldom_seen_where_there_are_none() -> None:
    random = np.random.default_rng(21)
    accused = 0
    for _ in range(400):
        # Every label lies exactly on the floor: the worst case for an accusation.
        hits = random.binomial(30, 0.1, 40)
        labels = [LabelScores(str(place), 30, 0, 0, hit / 30, 0, 0, 0) for place, hit in enumerate(hits)]
        truth = half_right(4, 0)
        accused += any(row["verdict"] == "fail" for row in compare(truth, truth, {}, labels, LIMITS, 1))
    assert accused / 400 <= 0.05 + 0.027
