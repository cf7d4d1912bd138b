"""The page in a real browser: silent, legible, and as wide as its window."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from tasks.reporting import wording
from tasks.reporting.facts import Facts, SampleFacts
from tasks.reporting.over_time import RunFacts, render_over_time
from tasks.reporting.page import render
from tests.reporting.example import BARE, EXAMPLE
from tests.reporting.hostile import ATTACK, SHOWN, hostile
from tests.reporting.over_time_example import RUNS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
pytestmark = pytest.mark.browser

Scheme = Literal["light", "dark"]
Runs = tuple[RunFacts, ...]
OPEN_ALL = "document.querySelectorAll('details').forEach(details => details.open = true)"
# What a reader of paper would miss: boxes that hide or scroll what they hold.
CLIPPED = """() => [...document.querySelectorAll('main *')].filter(node => {
  const style = getComputedStyle(node);
  if (node.closest('svg') || !node.checkVisibility() || style.display === 'inline') return false;
  const hidden = (overflow, beyond) => overflow !== 'visible' && beyond > 1;
  return hidden(style.overflowX, node.scrollWidth - node.clientWidth)
    || hidden(style.overflowY, node.scrollHeight - node.clientHeight);
}).map(node => node.outerHTML.slice(0, 120))"""
# What stands outside of its cell, as wide rows of figures do on a narrow page.
SPILT = """() => [...document.querySelectorAll('main td, main th, main dd, main p, main .body')].filter(node =>
  node.checkVisibility() && !node.querySelector('svg, .track') && node.scrollWidth > node.clientWidth + 1 &&
  getComputedStyle(node).overflowX === 'visible' && getComputedStyle(node).display !== 'inline'
).map(node => node.outerHTML.slice(0, 120))"""
PAGE_OF_PAPER = 688
"""Pixels between the margins of A4."""
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
# The contrast (WCAG 2) of each text with the background that lies behind it.
CONTRASTS = """() => {
  const parse = colour => colour.match(/[\\d.]+/g).map(Number);
  const luminance = colour => parse(colour).slice(0, 3).map(c => c / 255)
    .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = node => {
    for (; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor;
      if (parse(colour).length === 3 || parse(colour)[3] > 0.5) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const found = [];
  for (const node of document.querySelectorAll('main *')) {
    if (node.closest('svg') || ![...node.childNodes].some(c => c.nodeType === 3 && c.data.trim())) continue;
    const [a, b] = [luminance(getComputedStyle(node).color), luminance(behind(node))].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), node.className || node.tagName]);
  }
  return found;
}"""


@pytest.fixture
def visit(browser: "Browser", tmp_path: Path) -> Iterator["Visit"]:
    visit = Visit(browser, tmp_path / "report.html")
    yield visit
    visit.close()


class Visit:
    """Opens facts as a page and notes every request, dialog and complaint."""

    def __init__(self, browser: "Browser", file: Path) -> None:
        self.browser, self.file = browser, file
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.contexts: list[BrowserContext] = []

    def __call__(self, facts: Facts | Runs, width: int = 1280, scheme: Scheme = "light") -> "Page":
        html = render(facts) if isinstance(facts, Facts) else render_over_time(facts)
        self.file.write_text(html, encoding="utf-8")
        context = self.browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        page.goto(self.file.as_uri(), wait_until="networkidle")
        return page

    def close(self) -> None:
        while self.contexts:
            self.contexts.pop().close()


def hostile_runs(text: str = ATTACK) -> Runs:
    told = {"recipe": text, "run": text, "outcome": text, "changed": {text: text}, "reason": text, "cost": text}
    scores = [score.model_copy(update={"name": f"{text} {place}"}) for place, score in enumerate(RUNS[0].scores)]
    return tuple(
        RunFacts.model_validate({**each.model_dump(), **told, "aliases": (text,), "scores": scores}) for each in RUNS
    )


@pytest.mark.parametrize(
    "facts",
    [EXAMPLE, BARE, hostile(EXAMPLE), RUNS, hostile_runs()],
    ids=["example", "bare", "hostile", "runs", "hostile runs"],
)
def test_no_request_leaves_and_nothing_runs(visit: Visit, facts: Facts | Runs) -> None:
    page = visit(facts)
    page.evaluate(OPEN_ALL)
    page.wait_for_timeout(100)
    assert visit.requests == [visit.file.as_uri()]
    assert visit.complaints == []
    assert page.locator("main script, main img").count() == 0


def test_hostile_text_is_seen_as_text(visit: Visit) -> None:
    page = visit(hostile(EXAMPLE))
    assert page.locator("h1").text_content() == SHOWN
    assert page.title().startswith("<script>")
    assert page.locator(".advice b").first.text_content() == SHOWN


ODD = f"{ATTACK} {'w' * 500} {'שלום ' * 30}{'👩‍👩‍👧' * 100}"
FEW = EXAMPLE.model_copy(
    update={
        "samples": EXAMPLE.samples[:3],
        "scores": EXAMPLE.scores[2:5],
        "subjects": EXAMPLE.subjects[:2],
        "stages": EXAMPLE.stages[:2],
        "sources": EXAMPLE.sources[:2],
        "audits": EXAMPLE.audits[:1],
        "mask_samples": EXAMPLE.mask_samples[:1],
    }
)


@pytest.mark.parametrize(
    "facts",
    [EXAMPLE, RUNS, hostile(FEW, ODD), hostile_runs(ODD)[:2], hostile(FEW, "w" * 10_000)],
    ids=["example", "runs", "odd", "odd runs", "long word"],
)
def test_nothing_is_wider_than_the_window(visit: Visit, facts: Facts | Runs) -> None:
    page = visit(facts)
    page.evaluate(OPEN_ALL)
    for width in (320, 400, 768, 1280, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(OVERFLOW) <= 0, width


@pytest.mark.parametrize("facts", [EXAMPLE, RUNS], ids=["example", "runs"])
def test_no_figure_leaves_its_cell(visit: Visit, facts: Facts | Runs) -> None:
    page = visit(facts)
    page.evaluate(OPEN_ALL)
    for width in (400, 1280, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(SPILT) == [], width


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_the_page_follows_the_readers_scheme_and_stays_legible(visit: Visit, scheme: Scheme, dark: bool) -> None:
    page = visit(EXAMPLE, scheme=scheme)
    page.evaluate(OPEN_ALL)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (sum(background) < 3 * 128) == dark
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 200
    assert [entry for entry in contrasts if entry[0] < 4.5] == []


def test_print_is_light_and_shows_what_is_folded(visit: Visit) -> None:
    page = visit(EXAMPLE, scheme="dark")
    folded = "[...document.querySelectorAll('.item .answers')].filter(node => node.checkVisibility()).length"
    assert page.evaluate(folded) == 0
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate(folded) == len(EXAMPLE.samples) + len(EXAMPLE.forgotten)
    assert page.pdf(format="A4").startswith(b"%PDF")


@pytest.mark.parametrize("facts", [EXAMPLE, hostile(EXAMPLE), RUNS], ids=["example", "hostile", "runs"])
def test_nothing_is_clipped_in_print(visit: Visit, facts: Facts | Runs) -> None:
    page = visit(facts, PAGE_OF_PAPER)
    page.emulate_media(media="print")
    assert page.evaluate(OVERFLOW) <= 0
    assert page.evaluate(CLIPPED) == []
    assert page.evaluate(SPILT) == []


def test_the_verdict_the_scores_and_the_advice_come_first(visit: Visit) -> None:
    page = visit(EXAMPLE, 1280)
    tops = "[...document.querySelectorAll('.verdict, h2')].map(node => node.id || node.className)"
    assert page.evaluate(tops)[:3] == ["verdict investigate", "scores", "next"]


def test_marks_lie_left_of_no_change_in_every_gated_row(visit: Visit) -> None:
    page = visit(EXAMPLE)
    places = page.evaluate(
        "[...document.querySelectorAll('#scores ~ table td.marked')].map(node => ['--fail', '--investigate']"
        ".map(name => Number(node.style.getPropertyValue(name))))"
    )
    gated = [score for score in EXAMPLE.scores if score.unit == "%" and score.verdict and score.group == "benchmark"]
    assert len(places) == len(gated)
    assert all(0 < fail < investigate < 0.5 for fail, investigate in places)


def test_every_cell_of_the_scores_says_what_the_facts_say(visit: Visit) -> None:
    page = visit(EXAMPLE, 400)
    cells = page.evaluate(
        "[...document.querySelectorAll('.forest tbody tr:not(.note)')].map(row => ['.name', '.base', '.tuned', "
        "'.change'].map(cell => row.querySelector(cell).innerText))"
    )
    shown = {(name, base, tuned): change for name, base, tuned, change in cells}
    assert len(shown) == len(EXAMPLE.scores)
    for score in EXAMPLE.scores:
        base, tuned = (wording.score(value, score.unit) for value in (score.base, score.tuned))
        change = wording.change(score.difference, score.unit)
        span = wording.interval(score.low, score.high, score.unit)
        assert shown[score.name, base, tuned].split("\n") == [change, *filter(None, [span])]


def test_a_right_to_left_answer_is_set_from_the_right(visit: Visit) -> None:
    sample = SampleFacts(prompt="Say hello.", base="hello", tuned="שלום לכולם", benchmark="held out")
    page = visit(BARE.model_copy(update={"samples": (sample,)}))
    directions = "[...document.querySelectorAll('.sample .body')].map(node => getComputedStyle(node).direction)"
    assert page.evaluate(directions) == ["ltr", "rtl"]


def test_contents_lead_to_sections_and_stay_in_sight(visit: Visit) -> None:
    page = visit(EXAMPLE)
    page.get_by_role("navigation").get_by_text("Limits and licences").click()
    page.wait_for_timeout(1200)
    assert page.evaluate("document.querySelector('#limits').getBoundingClientRect().top < innerHeight")
    assert page.evaluate("document.querySelector('nav').getBoundingClientRect().top") == 0
