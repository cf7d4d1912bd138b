"""The board over HTTP, as a process of its own: what it serves, to whom, and what it never gives away."""

import base64
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from flows.board.service import HEADERS, Board, service
from flows.board.serving import serve
from flows.server import CLIENT_WORDS, ServerError
from tasks.artifacts import runs
from tasks.artifacts.runs import Run
from tasks.artifacts.store import Store
from tests.board.following import Followed, follow
from tests.board.made import RECIPE, REPORT, SECRET, make


@dataclass(frozen=True)
class Served:
    """A board and what it shows."""

    board: Followed
    store: Store
    run: Run


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    store = Store(str(folder / "store"))
    run = make(store)
    (folder / "outside.html").write_bytes(SECRET)
    environment = {name: value for name, value in os.environ.items() if name not in ("PREFECT_API_URL", CLIENT_WORDS)}
    with follow(store.uri, environment) as board:
        yield Served(board, store, run)


def test_a_person_finds_the_history_and_from_there_the_report(served: Served) -> None:
    assert served.board.ask("/healthz")[0] == 200
    assert served.board.ask("/")[1]["location"] == "history"
    status, headers, page = served.board.ask("/history")
    assert status == 200
    link = re.search(rb'href="(reports/[^"]+)"', page)
    assert link is not None
    status, headers, report = served.board.ask("/" + link[1].decode())
    assert (status, report) == (200, REPORT)
    for name, value in HEADERS.items():
        assert headers[name.lower()] == value
    assert "script" not in headers["content-security-policy"]
    assert "default-src 'none'" in headers["content-security-policy"]


def test_metrics_are_in_the_format_that_was_asked_for(served: Served) -> None:
    status, headers, text = served.board.ask("/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=")
    assert b"fettle_up" in text
    _, headers, text = served.board.ask("/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert headers["content-type"].startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")


@pytest.mark.parametrize(
    "path",
    [
        "/reports/",
        "/reports/..",
        "/reports/../fettle-store.json",
        "/reports/..%2f..%2foutside.html",
        "/reports/..%252f..%252foutside.html",
        "/reports/%2e%2e%2f{run}",
        "/reports/%2e%2e/{run}",
        "/reports/./{run}/../../../outside.html",
        "/reports/{run}/report.html",
        "/reports/{run}%2f..%2f..%2ffettle-store.json",
        "/reports/{run}%00",
        "/reports/{run}%0a",
        "/reports/{run}.json",
        "/reports/{half}",
        "/reports/runs%2f{recipe}%2f{run}",
        "/reports/{recipe}",
        "/reports/*",
        "/reports/%5b0-9%5d",
        "/reports/..%5c..%5coutside.html",
        "/reports/%c0%ae%c0%ae%c0%afoutside.html",
        "/reports/%ff",
        "/reports//etc/passwd",
        "/reports/%2fetc%2fpasswd",
        "/reports/file:%2f%2f%2fetc%2fpasswd",
        "/reports/{long}",
        "//reports/{run}",
        "/history/../outside.html",
        "/fettle-store.json",
        "/runs/{recipe}/{run}.json",
    ],
)
def test_nothing_else_of_the_store_or_beside_it_is_reached(served: Served, path: str) -> None:
    asked = path.format(run=served.run.id, half=served.run.id[:10], recipe=RECIPE, long="9" * 5000)
    status, _, body = served.board.ask(asked)
    assert status == 404
    assert SECRET not in body
    assert REPORT not in body
    assert b"root:" not in body
    assert b'"format"' not in body


def test_a_recipe_in_the_address_is_compared_and_never_a_folder(served: Served) -> None:
    for recipe in ("../models", "..%2F..", "<script>alert(1)</script>", "%00"):
        status, _, page = served.board.ask(f"/history?recipe={recipe.replace('<', '%3C').replace('>', '%3E')}")
        assert status == 200
        assert b"No runs" in page
        assert b"<script" not in page
    assert served.run.id.encode() in served.board.ask(f"/history?recipe={RECIPE}")[2]


def test_a_page_elsewhere_cannot_borrow_our_address(served: Served) -> None:
    assert served.board.ask("/history", Host="evil.example")[0] == 400
    assert served.board.ask("/metrics", Host="evil.example:4201")[0] == 400
    assert served.board.ask("/history", Host=f"localhost:{served.board.port}")[0] == 200


def test_a_hostile_record_leads_to_no_other_file_and_into_no_page_as_markup(store: Store, run: Run) -> None:
    evil = "<img src=x onerror=alert(1)>"
    for number, address in enumerate(("runs/support", "..", "../outside", f"models/{RECIPE}", "ingestion/0")):
        stages = tuple(
            each.model_copy(update={"address": address}) if each.verb in ("evaluate", "publish") else each
            for each in run.stages
        )
        hostile = run.model_copy(update={"id": f"20990101-000000-000{number}", "stages": stages, "message": evil})
        runs.save(store, hostile)
    runs.save(store, run.model_copy(update={"id": evil.replace("/", "")}))
    with TestClient(service(Board(store), "127.0.0.1"), base_url="http://127.0.0.1") as client:
        for number in range(5):
            answer = client.get(f"/reports/20990101-000000-000{number}")
            assert answer.status_code in (404, 503)
            assert answer.headers["content-type"].startswith("text/plain")
            assert SECRET not in answer.content
        page = client.get("/history")
        assert page.status_code == 200
        assert "<img" not in page.text
        assert page.text.count('href="reports/') == 6


def test_a_run_without_a_report_says_so(store: Store) -> None:
    failed = runs.begin(RECIPE, {}).model_copy(update={"outcome": "failed", "message": "ValueError: no rows"})
    runs.save(store, failed)
    with TestClient(service(Board(store), "127.0.0.1"), base_url="http://127.0.0.1") as client:
        answer = client.get(f"/reports/{failed.id}")
    assert answer.status_code == 404
    assert "is failed and has no report: ValueError: no rows" in answer.text


def test_with_words_pages_are_for_those_who_say_them_and_metrics_for_prometheus(store: Store, run: Run) -> None:
    words = "team:pa:ss-wörd"
    with TestClient(service(Board(store), "127.0.0.1", words), base_url="http://127.0.0.1") as client:
        for path in ("/history", f"/reports/{run.id}"):
            refused = client.get(path)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"].startswith("Basic ")
            assert RECIPE not in refused.text
            wrong = base64.b64encode(b"team:wrong").decode()
            assert client.get(path, headers={"Authorization": f"Basic {wrong}"}).status_code == 401
            right = base64.b64encode(words.encode()).decode()
            assert client.get(path, headers={"Authorization": f"Basic {right}"}).status_code == 200
        assert client.get("/metrics").status_code == client.get("/healthz").status_code == 200


def test_a_store_that_is_gone_is_told_in_words(tmp_path: Path) -> None:
    with TestClient(service(Board(Store(str(tmp_path))), "127.0.0.1"), base_url="http://127.0.0.1") as client:
        answer = client.get("/history")
    assert answer.status_code == 503
    assert "its marker fettle-store.json is gone" in answer.text


def test_an_address_in_use_is_told_in_words(served: Served) -> None:
    port = served.board.port
    with pytest.raises(ServerError, match=rf"cannot listen on 127\.0\.0\.1, port {port}: .*; give another --port"):
        serve(served.store.uri, "127.0.0.1", port)
