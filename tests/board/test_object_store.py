"""A store on S3: what was read once is not asked for again, and one that hangs or fails kills no scrape."""

import time

import pytest

from flows.board.service import Board
from tasks.artifacts.store import Store
from tests.board.exposed import scrape
from tests.board.made import REPORT, make
from tests.servers.faults import FaultProxy, Mode


@pytest.fixture(autouse=True)
def _without_prefect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)


def test_what_cannot_change_is_read_once(bucket: str, fault_proxy: FaultProxy) -> None:
    store = Store(f"{bucket}/store")
    run = make(store)
    board = Board(store)
    before = scrape(board)
    assert before.one("fettle_runs_total", outcome="published") == 1
    assert before.one("fettle_model_version", alias="production") == 1
    fault_proxy.forget()
    again = scrape(board)
    assert again.of("fettle_rows_dropped") == before.of("fettle_rows_dropped")
    asked = [request.path for request in fault_proxy.requests]
    listings = [path for path in asked if "list-type" in path]
    assert len(listings) == 2, "runs and models"
    assert all(path.endswith("/fettle-store.json") for path in asked if path not in listings), asked
    assert board.report(run.id) == REPORT


def test_a_store_that_does_not_answer_is_down_within_the_patience(bucket: str, fault_proxy: FaultProxy) -> None:
    store = Store(f"{bucket}/store")
    make(store)
    faults: tuple[Mode, ...] = ("hang", "denied")
    for fault in faults:
        fault_proxy.mode = fault
        board = Board(store, patience_seconds=0.5)
        began = time.monotonic()
        told = scrape(board)
        assert time.monotonic() - began < 5
        assert told.of("fettle_up") == {("store",): 0}
        fault_proxy.mode = "pass"
        deadline = time.monotonic() + 60
        while told.one("fettle_up") == 0 and time.monotonic() < deadline:
            told = scrape(board)
        assert told.one("fettle_runs_total", outcome="published") == 1
