"""The page that compares runs: every figure as given, newest first, nothing loaded, no text taken for markup."""

from datetime import UTC, datetime
from typing import Any

from tasks.reporting.over_time import RunFacts, RunScore, courses, drawn, render_over_time
from tests.reporting.hostile import ATTACK, SHOWN
from tests.reporting.markup import Page
from tests.reporting.over_time_example import RUNS


def run(day: int, *scores: RunScore, **more: Any) -> RunFacts:
    at = datetime(2025, 1, day, tzinfo=UTC)
    return RunFacts.model_validate({"run": f"r{day}", "recipe": "support", "at": at, "scores": scores, **more})


def test_every_figure_appears() -> None:
    page = Page(render_over_time(RUNS))
    for each in RUNS:
        assert each.at_utc in page.text
        assert f"fettle report {each.run}" in page.text
        assert all(f"{name} {change}" in page.text for name, change in each.changed.items())
        for score in each.scores:
            told = f"{score.tuned:.3f}" if score.unit == "nats" else f"{score.tuned:.1f}%"
            assert f"{score.name} {told}" in page.text
    assert "version 3 production" in page.text
    assert "55 min, about 0.79 USD" in page.text


def test_the_newest_run_stands_first_whatever_the_order_given() -> None:
    text = Page(render_over_time(RUNS[::-1])).text
    assert text == Page(render_over_time(RUNS)).text
    places = [text.index(f"fettle report {each.run}") for each in RUNS]
    assert places == sorted(places, reverse=True)


def test_a_measure_has_its_newest_change_and_best() -> None:
    by_name = {course.name: course for course in courses(RUNS)}
    loss = by_name["held-out loss"]
    assert (loss.known[-1].tuned, round(loss.change or 0, 3), loss.best.tuned) == (1.394, -0.037, 1.394)
    assert by_name["hellaswag"].best.tuned == 41.8
    assert len(loss.scores) == 5, "the run that failed was measured on nothing and leaves no gap"


def test_scores_on_other_items_are_not_subtracted() -> None:
    before, after = (RunScore(name="mmlu", tuned=30.0 + 5 * place, items="ab"[place]) for place in (0, 1))
    (course,) = courses([run(1, before), run(2, after)])
    assert course.change is None
    (course,) = courses([run(1, before), run(2, after.model_copy(update={"items": "a"}))])
    assert course.change == 5.0


def test_a_measure_that_some_runs_lack_keeps_its_places() -> None:
    one, other = RunScore(name="mmlu", tuned=30.0), RunScore(name="arc", tuned=20.0)
    found = courses([run(1, one), run(2, other), run(3, one, other)])
    assert [(course.name, [score is not None for score in course.scores]) for course in found] == [
        ("mmlu", [True, False, True]),
        ("arc", [False, True, True]),
    ]


def test_a_better_score_is_drawn_higher_and_dots_have_the_verdicts_names() -> None:
    scores = [RunScore(name="mmlu", tuned=tuned, verdict="fail") for tuned in (20.0, 40.0)]
    picture = drawn(courses([run(1, scores[0]), run(2, scores[1])])[0])
    assert 'points="3,90 97,10"' in picture
    assert picture.count('class="dot fail"') == 2


def test_hostile_text_is_shown_as_text_and_nothing_is_loaded() -> None:
    score = RunScore(name=ATTACK, tuned=1.0)
    given = {"recipe": ATTACK, "outcome": ATTACK, "changed": {ATTACK: ATTACK}, "reason": ATTACK, "cost": ATTACK}
    html = render_over_time([run(1, score, **{**given, "run": ATTACK, "aliases": (ATTACK,)}), run(2, score, version=2)])
    page = Page(html)
    assert page.text.count(SHOWN) >= 8
    assert not page.tags & {"script", "img", "iframe", "form"}
    assert page.references == ["data:,", "#runs"]
    assert "url(" not in page.style


def test_a_store_without_runs_says_so() -> None:
    assert "This store has no runs yet" in Page(render_over_time([])).text
