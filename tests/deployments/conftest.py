"""A Prefect server that calls runs late sooner than is usual."""

from collections.abc import Iterator
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.recipe import Recipe
from flows.server import Server


def recipe(name: str = "support", **settings: Any) -> Recipe:
    """A recipe whose data nobody reads here."""
    source = {"name": "tickets", "uri": "/data/tickets.jsonl", "role": "domain"}
    return Recipe.model_validate({"name": name, "base_model": "/models/base", "sources": [source], **settings})


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real server with all services, in a profile of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS", "1")
        patch.setenv("FETTLE_HOME", str(tmp_path_factory.mktemp("home")))
        started = Server(ui=True)
        try:
            started.wait()
            yield started
        finally:
            started.stop()


@pytest.fixture(scope="package")
def client(server: Server) -> Iterator[SyncPrefectClient]:
    """A client of the server, whose address is Prefect's setting meanwhile."""
    with temporary_settings({PREFECT_API_URL: f"{server.address}/api"}), get_client(sync_client=True) as opened:
        yield opened
