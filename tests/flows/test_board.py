"""The dashboard over real figures: a run's store, the Prefect server that it ran on, and a real Prometheus."""

import http.client
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
import yaml

from flows.server import Server, free_port
from tasks.artifacts import runs
from tasks.artifacts.store import Store
from tests.board.exposed import Exposed
from tests.board.following import Followed, follow
from tests.flows.conftest import in_a_process

pytestmark = pytest.mark.xdist_group("flows-board")  # one worker, as a server is started for each

INFRA = Path(__file__).resolve().parents[2] / "infra"
DASHBOARD: dict[str, Any] = json.loads((INFRA / "grafana" / "dashboards" / "fettle.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]


@pytest.fixture(scope="module")
def board(finished_store: Path, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Followed]:
    """The board as a process, over a finished run's store and its Prefect server, with a worker that was heard of."""
    folder = tmp_path_factory.mktemp("board") / "store"
    shutil.copytree(finished_store, folder)
    store = Store(str(folder))
    environment = {**os.environ, "PREFECT_API_URL": f"{server.address}/api"}
    # The finished run may have been another server's.
    recipe = finished_store.parent / "workplace" / "recipe.yaml"
    assert in_a_process(("run", str(recipe), "--store", store.uri), environment, recipe.parent).code == 0
    run, *_ = runs.recent(store)
    training = {**run.recipe["training"], "cost": {**run.recipe["training"]["cost"], "price_per_device_hour": 2.5}}
    runs.save(store, run.model_copy(update={"recipe": {**run.recipe, "training": training}}))
    _hear_of_a_worker(server)
    with follow(store.uri, environment) as followed:
        yield followed


def _hear_of_a_worker(server: Server) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        for path, body in (
            ("/api/work_pools/", {"name": "fettle-cpu", "type": "process"}),
            ("/api/work_pools/fettle-cpu/workers/heartbeat", {"name": "a worker"}),
        ):
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            assert answer.status in (201, 204, 409), answer.read()
            answer.read()


@pytest.fixture(scope="module")
def exposed(board: Followed) -> Exposed:
    """What a scrape gives, once both sources were read."""
    deadline = time.monotonic() + 60
    while True:
        told = Exposed(board.ask("/metrics")[2].decode())
        if set(told.of("fettle_up").values()) == {1.0} or time.monotonic() > deadline:
            return told
        time.sleep(0.2)


def test_the_run_is_told_by_its_store_and_by_prefect(exposed: Exposed, server: Server) -> None:
    assert exposed.of("fettle_up") == {("prefect",): 1, ("store",): 1}
    assert exposed.one("fettle_runs_total", outcome="published") == 2
    assert exposed.one("fettle_flow_runs", flow="finetune", state="completed") >= 1
    # Other tests of this worker may have left failed runs on its server.
    failed = {"flows": {"name": {"any_": ["finetune"]}}, "flow_runs": {"state": {"type": {"any_": ["FAILED"]}}}}
    counted = httpx.post(f"{server.address}/api/flow_runs/count", json=failed, timeout=60).raise_for_status().json()
    assert exposed.one("fettle_flow_runs", flow="finetune", state="failed") == counted
    assert exposed.one("fettle_flow_runs_late", flow="retrain") == 0
    assert exposed.one("fettle_workers", pool="fettle-cpu", status="online") == 1
    assert time.time() - exposed.one("fettle_worker_heartbeat_timestamp_seconds") < 600
    assert exposed.one("fettle_training_loss") > 0
    assert exposed.one("fettle_training_tokens_per_second") > 0
    assert exposed.one("fettle_training_cost") > 0
    assert exposed.of("fettle_rows_dropped", stage="ingestion")


def test_every_metric_that_the_dashboard_names_is_exported(exposed: Exposed) -> None:
    for title, query in QUERIES:
        named = set(re.findall(r"fettle_\w+", query))
        assert named, title
        assert named <= exposed.names, title


def test_the_dashboard_is_at_home_in_any_grafana() -> None:
    assert DASHBOARD["id"] is None
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    datasources = [each["datasource"]["uid"] for each in _with_datasource(DASHBOARD)]
    assert set(datasources) == {"${datasource}"}
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    for _, query in QUERIES:
        assert set(re.findall(r"\$(\w+)", query)) <= set(variables)


def _with_datasource(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if "datasource" in node:
            yield node
        for part in node.values():
            yield from _with_datasource(part)
    elif isinstance(node, list):
        for part in node:
            yield from _with_datasource(part)


class Prometheus:
    """The real server, which scrapes the board each second."""

    def __init__(self, target: int, folder: Path) -> None:
        settings = yaml.safe_load((INFRA / "prometheus" / "prometheus.yml").read_text())
        settings["global"]["scrape_interval"] = "1s"
        settings["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{target}"]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
        self.port = free_port()
        self.log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            stdout=self.log,
            stderr=self.log,
        )

    def ask(self, path: str, **parameters: str) -> Any:
        """The data of an API answer; none while the server does not answer yet."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            try:
                connection.request("GET", f"/api/v1/{path}?{urlencode(parameters)}")
                answer = json.loads(connection.getresponse().read())
            except (OSError, ValueError):
                return None
        assert answer["status"] == "success", (parameters, answer)
        return answer["data"]

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(timeout=30)
        self.log.close()


@pytest.fixture
def prometheus(board: Followed, tmp_path: Path) -> Iterator[Prometheus]:
    if shutil.which("prometheus") is None:
        pytest.skip("no prometheus on PATH; Debian's package is called prometheus")
    started = Prometheus(board.port, tmp_path)
    try:
        yield started
    finally:
        started.stop()


def test_prometheus_scrapes_it_and_each_query_of_the_dashboard_has_data(prometheus: Prometheus) -> None:
    missing = {query.replace("$recipe", ".*") for _, query in QUERIES}
    deadline = time.monotonic() + 60
    while missing and time.monotonic() < deadline:
        missing = {query for query in missing if not _has_data(prometheus.ask("query", query=query))}
        time.sleep(0.5)
    assert not missing
    (target,) = prometheus.ask("targets")["activeTargets"]
    assert (target["labels"]["job"], target["health"], target["lastError"]) == ("fettle", "up", "")
    recipes = prometheus.ask("label/recipe/values", **{"match[]": "fettle_runs_total"})
    assert recipes == ["small"]


def _has_data(answer: Any) -> bool:
    return bool(answer) and any(sample["value"][1] != "NaN" for sample in answer["result"])


def test_prometheus_finds_no_fault_with_names_and_help(board: Followed) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("no promtool on PATH; it comes with prometheus")
    linted = subprocess.run(
        ["promtool", "check", "metrics"], input=board.ask("/metrics")[2], capture_output=True, check=False, timeout=60
    )
    assert (linted.returncode, linted.stdout + linted.stderr) == (0, b"")
