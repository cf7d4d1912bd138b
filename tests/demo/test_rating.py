"""People rate the demo's answers, and the report tells of it."""

import csv
import html
import json
import re
from pathlib import Path

import pytest

from tests.demo.conftest import Finished, Place

pytestmark = pytest.mark.xdist_group("demo")  # one worker, as the costly fixtures are made once a worker


def filled(sheet: Path) -> Path:
    """The sheet with a rating for each answer: short ones please this rater."""
    with sheet.open(encoding="utf-8-sig", newline="") as empty:
        rows = list(csv.DictReader(empty))
    assert len(rows) == 40
    for row in rows:
        row["rating_1"], row["rating_2"] = ("5" if len(row[name]) < 45 else "2" for name in ("answer_1", "answer_2"))
    done = sheet.with_name("filled.csv")
    with done.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return done


def test_ratings_stand_in_the_report(cold: Finished, place: Place, tmp_path: Path) -> None:
    assert cold.code == 0
    sheet, page = tmp_path / "sheet.csv", tmp_path / "report.html"
    assert place.run("rate", "--sheet", str(sheet)).code == 0
    assert place.run("report", "--output", str(page)).code == 0
    assert "rater-7" not in page.read_text()
    twice = place.run("rate", "--sheet", str(sheet))
    assert twice.code != 0
    assert "sheet.csv" in twice.err
    entered = place.run("rate", "--sheet", str(filled(sheet)), "--rater", "rater-7")
    assert entered.code == 0, entered.err
    assert "40 of 40 prompts by rater-7" in entered.out
    assert place.run("report", "--output", str(page)).code == 0
    assert "rater-7" in page.read_text()


def test_the_report_tells_the_version_and_a_recipe_that_runs(cold: Finished, place: Place, tmp_path: Path) -> None:
    assert cold.code == 0
    page, again = tmp_path / "report.html", tmp_path / "again.yaml"
    # The latest run may be one that was refused.
    assert place.run("report", json.loads(cold.out)["run"], "--output", str(page)).code == 0
    text = page.read_text()
    assert "published as version <b>" in text
    told = re.search(r"<summary>The recipe</summary><pre>(.*?)</pre>", text, re.DOTALL)
    assert told is not None
    again.write_text(html.unescape(told[1]))
    assert place.run("plan", str(again)).code == 0


def test_a_sheet_with_a_wrong_rating_is_refused_by_row(cold: Finished, place: Place, tmp_path: Path) -> None:
    assert cold.code == 0
    sheet = tmp_path / "sheet.csv"
    assert place.run("rate", "--sheet", str(sheet)).code == 0
    done = filled(sheet)
    done.write_text(done.read_text().replace(",5,", ",7,", 1).replace(",2,", ",7,", 1))
    refused = place.run("rate", "--sheet", str(done), "--rater", "bob")
    assert refused.code == 1
    assert "write a whole number from 1 to 5" in refused.err
    assert place.run("rate", "--sheet", str(tmp_path / "none.csv"), "--rater", "bob").code == 2
