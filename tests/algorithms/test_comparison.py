"""Two and three measurements side by side: paired, refused when the questions differ, and never passed on nothing."""

import copy
import math
import time

import numpy as np
import pytest

from tasks.algorithms.gate.comparison import Gate, compare
from tasks.algorithms.gate.limits import BehaviourLimits, RateLimit
from tasks.algorithms.gate.pairs import IncomparableError, Measured, Row
from tasks.algorithms.gate.verdict import verdict_of
from tests.algorithms.measurements import choices, documents, generated, heldout, together

GATE = Gate(gated=("b", "c", "wiki"), investigate=2, fail=5)
LOSSES = [10.0 + number % 3 for number in range(60)]


def score(base: Measured, tuned: Measured, name: str, gate: Gate = GATE) -> Row:
    (found,) = [each for each in compare(base, tuned, gate).scores if each["name"] == name]
    return found


def differing(right: list[bool]) -> tuple[Measured, Measured]:
    """Two models that are right on the same items and are two models nonetheless."""
    other = choices(right)
    for row in other["answers"]:
        row["loglikelihoods"] = [each - 0.1 for each in row["loglikelihoods"]]
    return choices(right), other


@pytest.mark.parametrize("items", [1, 12, 200])
def test_a_model_compared_with_itself_passes_everything_with_no_flips(items: int) -> None:
    texts = ["Sorry, I am sorry. " * 20] * items  # a bad habit of the base, and none of the training's making
    model = together(
        choices([number % 2 == 0 for number in range(items - 1)] + [True]),
        generated(texts, [1.0] * items, "c"),
        generated(texts),
        documents(LOSSES[:items]),
        heldout(LOSSES),
    )
    again = copy.deepcopy(model)
    for row in again["answers"]:  # the last digits change with the batch
        row["loglikelihoods"] = [each + 1e-5 for each in row["loglikelihoods"]]
    for row in again["heldout"]:
        row["loss_sum"] += 1e-5
    made = compare(model, again, GATE, again)
    gated = [each for each in made.scores if each["verdict"]]
    assert {each["verdict"] for each in gated} == {"pass"}
    assert verdict_of(made.scores)[0] == "pass"
    assert {each["difference"] for each in made.scores if each["group"] != "loss"} == {0.0}
    assert not any(each["lost"] or each["gained"] for each in made.scores)
    assert not made.forgotten


def test_two_models_that_are_right_alike_pass_only_with_enough_items() -> None:
    assert score(*differing([True] * 200), "b")["verdict"] == "pass"
    few = score(*differing([True] * 12), "b")
    assert (few["verdict"], few["needed_items"]) == ("underpowered", 83)
    assert score(*differing([True]), "b")["verdict"] == "underpowered"


def test_texts_alone_do_not_show_that_two_models_are_one() -> None:
    answers = generated(["42"] * 20, [1.0] * 20, "b")
    assert score(answers, answers, "b")["verdict"] == "underpowered"
    assert score(together(answers, heldout(LOSSES)), together(answers, heldout(LOSSES)), "b")["verdict"] == "pass"


@pytest.mark.parametrize(("before", "after"), [(0, 0), (1, 0)])
def test_nothing_right_at_all_is_no_result(before: int, after: int) -> None:
    base, tuned = choices([True] * before + [False] * (500 - before)), choices([False] * 500)
    found = score(base, tuned, "b")
    assert (found["verdict"], found["needed_items"]) == ("underpowered", None)
    assert "exactly 0 on every item is a broken run" in verdict_of([found])[1]


def test_nothing_right_any_more_fails() -> None:
    assert score(choices([True] * 100), choices([False] * 100), "b")["verdict"] == "fail"


def test_a_grave_drop_fails_and_is_listed_item_by_item() -> None:
    base, tuned = choices([True] * 200), choices([True] * 150 + [False] * 50)
    found = score(base, tuned, "b")
    assert (found["base"], found["tuned"], found["difference"]) == (100, 75, -25)
    # The gate's interval leaves out 5 % at each end, the bootstrap's half as much.
    assert -35 < found["bootstrap_low"] < found["low"] < -25 < found["high"] < found["bootstrap_high"] < -15
    assert (found["verdict"], found["lost"], found["gained"]) == ("fail", 50, 0)
    assert found["mcnemar_p"] == pytest.approx(2.0**-50)
    forgotten = compare(base, tuned, GATE).forgotten
    assert len(forgotten) == 50
    assert {row["expected"] for row in forgotten} == {"a"}
    assert {row["tuned"] for row in forgotten} == {"b"}


def test_an_open_case_says_how_many_items_decide_it() -> None:
    random = np.random.default_rng(3)
    base = random.random(60) < 0.6
    tuned = base ^ (random.random(60) < 0.15)
    found = score(choices(base.tolist()), choices(tuned.tolist()), "b")
    assert found["verdict"] == "underpowered"
    assert found["needed_items"] > 60
    assert f"about {found['needed_items']:,} items would decide" in verdict_of([found])[1]


def test_benchmark_outside_the_gate_gets_no_verdict() -> None:
    outside = Gate(gated=(), investigate=2, fail=5)
    assert score(choices([True] * 9), choices([False] * 9), "b", outside)["verdict"] is None


def test_every_comparison_of_the_gate_widens_the_interval() -> None:
    base, tuned = choices([True] * 300), choices([True] * 290 + [False] * 10)
    alone = score(base, tuned, "b")
    more = together(base, generated(["42"] * 9, [1.0] * 9, "c"))
    both = score(more, together(tuned, generated(["42"] * 9, [1.0] * 9, "c")), "b")
    production = compare(base, tuned, GATE, base).scores[0]
    assert both["low"] == production["low"] < alone["low"]


def test_macro_average_counts_benchmarks_alike() -> None:
    base = together(choices([True] * 100), generated(["42"] * 10, [1.0] * 10, "c"))
    tuned = together(choices([True] * 90 + [False] * 10), generated(["42"] * 10, [1.0] * 5 + [0.0] * 5, "c"))
    found = score(base, tuned, "macro-average")
    assert (found["base"], found["tuned"], found["difference"]) == (100, 70, -30)
    errors = 100 * math.sqrt(0.09 / 99), 100 * math.sqrt(0.25 / 9)
    assert found["low"] == pytest.approx(-30 - 1.96 * math.hypot(*errors) / 2, abs=0.01)
    assert found["verdict"] is None


def test_production_is_compared_like_the_base() -> None:
    base, production, tuned = choices([True, False] * 200), choices([True] * 400), choices([True] * 300 + [False] * 100)
    made = compare(base, tuned, GATE, production)
    verdicts = {(row["name"], row["against"]): row["verdict"] for row in made.scores}
    assert verdicts == {("b", "base"): "pass", ("b", "production"): "fail"}
    verdict, reason = verdict_of(made.scores)
    assert verdict == "fail"
    assert "b (against production) -25.0 points" in reason


@pytest.mark.parametrize(("rise", "verdict"), [(-5.0, "pass"), (0.0, "pass"), (5.0, "fail")])
def test_heldout_loss_must_not_surely_rise(rise: float, verdict: str) -> None:
    tuned = [loss + rise + 0.01 * (number % 2) for number, loss in enumerate(LOSSES)]
    if not rise:
        tuned[0] -= 5
    found = score(heldout(LOSSES), heldout(tuned), "held-out loss")
    assert found["verdict"] == verdict
    assert found["difference"] == pytest.approx((sum(tuned) - sum(LOSSES)) / 600)


def test_heldout_loss_of_one_row_decides_nothing() -> None:
    found = score(heldout([1.0]), heldout([9.0]), "held-out loss")
    assert (found["verdict"], found["low"]) == ("underpowered", None)
    assert verdict_of([found])[1] == "Too few items to rule out a grave drop: held-out loss +0.800 nats."


def test_a_sure_rise_of_the_loss_on_general_text_wants_a_look() -> None:
    tuned = [loss + 1 + 0.1 * (number % 2) for number, loss in enumerate(LOSSES)]
    assert score(documents(LOSSES), documents(tuned), "wiki")["verdict"] == "investigate"
    slightly = [loss + 0.1 + 0.1 * (number % 2) for number, loss in enumerate(LOSSES)]
    assert score(documents(LOSSES), documents(slightly), "wiki")["verdict"] == "pass"
    outside = Gate(gated=(), investigate=2, fail=5)
    assert score(documents(LOSSES), documents(tuned), "wiki", outside)["verdict"] is None


def test_a_log_likelihood_that_is_no_number_is_refused() -> None:
    broken = choices([True] * 3)
    broken["answers"][1]["loglikelihoods"] = [math.nan, -1.0]
    with pytest.raises(IncomparableError, match="b 1: a log-likelihood is not a finite number"):
        compare(choices([True] * 3), broken, GATE)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_broken_loss_is_refused(loss: float) -> None:
    with pytest.raises(IncomparableError, match="held-out loss: a loss is not a finite number"):
        compare(heldout([1.0, 2.0]), heldout([loss, 2.0]), GATE)


def test_other_prompts_items_rows_or_tokens_are_refused() -> None:
    base = choices([True] * 9)
    worded = copy.deepcopy(base)
    worded["answers"][3]["prompt_sha256"] = "other"
    with pytest.raises(IncomparableError, match="b 3: the base and the tuned model were not asked the same question"):
        compare(base, worded, GATE)
    with pytest.raises(IncomparableError, match="the production model answered 8 items, the tuned one 9"):
        compare(base, base, GATE, choices([True] * 8))
    with pytest.raises(IncomparableError, match="not asked the same question"):
        compare(base, choices([True] * 8), GATE)
    with pytest.raises(IncomparableError, match="not measured on the same held-out rows"):
        compare(heldout([1.0]), heldout([1.0, 1.0]), GATE)
    unscored = copy.deepcopy(base)
    unscored["answers"][0]["score"] = None
    with pytest.raises(IncomparableError, match="b 0: scored for one of the base and the tuned model alone"):
        compare(base, unscored, GATE)
    longer = documents([1.0, 1.0])
    longer["answers"][1]["tokens"] = 11
    with pytest.raises(IncomparableError, match="wiki 1: scored over 10 tokens by one model and 11 by the other"):
        compare(documents([1.0, 1.0]), longer, GATE)


@pytest.mark.parametrize("field", ["question", "choices", "gold", "answer", "cluster", "form"])
def test_items_with_another_right_answer_or_other_choices_are_refused(field: str) -> None:
    base, tuned = differing([True] * 200)
    tuned["items"][7][field] = ["other"]
    with pytest.raises(IncomparableError, match=f"b 7: .* measured on items that differ in {field}"):
        compare(base, tuned, GATE)


def test_an_item_counts_once() -> None:
    base, tuned = differing([True])
    for each in (base, tuned):
        each["items"] = each["items"] * 300
    with pytest.raises(IncomparableError, match="299 items or answers of the base model stand there twice"):
        compare(base, tuned, GATE)
    right, wrong = choices([True] * 300), choices([False] * 300)
    wrong["answers"] += choices([True] * 300)["answers"]
    with pytest.raises(IncomparableError, match="300 items or answers of the tuned model stand there twice"):
        compare(right, wrong, GATE)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("score", math.nan, "the score is nan, and must be from 0 to 1"),
        ("score", 7.0, "the score is 7, and must be from 0 to 1"),
        ("score", -0.5, "the score is -0.5, and must be from 0 to 1"),
        ("loglikelihoods", None, "no choice has a log-likelihood"),
        ("loglikelihoods", [], "no choice has a log-likelihood"),
    ],
)
def test_an_answer_that_says_nothing_is_refused(field: str, value: object, words: str) -> None:
    base, tuned = differing([True] * 300)
    tuned["answers"][5][field] = value
    with pytest.raises(IncomparableError, match=f"b 5: {words}"):
        compare(base, tuned, GATE)


def test_a_loss_of_no_tokens_is_refused() -> None:
    empty = heldout([0.0, 0.0])
    for row in empty["heldout"]:
        row["tokens"] = 0
    with pytest.raises(IncomparableError, match="held-out loss: measured over 0 tokens"):
        compare(empty, copy.deepcopy(empty), GATE)
    unknown = documents([1.0, 2.0])
    unknown["answers"][1]["loss_sum"] = None
    with pytest.raises(IncomparableError, match="wiki 1: the loss of 10 tokens is None; measure again"):
        compare(documents([1.0, 2.0]), unknown, GATE)


def test_a_grave_rise_of_the_loss_on_too_few_rows_is_no_pass() -> None:
    found = score(heldout([10.0, 11.0]), heldout([40.0, 45.0]), "held-out loss")
    assert found["low"] < 0
    assert found["verdict"] == "underpowered"
    assert score(heldout([10.0, 11.0]), heldout([11.0, 12.5]), "held-out loss")["verdict"] == "pass"


def test_good_manners_alone_are_no_pass() -> None:
    verdict, reason = verdict_of(compare(generated(["Paris."] * 80), generated(["Rome."] * 80), GATE).scores)
    assert verdict == "underpowered"
    assert reason.startswith("Nothing was measured that the gate could judge")
    sorry = compare(generated(["Paris."] * 80), generated(["I am sorry."] * 80), GATE).scores
    assert verdict_of(sorry)[0] == "fail"


def test_a_habit_that_surely_grew_fails() -> None:
    base, tuned = generated(["Paris."] * 80), generated(["I am sorry, it is Paris."] * 16 + ["Paris."] * 64)
    found = score(base, tuned, "apology rate")
    assert (found["base"], found["tuned"], found["difference"], found["lost"]) == (0, 20, 20, 16)
    assert found["verdict"] == "fail"
    lenient = Gate(gated=(), investigate=2, fail=5, behaviour=BehaviourLimits(apology=RateLimit(rise=25)))
    assert score(base, tuned, "apology rate", lenient)["verdict"] == "pass"
    few = generated(["Paris."] * 5), generated(["Sorry."] + ["Paris."] * 4)
    assert score(*few, "apology rate")["verdict"] == "pass"


def test_a_habit_above_its_cap_fails_though_the_base_has_it() -> None:
    base, tuned = generated(["I am sorry."] * 80), generated(["I am so sorry."] * 70 + ["Paris."] * 10)
    found = score(base, tuned, "apology rate")
    assert (found["verdict"], found["note"]) == ("fail", "surely above the cap of 25 %")
    free = Gate(gated=(), investigate=2, fail=5, behaviour=BehaviourLimits(apology=RateLimit()))
    assert score(base, tuned, "apology rate", free)["verdict"] == "pass"


def test_refusals_that_were_asked_for_are_no_habit() -> None:
    refusal = "I cannot help with that request."
    base = generated(["Do this."] * 60, [0.0] * 60, "b", kind="refusals")
    tuned = generated([refusal] * 60, [1.0] * 60, "b", kind="refusals")
    names = [row["name"] for row in compare(base, tuned, GATE).scores]
    assert "loops" in names
    assert "refusal rate" not in names


def test_answers_have_a_length_and_a_variety() -> None:
    base, tuned = generated(["one two three four"] * 4), generated(["one two one two"] * 4)
    assert score(base, tuned, "answer length")["difference"] == 0
    assert score(base, tuned, "distinct-2")["tuned"] == pytest.approx(2 / 3)


def test_format_drift_is_told_from_lost_knowledge() -> None:
    base, tuned = choices([True] * 3), choices([False] * 3)
    tuned["answers"][1]["loglikelihoods"] = [-9.0, -8.0]  # none of the choices is likely any more
    assert [row["drift"] for row in _by_item(base, tuned)] == ["knowledge", "format", "knowledge"]
    base = generated(["#### 42"] * 5, [1.0] * 5, "c")
    texts = ["#### 41", "The answer is 42, I think.", "", "#### 4", "no " * 40]
    tuned = generated(texts, [0.0] * 5, "c")
    tuned["answers"][3]["ended"] = False
    assert [row["drift"] for row in _by_item(base, tuned)] == ["knowledge", "format", "format", "format", "format"]


def _by_item(base: Measured, tuned: Measured) -> list[Row]:
    return sorted(compare(base, tuned, GATE).forgotten, key=lambda row: row["item_id"])


def test_subjects_come_worst_first() -> None:
    subjects = ["law"] * 10 + ["art"] * 10 + ["physics"] * 10
    base = choices([True] * 30, cluster=subjects)
    tuned = choices([True] * 9 + [False] + [True] * 10 + [False] * 5 + [True] * 5, cluster=subjects)
    found = compare(base, tuned, GATE).subjects
    assert [(row["subject"], row["difference"], row["lost"]) for row in found] == [
        ("physics", -50, 5),
        ("law", -10, 1),
        ("art", 0, 0),
    ]
    assert compare(choices([True] * 9), choices([True] * 9), GATE).subjects == []


def test_samples_show_the_worst_regressions_of_every_benchmark_and_some_of_everything() -> None:
    base = together(
        choices([True] * 100 + [False] * 20),
        generated(["42"] * 30, [1.0] * 30, "c"),
        generated(["Hello."] * 40),
        documents(LOSSES),
    )
    tuned = together(
        choices([False] * 50 + [True] * 60 + [False] * 10),
        generated(["41"] * 30, [0.0] * 30, "c"),
        generated(["Hi."] * 40),
        documents(LOSSES),
    )
    tuned["answers"][7]["loglikelihoods"] = [-50.0, -1.0]
    found = compare(base, tuned, GATE).samples
    assert [row["why"] for row in found] == (
        ["lost"] * 16 + ["gained"] * 8 + ["unscored"] * 12 + ["both wrong"] * 2 + ["both right"] * 2
    )
    assert (found[0]["benchmark"], found[0]["item_id"]) == ("b", "7")
    assert [row["benchmark"] for row in found[:16]] == ["b", "c"] * 8
    assert compare(copy.deepcopy(base), copy.deepcopy(tuned), GATE).samples == found


def test_samples_fill_up_with_what_there_is() -> None:
    found = compare(choices([True] * 100), choices([True] * 100), GATE).samples
    assert [row["why"] for row in found] == ["both right"] * 40
    assert len(compare(choices([True] * 3), choices([False] * 3), GATE).samples) == 3


def test_nothing_to_judge_is_no_pass() -> None:
    verdict, reason = verdict_of(compare(heldout([]), heldout([]), GATE).scores)
    assert verdict == "underpowered"
    assert reason.startswith("Nothing was measured that the gate could judge")


def test_fourteen_thousand_items_of_three_models_take_seconds() -> None:
    random = np.random.default_rng(2)
    subjects = [str(number % 57) for number in range(14_000)]
    models = [choices((random.random(14_000) < share).tolist(), cluster=subjects) for share in (0.60, 0.59, 0.61)]
    started = time.process_time()
    compare(models[0], models[1], GATE, models[2])
    assert time.process_time() - started < 6  # twice what is promised: other tests run beside this one
