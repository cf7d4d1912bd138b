"""A source that hangs, fails or is slow: the scrape answers, and says so."""

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.core import Metric

from flows.board.metrics import Samples
from flows.board.sources import Source, gather
from tasks.artifacts.store import Store

REPOSITORY = Path(__file__).resolve().parents[2]


def well(samples: Samples) -> None:
    samples.add("fettle_recipes", 1)


def values(found: list[Metric]) -> dict[str, float]:
    return {sample.labels.get("source", sample.name): sample.value for metric in found for sample in metric.samples}


@pytest.fixture
def release() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_a_source_that_hangs_holds_nobody_up_and_is_asked_once_at_a_time(release: threading.Event) -> None:
    asked = []

    def hangs(_samples: Samples) -> None:
        asked.append(1)
        release.wait(60)

    sources = [Source("prefect", hangs), Source("store", well)]
    for _ in range(3):
        began = time.monotonic()
        ups = {
            sample.labels["source"]: sample.value
            for metric in gather(sources, patience_seconds=0.2)
            if metric.name == "fettle_up"
            for sample in metric.samples
        }
        assert time.monotonic() - began < 5
        assert ups == {"prefect": 0, "store": 1}
    assert len(asked) == 1


def test_a_slow_source_is_shown_as_it_last_was(release: threading.Event) -> None:
    def second_time_slow(samples: Samples) -> None:
        well(samples)
        if first.is_set():
            release.wait(60)
        first.set()

    first = threading.Event()
    sources = [Source("store", second_time_slow)]
    assert values(gather(sources))["fettle_recipes"] == 1
    assert values(gather(sources, patience_seconds=0.1))["fettle_recipes"] == 1


def test_a_source_that_fails_is_down_until_it_answers_and_the_log_tells_each_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = threading.Event()
    broken.set()

    def fails(samples: Samples) -> None:
        if broken.is_set():
            raise ConnectionError("refused")
        well(samples)

    sources = [Source("store", fails)]
    with caplog.at_level(logging.INFO, "fettle.board"):
        assert values(gather(sources)) == {"store": 0}
        assert values(gather(sources)) == {"store": 0}
        broken.clear()
        assert values(gather(sources))["fettle_recipes"] == 1
    assert [record.getMessage() for record in caplog.records] == [
        "the store does not answer: ConnectionError: refused",
        "the store answers again",
    ]


SCRAPED = """
import sys
from flows.board.service import Board
from tasks.artifacts.store import Store
from tests.board.exposed import scrape

# Long enough to import prefect on a busy machine: it is to be refused, not late.
told = scrape(Board(Store(sys.argv[1]), patience_seconds=60))
assert told.of("fettle_up") == {("prefect",): 0, ("store",): 1}, told.of("fettle_up")
assert not told.of("fettle_workers")
"""


def test_prefects_api_that_is_not_there_is_down_and_the_store_is_not(store: Store, tmp_path: Path) -> None:
    """In a process of its own, as prefect reads its settings once a process."""
    environment = {
        **os.environ,
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_URL": "http://127.0.0.1:1/api",
        "PYTHONPATH": str(REPOSITORY),
    }
    finished = subprocess.run(
        [sys.executable, "-c", SCRAPED, store.uri], env=environment, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
