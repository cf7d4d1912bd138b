"""A Prefect server that is away costs pages for people, and no work."""

import logging

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.server import free_port
from tasks.artifacts.errors import StoreUnreachableError
from tasks.caching import _ProgressArtifact, for_people
from tasks.training import train


@pytest.mark.filterwarnings("ignore:Artifact creation outside of a flow:FutureWarning")
def test_progress_that_the_server_does_not_take_stops_no_training(caplog: pytest.LogCaptureFixture) -> None:
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}), caplog.at_level(logging.WARNING):
        bar = _ProgressArtifact(train)
        bar.seconds_between_updates = 0.0
        bar.show(1.0, "train: 8 of 8 steps")
    assert "did not take a page of this run: " in caplog.text
    assert bar.id is None


def test_failing_store_is_no_page() -> None:
    with pytest.raises(StoreUnreachableError), for_people():
        raise StoreUnreachableError("store s3://bucket: cannot write")
