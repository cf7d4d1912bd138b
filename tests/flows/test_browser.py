"""A newcomer in a real browser, after `fettle up`: a form, a run, its pictures; a killed run; a person's approval.

What the browser showed lies under `build/screenshots/journey` afterwards.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest

from flows.server import free_port
from tasks.artifacts import aliases, registry
from tasks.artifacts.approvals import approval
from tasks.artifacts.store import Store
from tests.flows.conftest import BASE_MODEL, REPOSITORY

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("team")]

SCREENSHOTS = REPOSITORY / "build" / "screenshots" / "journey"
SECONDS = 300.0
"""How long anything may take on a machine that does other things, too; on a quiet one the whole takes a minute."""
# What makes a run short; all else stays as the form has it.
NUMBERS = {
    "Max Reject Ratio": "0.2",
    "Learning Rate": "0.001",
    "Epochs": "1",
    "Evaluations": "1",
    "Investigate": "50",
    "Fail": "100",
    "Samples": "0",
}


@dataclass
class Team:
    """What `fettle up` started, and what the journey has come to."""

    ui: str
    api: str
    store: Store
    data: Path
    questions: Path
    page: "Page"
    shots: int = 0

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Prefect's API; a database that is locked for a moment answers later."""
        answer = comes(lambda: suitable(httpx.request(method, f"{self.api}{path}", json=body, timeout=60)))
        return answer.raise_for_status().json()

    def runs(self) -> list[Any]:
        """Runs of `finetune`, the first one first."""
        of_finetune = {"flows": {"name": {"any_": ["finetune"]}}, "sort": "START_TIME_ASC"}
        return list(self.ask("POST", "/flow_runs/filter", of_finetune))

    def tasks(self, run: str) -> list[tuple[str, str]]:
        """Stages of a run with their states."""
        found = self.ask("POST", "/task_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})
        return [(each["name"].split()[0], each["state_name"]) for each in found]

    def open(self, run: str) -> None:
        self.page.goto(f"{self.ui}/v2/runs/flow-run/{run}")

    def badge(self, state: str) -> None:
        """Wait until the run's page shows a state, without being loaded again."""
        shown = self.page.get_by_text(re.compile(f"^({state}|Failed|Refused)$")).first
        shown.wait_for(timeout=1000 * SECONDS)
        if shown.inner_text() != state:
            self.shot("unexpected")
        assert shown.inner_text() == state

    def tab(self, name: str) -> None:
        self.page.get_by_role("tab", name=name).click()

    def artifact(self, key: str) -> "Locator":
        """Open an artifact from the page of its run; gives what it shows."""
        self.tab("Artifacts")
        self.page.get_by_text(key, exact=True).first.click()
        self.page.locator("a[href*='/artifacts/artifact/']").first.click()
        self.page.get_by_role("tab", name="Raw").wait_for()
        return self.page.get_by_role("tabpanel")

    def shot(self, name: str) -> None:
        self.shots += 1
        self.page.screenshot(path=SCREENSHOTS / f"{self.shots:02}-{name}.png")


def comes(find: Callable[[], Any]) -> Any:
    """What is found, as soon as it is."""
    deadline = time.monotonic() + SECONDS
    while not (found := find()):
        assert time.monotonic() < deadline, "it did not come in time"
        time.sleep(0.3)
    return found


def suitable(answer: httpx.Response) -> httpx.Response | None:
    return None if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE else answer


@pytest.fixture(scope="module")
def team(browser: "Browser", corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """`fettle up` in a home of its own, and a browser that never saw it."""
    folder = tmp_path_factory.mktemp("team")
    shutil.rmtree(SCREENSHOTS, ignore_errors=True)
    SCREENSHOTS.mkdir(parents=True)
    up = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "up", "--json", "--store", str(folder / "store"),
         "--port", str(free_port()), "--board-port", str(free_port())],
        cwd=folder,
        env={**os.environ, "FETTLE_HOME": str(folder / "home"), "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        told = answered(up)
        page = browser.new_context(viewport={"width": 1280, "height": 960}).new_page()
        page.set_default_timeout(1000 * SECONDS)
        questions = (corpus / "benchmarks" / "general_knowledge.jsonl").read_text().splitlines()
        (folder / "knowledge.jsonl").write_text("\n".join(questions[:60]))
        yield Team(
            told["ui"],
            told["api"],
            Store(told["store"]),
            corpus / "sources" / "domain.jsonl",
            folder / "knowledge.jsonl",
            page,
        )
    finally:
        up.send_signal(signal.SIGTERM)
        up.communicate(timeout=90)


def answered(up: "subprocess.Popen[str]") -> dict[str, Any]:
    """What `fettle up` prints when it is ready."""
    assert up.stdout is not None
    text = ""
    for line in up.stdout:
        text += line
        with suppress(ValueError):
            told: dict[str, Any] = json.loads(text)
            return told
    raise AssertionError(f"`fettle up` ended with code {up.wait()}: {text}")


def test_newcomer_fills_the_form_wrongly_then_rightly(team: Team) -> None:
    page = team.page
    page.goto(team.ui)
    page.get_by_role("link", name="Deployments").click()
    page.get_by_text("continued-pretraining").first.wait_for()
    team.shot("deployments")
    page.locator("a[href*='/deployments/deployment/']", has_text="finetune").last.click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Custom run").click()
    field("Base Model", page).wait_for()
    team.shot("form")

    field("Name", page).fill("My Model")
    optional("Learning Rate", page).fill("0")
    submit = page.get_by_role("button", name="Submit")
    submit.click()
    page.get_by_text("'My Model' does not match").wait_for()
    page.get_by_text("0 is less than or equal to the minimum of 0").scroll_into_view_if_needed()
    team.shot("form-wrong-range")
    page.get_by_text("'sources' is a required property").scroll_into_view_if_needed()
    team.shot("form-wrong")
    assert team.runs() == []

    field("Name", page).fill("small")
    field("Base Model", page).fill(str(BASE_MODEL))
    page.get_by_role("button", name="Add item").first.click()
    field("Name", page).nth(1).fill("domain")
    field("Uri", page).fill(str(team.data))
    for name, number in NUMBERS.items():
        optional(name, page).fill(number)
    add_benchmark(team, "knowledge", team.questions)
    optional("Learning Rate", page).scroll_into_view_if_needed()
    team.shot("form-right")
    # A busy database answers 503, and the form asks to try again.
    comes(lambda: team.runs() or clicked(submit))


def field(label: str, page: "Page") -> "Locator":
    return page.get_by_label(label, exact=True)


def optional(label: str, page: "Page") -> "Locator":
    return field(f"{label} (Optional)", page).first


def clicked(button: "Locator") -> None:
    """Click what may be gone by now, and leave the page a moment."""
    with suppress(playwright.TimeoutError):
        button.click(timeout=5000)
    button.page.wait_for_timeout(2000)


def add_benchmark(team: Team, name: str, uri: Path) -> None:
    card = team.page.locator("div.group", has=team.page.get_by_text("Questions put to the base model")).last
    card.get_by_role("button", name="Add item").click()
    card.get_by_role("tab", name="BenchmarkSource").click()
    card.get_by_label("Name", exact=True).fill(name)
    card.get_by_label("Uri", exact=True).fill(str(uri))
    team.shot("form-benchmark")


def test_run_is_watched_to_its_verdict(team: Team) -> None:
    (run,) = team.runs()
    team.open(run["id"])
    team.badge("Running")
    team.page.get_by_text("Beginning flow run").wait_for()
    team.shot("running")
    team.badge("Published")
    team.page.get_by_text("small on ./base_model", exact=True).first.wait_for()
    team.shot("published")

    team.tab("Logs")
    team.page.get_by_text("trainable parameters").first.scroll_into_view_if_needed()
    team.shot("trainer-log")

    verdict = team.artifact("verdict")
    verdict.get_by_role("heading", name="pass").wait_for()
    assert "knowledge" in verdict.inner_text()
    team.shot("verdict")
    back(team)
    for key, told in {"plan": "0 of 10 stages are cached", "gate": "held-out loss", "report": "training/"}.items():
        shown = team.artifact(key)
        shown.get_by_text(told).first.wait_for()
        assert shown.get_by_role("table").count() > 0
        team.shot(key)
        back(team)
    for key in ("loss", "benchmarks"):
        picture = team.artifact(key).locator("img")
        comes(lambda: picture.evaluate("image => image.complete && image.naturalWidth"))  # noqa: B023 # called at once
        team.shot(key)
        back(team)


def back(team: Team) -> None:
    """From an artifact over the history of its key to the run."""
    team.page.go_back()
    team.page.go_back()


def test_killed_run_is_retried_from_what_is_there(team: Team) -> None:
    first = team.runs()[0]
    recipe = first["parameters"]["recipe"]
    recipe["training"]["learning_rate"] = 0.002
    recipe["publication"]["approval"] = "person"
    started = f"/deployments/{first['deployment_id']}/create_flow_run"
    run = team.ask("POST", started, {"parameters": first["parameters"]})["id"]
    comes(lambda: ("train", "Running") in team.tasks(run))
    kill(run)
    team.open(run)
    team.badge("Crashed")
    team.page.get_by_text("submitted to infrastructure").first.wait_for()
    team.shot("crashed")
    menu(team, "Retry")
    question = team.page.get_by_role("alertdialog")
    team.shot("retry")
    question.get_by_role("button", name="Retry").click()
    team.badge("Suspended")
    team.tab("Task Runs")
    team.page.get_by_text("Cached", exact=True).first.wait_for()
    team.shot("retried")
    tasks = team.tasks(run)
    # Cached by the first run before it was killed, and again after.
    for stage in ("ingest", "curate", "deduplicate", "mix", "tokenize"):
        assert tasks.count((stage, "Cached")) == 2, tasks
    assert {state for stage, state in tasks if stage == "train"} == {"Crashed", "Completed"}


def menu(team: Team, choice: str) -> None:
    """Choose from the menu of the run that is shown."""
    team.page.locator("button[aria-haspopup=menu]").first.click()
    team.page.get_by_role("menuitem", name=choice).click()


def kill(run: str) -> None:
    """End a run as the out-of-memory killer does."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("PREFECT__FLOW_RUN_ID") == run:
                process.kill()


def test_waiting_promotion_is_approved(team: Team) -> None:
    run = team.runs()[-1]
    assert run["name"].startswith("small on ./base_model: publication.approval null → person")
    before = aliases.aliases(team.store, "small")["production"]
    team.open(run["id"])
    team.badge("Suspended")
    menu(team, "Resume")
    form = team.page.get_by_role("dialog")
    form.get_by_text("Whether the model may be used").wait_for()
    form.get_by_text("No sure loss").first.wait_for()
    team.shot("approval")
    resume = form.get_by_role("button", name="Resume")
    resume.click()
    team.page.get_by_text("'decision' is a required property").wait_for()
    form.get_by_label("Select Decision").click()
    team.page.get_by_role("option", name="approve").click()
    form.get_by_label("By", exact=True).fill("Ada")
    team.shot("approval-filled")
    comes(lambda: not form.is_visible() or clicked(resume))
    team.badge("Published")
    team.shot("approved")
    after = aliases.aliases(team.store, "small")["production"]
    assert after != before
    given = approval(team.store, registry.version(team.store, "small", after))
    assert given is not None
    assert given.by == "Ada"
