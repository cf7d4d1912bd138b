"""The report page shows everything, loads nothing and lets no text become markup."""

import re

import pytest

from tasks.reporting.facts import Facts, SampleFacts
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


def test_every_score_appears(page: Page) -> None:
    written = numbers(page)
    for score in EXAMPLE.scores:
        digits = {"%": 1, "nats": 3, "": 2}[score.unit]
        ends = [end for end in (score.difference, score.low, score.high) if end is not None]
        assert {f"{score.base:.{digits}f}", f"{score.tuned:.{digits}f}", f"{score.items:,}"} <= written
        assert {f"{end:+.{digits}f}".replace("-", "−") for end in ends} <= written
        assert score.name in page.text
        assert score.note in page.text
        assert score.kind in page.text


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
    texts += [text for advice in EXAMPLE.advice for text in (advice.what, advice.evidence)]
    texts += [text for licence in EXAMPLE.licences for text in (licence.name, licence.licence, licence.origin)]
    assert [text for text in texts if text.strip() not in page.text] == []


def test_a_bare_run_says_what_is_missing() -> None:
    page = Page(render(BARE))
    assert "Nothing was measured" in page.text
    assert "No limit is written down" in page.text
    assert "published as 1" in page.text
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
