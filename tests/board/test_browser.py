"""History and report in a real browser, as the board serves them: under its headers, silent, as wide as the window."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
import uvicorn

from flows.board.service import Board, service
from flows.board.serving import listening
from tasks.artifacts.store import Store
from tests.board.made import make
from tests.reporting.test_browser import OVERFLOW

if TYPE_CHECKING:
    from playwright.sync_api import Browser

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
pytestmark = pytest.mark.browser

SCREENSHOTS = Path(__file__).resolve().parents[2] / "build" / "screenshots"
"""Kept by CI, for people to look at."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    store = Store(str(tmp_path_factory.mktemp("browsed") / "store"))
    make(store, day=1)
    make(store, "a-recipe-with-a-name-that-is-longer-than-most-windows-are-wide", day=2, verdict="fail")
    with listening("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(service(Board(store), "127.0.0.1"), log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(timeout=30)
        assert not thread.is_alive()


@pytest.mark.parametrize("width", [400, 1280, 1920])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_person_goes_from_the_history_to_a_report(
    browser: "Browser", address: str, width: int, scheme: Literal["light", "dark"]
) -> None:
    with browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme) as context:
        page = context.new_page()
        said: list[str] = []
        asked: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        assert page.url == f"{address}/history"
        assert page.evaluate(OVERFLOW) <= 0
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"history-{width}-{scheme}.png", full_page=True)
        page.get_by_role("link", name="support").click()
        page.get_by_role("link", name="Report").click()
        page.wait_for_url("**/reports/*")
        assert page.title() == "The report"
        assert said == []
        assert {url.split("/")[2] for url in asked if url != "data:,"} == {address.split("/")[2]}


def test_a_script_that_got_into_a_report_does_nothing(browser: "Browser", address: str) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        body = (
            "<title>quiet</title><script>document.title = 'script'</script>"
            "<img src='https://example.com/x.png' onerror=\"document.title = 'handler'\">"
            "<form action='https://example.com/'><input name=a><button>send</button></form>"
        )
        asked: list[str] = []
        page.on("requestfinished", lambda request: asked.append(request.url))

        def replaced(route: "playwright.Route") -> None:
            served = route.fetch()
            route.fulfill(response=served, body=body)

        page.route("**/reports/*", replaced)
        page.goto(f"{address}/history")
        page.get_by_role("link", name="Report").first.click()
        page.wait_for_url("**/reports/*")
        page.get_by_role("button").click()
        assert page.title() == "quiet"
        assert all(url.startswith((address, "data:")) for url in asked)
