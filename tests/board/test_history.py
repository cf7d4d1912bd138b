"""`fettle history`: the runs in the terminal, as JSON, and as one page."""

import json
from pathlib import Path

import pytest

from flows.cli import main
from tasks.artifacts.runs import Run
from tasks.artifacts.store import Store
from tests.board.made import RECIPE, make


def test_runs_are_listed_the_newest_first_with_what_they_came_to(
    store: Store, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    make(store, "other", day=2, verdict="fail")
    assert main(["history", "--store", store.uri]) == 0
    listed = capsys.readouterr().out
    assert listed.index("other") < listed.index(run.id)
    (line,) = [line for line in listed.splitlines() if run.id in line]
    assert all(word in line for word in (RECIPE, "published", "pass", "1 production"))

    assert main(["history", "--store", store.uri, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(each["recipe"], each["outcome"], each["verdict"]) for each in told] == [
        ("other", "refused", "fail"),
        (RECIPE, "published", "pass"),
    ]


def test_the_page_is_one_file_that_asks_for_nothing(
    store: Store, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "new" / "history.html"
    assert main(["history", "--store", store.uri, "--html", str(page)]) == 0
    assert str(page) in capsys.readouterr().out
    text = page.read_text(encoding="utf-8")
    assert f"fettle report {run.id}" in text
    assert "<script" not in text
    assert 'href="reports/' not in text


def test_a_store_without_runs_says_how_to_make_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", "--store", str(tmp_path)]) == 2
    assert "`fettle run RECIPE` makes one" in capsys.readouterr().err
