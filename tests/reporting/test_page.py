"""The report page shows everything, loads nothing and lets no text become markup."""

import re

import pytest

from tasks.reporting.facts import Facts, SampleFacts, published
from tasks.reporting.page import MOST_CHARACTERS, render
from tests.reporting.example import BARE, EXAMPLE
from tests.reporting.hostile import SHOWN, hostile
from tests.reporting.markup import Page


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(render(EXAMPLE))


def numbers(page: Page) -> set[str]:
    """Every number on the page as it is written, signs and separators included."""
    return set(re.findall(r"[+−]?\d[\d,]*(?:\.\d+)?", page.text))


@pytest.mark.parametrize("facts", [EXAMPLE, BARE, hostile(EXAMPLE)], ids=["example", "bare", "hostile"])
def test_a_page_is_balanced_and_loads_nothing(facts: Facts) -> None:
    html = render(facts)
    page = Page(html)
    targets = {reference.removeprefix("#") for reference in page.references if reference != "data:,"}
    assert targets <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert not page.tags & {"script", "img", "iframe", "object", "embed", "form"}
    assert not page.handlers
    assert "url(" not in page.style
    assert "@import" not in page.style
    assert "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\"" in html


def test_hostile_text_is_shown_as_text() -> None:
    facts = hostile(EXAMPLE)
    page = Page(render(facts))
    assert page.text.count(SHOWN) > 200
    assert "49" not in numbers(Page(render(hostile(BARE))))


def signed(amount: float, digits: int) -> str:
    text = f"{amount:+.{digits}f}".replace("-", "−")
    return text if text.strip("+−0.") else text[1:]


def test_every_score_appears(page: Page) -> None:
    written = numbers(page)
    for score in EXAMPLE.scores:
        digits = {"%": 1, "nats": 3, "": 2}[score.unit]
        ends = [score.difference, score.low, score.high, score.bootstrap_low, score.bootstrap_high]
        assert {f"{score.base:.{digits}f}", f"{score.tuned:.{digits}f}", f"{score.items:,}"} <= written
        assert {signed(end, digits) for end in ends if end is not None} <= written
        counts = [score.clusters, score.lost, score.gained, score.needed_items]
        assert {f"{count:,}" for count in counts if count is not None} <= written
        if score.smallest_visible is not None:
            assert f"{score.smallest_visible:.1f}" in written
        if score.mcnemar_p is not None:
            assert (f"{score.mcnemar_p:.3f}" if score.mcnemar_p >= 0.001 else "<0.001") in page.text
        assert score.name in page.text
        assert score.note.casefold() in page.text.casefold()
        assert score.kind.replace("_", " ") in page.text.casefold()


def test_every_subject_appears_the_worst_in_sight(page: Page) -> None:
    for each in EXAMPLE.subjects:
        row = f"{each.subject.replace('_', ' ')} {each.benchmark}\n{each.items}\n{each.base:.1f}%\n{each.tuned:.1f}%\n"
        assert f"{row}{signed(each.difference, 1)}\n{each.lost}\n{each.gained}" in page.text
    assert page.text.index("anatomy") < page.text.index("6 more subjects") < page.text.index("astronomy")


def test_how_well_instructions_are_followed_appears(page: Page) -> None:
    (told,) = EXAMPLE.instructions
    for row in told.accuracies:
        assert f"{row.name}{row.base:.1f}%{row.tuned:.1f}%" in page.text
    assert "834 instructions in 541 prompts" in page.text
    assert "Lost most, to the letter: length_constraints:number_words 27 → 9 of 52, punctuation:no_comma" in page.text
    assert "Instructions followed" not in Page(render(BARE)).text


def test_what_judges_preferred_appears(page: Page) -> None:
    for judge in EXAMPLE.judge:
        noun = "prompt" if judge.prompts == 1 else "prompts"
        assert f"{judge.judge} tuned against {judge.opponent}, {judge.prompts} {noun}" in page.text
        for rate in filter(None, (judge.win_rate, judge.length_controlled)):
            assert f"{rate.rate:.1%}{rate.low:.1%} to {rate.high:.1%}" in page.text
        for name, entry in judge.checks.items():
            assert f"{name.replace('_', ' ')}{entry}" in page.text
        for grade in judge.grades:
            row = f"{grade.model}\n{grade.mean:.2f}\n{grade.low:.2f} to {grade.high:.2f}\n{grade.turn_1:.2f}\n"
            assert row + ("–" if grade.turn_2 is None else f"{grade.turn_2:.2f}") + f"\n{grade.prompts}" in page.text
        assert judge.cost in page.text
        assert all(f"{each.model}{each.elo:.0f}" in page.text for each in judge.elo)
    assert "44, 10, 26" in page.text
    assert "Void: nothing may be read out of it.It called 5 of 12 identical pairs unequal" in page.text


def test_ratings_by_people_appear(page: Page) -> None:
    assert "Tuned minus base: +1.63 (+1.21 to +2.05) over 24 prompts." in page.text
    assert "Raters: ada (24), grace (19). Agreement (Krippendorff's alpha, 1 is perfect, 0 chance): 0.71." in page.text
    for side in (EXAMPLE.ratings.base, EXAMPLE.ratings.tuned) if EXAMPLE.ratings else ():
        assert {f"{side.mean:.2f}", f"{side.deviation:.2f}", *map(str, side.counts)} <= numbers(page)


def test_forgotten_items_tell_form_from_knowledge(page: Page) -> None:
    assert "Of these 3 items: 2 lost knowledge, 1 format drift." in page.text
    assert page.text.count("format drift") == 2


def test_training_rows_appear_token_by_token_and_not_in_what_is_published(page: Page) -> None:
    assert "What is trained" in page.text
    assert "Fee 117 is charged for transfers abroad.<|end|>" in page.text
    assert "41 more tokens" in page.text
    outside = Page(render(published(EXAMPLE)))
    assert "<|end|>" not in outside.text
    assert "What is trained" not in outside.text


def test_a_score_is_compared_with_production_apart(page: Page) -> None:
    apart = page.text[page.text.index("Against the model in production") :]
    assert "58.5%" in apart[: apart.index("What to do next")]


def test_every_count_appears(page: Page) -> None:
    written = numbers(page)
    for source in EXAMPLE.sources:
        counts = [source.read, source.rejected, source.heldout, source.kept, source.trainable_tokens, source.files]
        assert {f"{count:,}" for count in [*counts, *source.dropped.values()] if count} <= written
        assert {f"{source.achieved_share:.1%}"[:-1], f"{source.epochs:g}"} <= written
    for stage in EXAMPLE.stages:
        assert {f"{count:,}" for count in [stage.rows_read, stage.rows_kept, *stage.dropped.values()]} <= written
        assert stage.fingerprint in page.text
        assert stage.address in page.text
    for band in EXAMPLE.lengths:
        assert {f"{band.from_tokens:,}", f"{band.to_tokens:,}", f"{band.rows:,}"} <= written


def test_training_figures_appear(page: Page) -> None:
    training = EXAMPLE.training
    assert training is not None
    assert {"134,515,008", "4,884,480", "8,217,344", "3,021.5", "0.0002", "0.03", "2,048"} <= numbers(page)
    assert "1.664 → 1.391, lowest 1.374 at step 930" in page.text
    assert "59 min 14 s" in page.text
    assert "45 min 18 s" in page.text
    assert "1,240 of 1,550, stopped early" in page.text
    assert "Held-out minus training loss is 0.147 at step 1240" in page.text
    assert "has risen to 1.391. Train for fewer epochs or gather more rows." in page.text


def test_a_run_that_was_not_stopped_says_nothing_of_it() -> None:
    training = EXAMPLE.training
    assert training is not None
    whole = training.model_copy(update={"planned_steps": training.steps, "diagnoses": ()})
    text = Page(render(EXAMPLE.model_copy(update={"training": whole}))).text
    assert "stopped early" not in text
    assert "overfitting" not in text


def test_every_text_appears(page: Page) -> None:
    texts = [EXAMPLE.title, EXAMPLE.outcome.reason, EXAMPLE.recipe, EXAMPLE.command, EXAMPLE.cost, *EXAMPLE.limits]
    texts += [
        text for sample in EXAMPLE.samples for text in (sample.prompt, sample.expected, sample.base, sample.tuned)
    ]
    texts += [text for item in EXAMPLE.forgotten for text in (item.prompt, item.expected, item.base, item.tuned)]
    texts += [text for advice in EXAMPLE.advice for text in (advice.what, advice.evidence, advice.command)]
    texts += [text for licence in EXAMPLE.licences for text in (licence.name, licence.licence, licence.origin)]
    assert [text for text in texts if text.strip() not in page.text] == []


def test_a_bare_run_says_what_is_missing() -> None:
    page = Page(render(BARE))
    assert "Nothing was measured" in page.text
    assert "No limit is written down" in page.text
    assert "published as version 1" in page.text
    assert "table" not in page.tags
    assert "details" not in page.tags


def test_an_answer_without_bounds_is_cut_and_says_so() -> None:
    sample = SampleFacts(prompt="Go on.", base="short", tuned="x" * (MOST_CHARACTERS + 1234), benchmark="held out")
    page = Page(render(BARE.model_copy(update={"samples": (sample,)})))
    assert "(1,234 more characters)" in page.text
    assert "x" * MOST_CHARACTERS in page.text
    assert "x" * (MOST_CHARACTERS + 1) not in page.text


def test_an_empty_answer_says_so() -> None:
    sample = SampleFacts(prompt="Go on.", base="", tuned="\n", benchmark="held out")
    assert Page(render(BARE.model_copy(update={"samples": (sample,)}))).text.count("nothing") >= 4


def test_rows_that_no_reason_explains_are_shown() -> None:
    support = EXAMPLE.sources[0].model_copy(update={"kept": 5900})
    assert "unaccounted for" in render(BARE.model_copy(update={"sources": (support,)}))
    assert "unaccounted for" not in render(EXAMPLE)


def test_the_same_facts_give_the_same_page() -> None:
    assert render(EXAMPLE) == render(Facts.model_validate_json(EXAMPLE.model_dump_json()))


def test_only_benchmarks_are_held_to_the_marks_of_the_forgetting_gate() -> None:
    rates = tuple(
        score.model_copy(update={"against": "production"}) for score in EXAMPLE.scores if score.group == "behaviour"
    )
    assert any(score.verdict and score.unit == "%" for score in rates)
    shown = render(BARE.model_copy(update={"scores": rates, "marks": EXAMPLE.marks}))
    assert 'class="range marked"' not in shown
    assert 'class="range marked"' in render(EXAMPLE)


def test_warnings_stand_above_the_details() -> None:
    text = Page(render(EXAMPLE)).text
    assert text.index(EXAMPLE.warnings[0].sentence) < text.index(EXAMPLE.samples[0].prompt)
    places = [
        text.index(title) for title in ("Base against tuned", "What to do next", "Warnings", "Behaviour", "Judge")
    ]
    assert places == sorted(places)
