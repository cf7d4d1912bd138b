"""Rows of an evaluation's tables become facts; what a report has no use for is left out, what is absent stays so."""

from typing import Any

import pytest

from tasks.reporting.gathered import (
    forgotten_facts,
    instruction_facts,
    judge_facts,
    sample_facts,
    score_facts,
    subject_facts,
)

SHOWN = {"benchmark": "mmlu", "item_id": "a", "subject": "law", "question": "?", "expected": "B", "base": "B"}
FIGURES = {"judge": "j", "void": [], "questions": 172,
           "cached": 40, "unparsed": 3, "failed": 0, "not_asked": 0, "sentinels": 12,
           "wrong_sentinels": 1, "first_position_rate": 0.53, "consistency": None, "input_tokens": 900,
           "output_tokens": 100, "cost": 0.31}  # fmt: skip
RATES = {"model": "tuned", "opponent": "base", "prompts": 80, "rate": 0.6, "low": 0.5, "high": 0.7, "resolves": 0.1,
         "length_controlled": 0.55, "length_controlled_low": 0.45, "length_controlled_high": 0.65, "longer_by": 12.0,
         "wins": 40, "ties": 16, "losses": 24}  # fmt: skip


def test_a_score_keeps_its_figures_and_loses_what_no_report_shows() -> None:
    row = {"name": "mmlu", "kind": "multiple_choice", "better": "higher", "unit": "%", "items": 9, "base": 50.0,
           "tuned": 40.0, "difference": -10.0, "low": None, "high": None, "standard_error": 3.0, "group": "benchmark",
           "against": "production", "lost": 3, "gained": 1, "needed_items": None, "note": None}  # fmt: skip
    (score,) = score_facts([row])
    assert (score.difference, score.against, score.lost, score.needed_items, score.note) == (
        -10,
        "production",
        3,
        None,
        "",
    )


def test_subjects_keep_their_order() -> None:
    row = {"benchmark": "mmlu", "items": 4, "base": 50.0, "tuned": 25.0, "difference": -25.0, "lost": 1, "gained": 0}
    assert [each.subject for each in subject_facts([{**row, "subject": name} for name in "cab"])] == ["c", "a", "b"]


def test_forgotten_items_tell_their_drift_up_to_a_number() -> None:
    found = forgotten_facts([{**SHOWN, "tuned": "It is B", "drift": "format"}] * 5, most=3)
    assert [(each.prompt, each.expected, each.drift) for each in found] == [("?", "B", "format")] * 3


@pytest.mark.parametrize(
    ("before", "after", "improved"),
    [(True, False, False), (False, True, True), (True, True, None), (False, False, None), (None, None, None)],
)
def test_a_sample_is_better_or_worse_only_where_one_is_right(before: Any, after: Any, improved: bool | None) -> None:
    (found,) = sample_facts([{**SHOWN, "tuned": "A", "why": "lost", "base_right": before, "tuned_right": after}])
    assert (found.improved, found.why, found.prompt) == (improved, "lost", "?")


def followed(*prompts: tuple[tuple[str, bool, bool], ...]) -> list[dict[str, Any]]:
    """Answers to prompts of which each instruction's name is told, and whether it is followed strictly and loosely."""
    names = ("name", "strict", "loose")
    rows = [[dict(zip(names, each, strict=True)) for each in prompt] for prompt in prompts]
    return [{"benchmark": "mmlu", "followed": None}, *({"benchmark": "ifeval", "followed": row} for row in rows)]


def test_four_ways_to_count_who_follows_instructions() -> None:
    base = followed((("comma", True, True), ("words", True, True)), (("comma", True, True),), (("case", False, True),))
    tuned = followed(
        (("comma", True, True), ("words", False, True)), (("comma", False, False),), (("case", True, True),)
    )
    (told,) = instruction_facts(base, tuned)
    assert (told.benchmark, told.prompts, told.instructions) == ("ifeval", 3, 4)
    assert [(row.name, row.base, row.tuned) for row in told.accuracies] == [
        ("prompts, strict", pytest.approx(200 / 3), pytest.approx(100 / 3)),
        ("prompts, loose", 100.0, pytest.approx(200 / 3)),
        ("instructions, strict", 75.0, 50.0),
        ("instructions, loose", 100.0, 75.0),
    ]
    assert [(kind.name, kind.asked, kind.base, kind.tuned) for kind in told.lost] == [
        ("comma", 2, 2, 1),
        ("words", 1, 1, 0),
    ]


def test_measurements_that_tell_of_no_instructions_are_passed_over() -> None:
    older = [{"benchmark": "ifeval"}]
    assert instruction_facts(older, older) == ()
    assert instruction_facts(older, followed((("comma", True, True),))) == ()


def test_a_judges_word_on_the_tuned_model_against_each_other() -> None:
    other = {**RATES, "opponent": "production", "rate": 0.52, "length_controlled": None}
    elsewhere = {**RATES, "model": "production"}
    elo = [{"model": "tuned", "elo": 1050.0, "low": 1020.0, "high": 1080.0, "contests": 80}]
    grade = {"model": "tuned", "prompts": 80, "mean": 6.5, "low": 6.0, "high": 7.0, "turn_1": 7.0, "turn_2": None}
    told = {"comparisons": [elsewhere, RATES, other], "ratings": elo, "grades": [grade]}
    first, second = judge_facts({**FIGURES, **told})
    assert first.win_rate is not None
    assert (first.opponent, first.win_rate.rate, first.wins, first.prompts) == ("base", 0.6, 40, 80)
    assert first.length_controlled is not None
    assert (second.opponent, second.length_controlled) == ("production", None)
    assert first.cost == "172 questions, 40 of them answered before; 1,000 tokens, 0.31"
    assert "consistency" not in first.checks
    assert first.checks["wrong_sentinels"] == 1
    assert first.elo[0].elo == 1050
    assert (first.grades[0].mean, first.grades[0].turn_1, first.grades[0].turn_2) == (6.5, 7.0, None)
    assert (second.judge, second.cost, second.checks, second.elo, second.grades) == ("j", "", {}, (), ())


def test_of_a_void_judgement_no_rate_is_told() -> None:
    (found,) = judge_facts({**FIGURES, "void": ["5 of 12 sentinels were judged wrongly"]})
    assert (found.win_rate, found.length_controlled, found.elo, found.judge) == (None, None, (), "j")
    assert found.void == ("5 of 12 sentinels were judged wrongly",)
    assert found.checks["unparsed"] == 3
