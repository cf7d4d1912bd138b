"""Advice follows from figures: each rule speaks where they speak for it, and is silent where they do not."""

from typing import Any

import pytest

from tasks.reporting.advice import advice
from tasks.reporting.facts import (
    AdviceFacts,
    CurvePoint,
    DiagnosisFacts,
    Facts,
    ForgottenFacts,
    JudgeFacts,
    RatingFacts,
    ScoreFacts,
    SubjectFacts,
)
from tasks.reporting.judged_facts import RatedSide, RateFacts
from tests.reporting.example import BARE, EXAMPLE, SOURCES

TRAINING = EXAMPLE.training
assert TRAINING is not None
CALM = TRAINING.model_copy(update={"diagnoses": (), "curve": ()})


def score(name: str = "mmlu", **more: Any) -> ScoreFacts:
    plain = {"kind": "multiple choice", "better": "higher", "base": 40.0, "tuned": 30.0, "difference": -10.0}
    return ScoreFacts.model_validate(
        {"name": name, "low": -12.0, "high": -8.0, "items": 500, "verdict": "fail", **plain, **more}
    )


KEPT = score(tuned=40.5, difference=0.5, low=-1.0, high=2.0, verdict="pass")


def found(word: str, **given: Any) -> list[AdviceFacts]:
    """What is advised with this word for facts with these fields."""
    facts = Facts.model_validate({**BARE.model_dump(), "training": CALM, **given})
    return [each for each in advice(facts) if word in each.what]


def test_a_run_without_fault_gets_no_advice() -> None:
    assert advice(BARE) == ()
    assert found("", scores=(KEPT,)) == []


@pytest.mark.parametrize(("verdict", "advised"), [("investigate", True), ("fail", True), ("pass", False)])
def test_what_was_forgotten_asks_for_general_rows(verdict: str, advised: bool) -> None:
    given = found("general rows", scores=(score(verdict=verdict),), sources=SOURCES)
    assert bool(given) == advised
    if advised:
        assert given[0].what == "Raise the share of general rows above 35.0%."
        assert given[0].evidence == "mmlu 40.0% → 30.0% (−12.0 to −8.0); 31,670 general rows were not sampled"


def test_without_general_rows_some_are_mixed_in() -> None:
    assert [each.what for each in found("general", scores=(score(),))] == ["Mix in general rows."]


def test_a_change_of_form_asks_for_rows_in_that_form() -> None:
    item = {"benchmark": "mmlu", "prompt": "?", "expected": "B", "base": "B", "tuned": "It is B."}
    drifted = [ForgottenFacts.model_validate({**item, "drift": "format"})] * 3
    lost = [ForgottenFacts.model_validate({**item, "drift": "knowledge"})] * 3
    given = found("in the form", scores=(score(),), forgotten=[*drifted, lost[0]])
    assert given[0].evidence.startswith("3 of 4 lost items hold the right answer in another form; mmlu 40.0%")
    assert not found("in the form", scores=(score(),), forgotten=[*drifted, *lost])
    assert not found("in the form", scores=(KEPT,), forgotten=drifted)


@pytest.mark.parametrize(
    ("method", "verdict", "word", "advised"),
    [
        ("full", "fail", "Train an adapter", True),
        ("full", "investigate", "Train an adapter", False),
        ("LoRA", "fail", "Train an adapter", False),
        ("LoRA", "fail", "fewer layers", True),
    ],
)
def test_grave_forgetting_by_full_training_asks_for_an_adapter(
    method: str, verdict: str, word: str, advised: bool
) -> None:
    training = CALM.model_copy(update={"method": method})
    assert bool(found(word, scores=(score(verdict=verdict),), training=training)) == advised


def test_subjects_that_lost_most_are_named_where_their_benchmark_fell() -> None:
    def subject(name: str, lost: int, gained: int, benchmark: str = "mmlu") -> SubjectFacts:
        return SubjectFacts(benchmark=benchmark, subject=name, items=30, base=50, tuned=40, difference=-10, lost=lost,
                            gained=gained)  # fmt: skip

    given = [subject("virology", 5, 1), subject("high_school_physics", 9, 0), subject("law", 2, 0),
             subject("cooking", 9, 0, "other")]  # fmt: skip
    (told,) = found("Add rows on", scores=(score(),), subjects=given)
    assert told.what == "Add rows on high school physics and virology."
    assert told.evidence == (
        "high school physics (mmlu) lost 9 and gained 0 of 30 items; virology (mmlu) lost 5 and gained 1 of 30 items"
    )
    assert not found("Add rows on", scores=(KEPT,), subjects=given)


def test_overfitting_asks_for_fewer_epochs() -> None:
    seen = DiagnosisFacts(name="overfitting", sentence="the gap is 0.4", advice="Train less.")
    (told,) = found("fewer epochs", training=CALM.model_copy(update={"diagnoses": (seen,)}))
    assert told.evidence == "The gap is 0.4."
    assert not found("fewer epochs", training=CALM)


@pytest.mark.parametrize(("last", "advised"), [(1.40, True), (1.301, False), (1.25, False)])
def test_a_heldout_loss_that_rises_at_the_end_asks_for_fewer_epochs(last: float, advised: bool) -> None:
    losses = [1.9, 1.3, last]
    curve = [CurvePoint(step=100 * at, loss=1.0, heldout_loss=loss) for at, loss in enumerate(losses, start=1)]
    given = found("fewer epochs", training=CALM.model_copy(update={"curve": tuple(curve)}))
    assert bool(given) == advised
    if advised:
        assert given[0].evidence == "Held-out loss was lowest (1.300) at step 200 and 1.400 at step 300"


def test_a_heldout_loss_worse_than_the_base_asks_for_smaller_steps() -> None:
    loss = score("held-out loss", kind="held-out loss", better="lower", base=1.0, tuned=1.5, difference=0.5, low=0.4,
                 high=0.6, unit="nats", group="loss")  # fmt: skip
    (told,) = found("Lower the learning rate", scores=(loss,))
    assert told.evidence == "held-out loss 1.000 → 1.500 (+0.400 to +0.600)"
    assert not found("Lower the learning rate", scores=(loss.model_copy(update={"verdict": "pass"}),))


def test_other_diagnoses_bring_their_own_advice() -> None:
    seen = DiagnosisFacts(name="learning_rate_too_low", sentence="hardly a change", advice="Raise the rate.")
    (told,) = found("Raise the rate.", training=CALM.model_copy(update={"diagnoses": (seen,)}))
    assert told.evidence == "Learning rate too low: hardly a change."


def test_an_open_case_asks_for_more_items_and_says_how_many() -> None:
    open_case = score(low=-6.0, high=1.0, tuned=37.5, difference=-2.5, verdict="underpowered", needed_items=1400)
    (told,) = found("Ask more items", scores=(open_case,), decide="fettle evaluate r.yaml --until-decided")
    assert told.what == "Ask more items of mmlu."
    assert told.evidence == "500 items leave −6.0 to +1.0 possible; about 1,400 would decide"
    assert told.command == "fettle evaluate r.yaml --until-decided"
    assert not found("Ask more items", scores=(KEPT,))


def test_sources_seen_too_often_or_too_small_ask_for_rows() -> None:
    plain = SOURCES[0]
    often = plain.model_copy(update={"epochs": 4.9})
    small = plain.model_copy(update={"achieved_share": 0.2})
    assert found("Gather more rows of support, or", sources=(often,))[0].evidence.startswith("Each of its 5,986 rows")
    assert "asks for 30.0%, its 5,986 rows gave 20.0%" in found("Gather more", sources=(small,))[0].evidence
    assert not found("Gather more", sources=(plain.model_copy(update={"epochs": 4.0}),))


def test_a_goal_that_was_not_reached_asks_for_such_rows() -> None:
    goal = score("our questions", tuned=41.0, difference=1.0, low=-1.0, high=3.0, verdict=None)
    assert found("like the questions of our questions", scores=(goal,))
    reached = score("our questions", tuned=61.0, difference=21.0, low=11.0, high=33.0, verdict=None)
    assert not found("like the questions", scores=(reached,))


@pytest.mark.parametrize(
    ("name", "tuned", "verdict", "advised"),
    [
        ("cut off at the limit", 12.5, "pass", True),
        ("template leaks", 1.0, "fail", True),
        ("template leaks", 1.0, "pass", False),
        ("apology rate", 50.0, "fail", False),
    ],
)
def test_answers_without_end_ask_for_the_template_first(name: str, tuned: float, verdict: str, advised: bool) -> None:
    broken = score(name, better="lower", base=0.0, tuned=tuned, difference=tuned, low=0.1, high=60.0, verdict=verdict,
                   group="behaviour")  # fmt: skip
    given = found("", scores=(score(), broken))
    assert given[0].what.startswith("Mend the chat template") == advised


BEHAVES = score("apology", better="lower", base=3.0, tuned=2.0, difference=-1.0, low=-3.0, high=1.0, verdict="pass",
                group="behaviour")  # fmt: skip


def judged(low: float, high: float, void: tuple[str, ...] = ()) -> JudgeFacts:
    return JudgeFacts(judge="j", prompts=80, win_rate=RateFacts(rate=(low + high) / 2, low=low, high=high), void=void)


def rated(mean: float) -> RatingFacts:
    side = RatedSide(mean=mean, deviation=1, ratings=20, counts=(0, 0, 20, 0, 0))
    return RatingFacts(raters={"ada": 20}, items=20, base=side, tuned=side, difference=0)


@pytest.mark.parametrize(
    ("given", "advised"),
    [
        ({"judge": (judged(0.4, 0.6),)}, True),
        ({"judge": (judged(0.55, 0.7),)}, False),
        ({"judge": (judged(0.4, 0.6, void=("sentinels",)),)}, False),
        ({"ratings": rated(3.1)}, True),
        ({"ratings": rated(4.2)}, False),
        ({"ratings": rated(3.1), "scores": (BEHAVES, score())}, False),
        ({"ratings": rated(3.1), "scores": ()}, False),
        ({}, False),
    ],
)
def test_preference_tuning_is_for_answers_in_good_form_that_do_not_please(given: dict[str, Any], advised: bool) -> None:
    assert bool(found("preferences", **{"scores": (BEHAVES,), **given})) == advised


def test_the_evidence_for_preference_tuning_names_form_and_displeasure() -> None:
    followed = score("ifeval", kind="ifeval", tuned=42.0, difference=2.0, low=-1.0, high=5.0,
                     verdict="pass")  # fmt: skip
    (told,) = found("preferences", scores=(followed,), ratings=rated(3.1), judge=(judged(0.4, 0.6),))
    assert told.evidence == (
        "ifeval 40.0% → 42.0% (−1.0 to +5.0); the judge prefers the tuned answers in 50.0% (40.0% to 60.0%); "
        "people rate them 3.1 of 5"
    )


def test_an_open_case_is_told_once_with_the_items_that_decide_both_comparisons() -> None:
    given = {"tuned": 37.0, "difference": -3.0, "low": -7.0, "high": 1.0, "verdict": "underpowered"}
    base, production = score(needed_items=516, **given), score(needed_items=900, against="production", **given)
    passed = score("arc", tuned=40.5, difference=0.5, low=-1.0, high=2.0, verdict="pass", against="production")
    (told,) = found("Ask more items", scores=(base, production, passed))
    assert told.evidence == "500 items leave −7.0 to +1.0 possible; about 900 would decide"
    assert len(found("Ask more items", scores=(score(**given), KEPT.model_copy(update={"against": "production"})))) == 1


def test_a_model_worse_than_the_one_in_production_is_compared_with_its_run() -> None:
    (told,) = found("fettle diff", scores=(KEPT, score(against="production")))
    assert told.evidence == "mmlu 40.0% → 30.0% (−12.0 to −8.0)"
    assert found("fettle diff", scores=(score(),)) == []
