"""A classifier's page in a real browser: silent, legible, and as wide as its window."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tasks.reporting.classifier_facts import ClassifierFacts
from tasks.reporting.classifier_page import render
from tests.reporting.classifier_example import EMPTY, FOUR, SEVENTY_SEVEN, SEVERAL, confused
from tests.reporting.hostile import ATTACK, SHOWN, hostile
from tests.reporting.test_browser import CLIPPED, CONTRASTS, OPEN_ALL, OVERFLOW, PAGE_OF_PAPER, SPILT, Scheme

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
pytestmark = pytest.mark.browser

# Mixed colours are told as color(srgb ...), from 0 to 1.
LEGIBLE = CONTRASTS.replace(
    "colour.match(/[\\d.]+/g).map(Number)",
    "colour.match(/[\\d.]+/g).map((part, place) => colour.startsWith('color(') && place < 3 ? 255 * part : +part)",
)
TWENTY = FOUR.model_copy(
    update={"confusion": confused([f"a rather long label {place}" for place in range(20)], [30] * 20, 0.2)}
)
TEN = FOUR.model_copy(update={"confusion": confused([f"label number {place}" for place in range(10)], [900] * 10, 0.2)})
WORD = hostile(FOUR, "w" * 10_000)
ODD = hostile(FOUR, f"{ATTACK} {'w' * 500} {'שלום ' * 30}{'👩‍👩‍👧' * 100}")


class Visit:
    """Opens facts as a page and notes every request and complaint."""

    def __init__(self, browser: "Browser", file: Path) -> None:
        self.browser, self.file = browser, file
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.contexts: list[BrowserContext] = []

    def __call__(self, facts: ClassifierFacts, width: int = 1280, scheme: Scheme = "light") -> "Page":
        self.file.write_text(render(facts), encoding="utf-8")
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


@pytest.fixture
def visit(browser: "Browser", tmp_path: Path) -> Iterator[Visit]:
    visit = Visit(browser, tmp_path / "report.html")
    yield visit
    visit.close()


@pytest.mark.parametrize("facts", [FOUR, SEVENTY_SEVEN, EMPTY, ODD], ids=["four", "77", "empty", "hostile"])
def test_no_request_leaves_and_nothing_runs(visit: Visit, facts: ClassifierFacts) -> None:
    page = visit(facts)
    page.evaluate(OPEN_ALL)
    page.wait_for_timeout(100)
    assert visit.requests == [visit.file.as_uri()]
    assert visit.complaints == []
    assert page.locator("main script, main img").count() == 0


def test_hostile_text_is_seen_as_text(visit: Visit) -> None:
    page = visit(hostile(FOUR))
    assert page.locator("h1").text_content() == SHOWN
    assert page.title().startswith("<script>")
    assert page.locator("#errors ~ .item .body").first.text_content() == SHOWN


@pytest.mark.parametrize(
    "facts",
    [FOUR, SEVENTY_SEVEN, SEVERAL, TWENTY, TEN, ODD, WORD],
    ids=["four", "77", "several", "20", "10", "odd", "long word"],
)
def test_nothing_is_wider_than_the_window(visit: Visit, facts: ClassifierFacts) -> None:
    page = visit(facts)
    page.evaluate(OPEN_ALL)
    for width in (320, 400, 768, 1280, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(OVERFLOW) <= 0, width


@pytest.mark.parametrize("facts", [FOUR, SEVENTY_SEVEN, TEN], ids=["four", "77", "10"])
def test_no_figure_leaves_its_cell(visit: Visit, facts: ClassifierFacts) -> None:
    page = visit(facts)
    page.evaluate(OPEN_ALL)
    for width in (400, 1280, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(SPILT) == [], width


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_the_page_follows_the_readers_scheme_and_stays_legible(visit: Visit, scheme: Scheme, dark: bool) -> None:
    page = visit(FOUR, scheme=scheme)
    page.evaluate(OPEN_ALL)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (sum(background) < 3 * 128) == dark
    contrasts = page.evaluate(LEGIBLE)
    assert len(contrasts) > 200
    assert len([name for _, name in contrasts if name in ("right", "wrong")]) == 16
    assert [entry for entry in contrasts if entry[0] < 4.5] == []


@pytest.mark.parametrize("facts", [FOUR, SEVENTY_SEVEN, TWENTY, hostile(FOUR)], ids=["four", "77", "20", "hostile"])
def test_nothing_is_clipped_in_print(visit: Visit, facts: ClassifierFacts) -> None:
    page = visit(facts, PAGE_OF_PAPER)
    page.emulate_media(media="print")
    assert page.evaluate(OVERFLOW) <= 0
    assert page.evaluate(CLIPPED) == []
    assert page.evaluate(SPILT) == []


def test_print_is_light_and_shows_what_is_folded(visit: Visit) -> None:
    page = visit(SEVENTY_SEVEN, scheme="dark")
    folded = "[...document.querySelectorAll('.item .body')].filter(node => node.checkVisibility()).length"
    assert page.evaluate(folded) == 0
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate(folded) == 40 + len(SEVENTY_SEVEN.suspects)
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_lines_of_the_matrix_stand_beside_their_names(visit: Visit) -> None:
    page = visit(TWENTY)
    for width in (400, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        places = page.evaluate(
            "[[...document.querySelectorAll('.confusion li')].map(n => n.getBoundingClientRect()),"
            " [...document.querySelectorAll('.matrix .right')].map(n => n.getBoundingClientRect())]"
            ".map(boxes => boxes.map(box => box.top + box.height / 2))"
        )
        assert len(places[0]) == len(places[1]) == 20
        assert all(abs(name - cell) < 2 for name, cell in zip(*places, strict=True)), width


def test_the_first_screen_tells_the_verdict_and_the_models(visit: Visit) -> None:
    page = visit(FOUR, 1280)
    bottoms = "[...document.querySelectorAll('.verdict, .models')].map(node => node.getBoundingClientRect().bottom)"
    assert all(bottom < 900 for bottom in page.evaluate(bottoms))
