"""Ratings: a sheet that tells nothing of the models and starts no formula, what comes back in it, and what it says."""

import csv
import io
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.artifacts.errors import CorruptArtifactError
from tasks.artifacts.store import Store
from tasks.ratings import (
    COLUMNS,
    Rating,
    RatingError,
    RatingSheet,
    enter,
    entered,
    item_name,
    neutralised,
    original,
    read_sheet,
    summary,
    write_sheet,
)

EVALUATION = "ab" * 32


def sample(number: int, **more: Any) -> dict[str, Any]:
    plain = {"benchmark": "held-out answers", "item_id": f"i{number}", "question": f"Question {number}?"}
    return {**plain, "base": f"base says {number}", "tuned": f"tuned says {number}", **more}


SAMPLES = [sample(number) for number in range(40)]


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline="")))


def written(table: list[dict[str, str]], delimiter: str = ",") -> str:
    sheet = io.StringIO(newline="")
    writer = csv.DictWriter(sheet, list(table[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(table)
    return sheet.getvalue()


def filled(base: str = "2", tuned: str = "4") -> list[dict[str, str]]:
    """The sheet with this rating for each answer of the base, and this for each of the tuned model."""
    table = rows(write_sheet(SAMPLES))
    for row in table:
        for place in ("1", "2"):
            row[f"rating_{place}"] = base if row[f"answer_{place}"].startswith("base") else tuned
    return table


def test_a_filled_sheet_comes_back_with_each_rating_on_its_side() -> None:
    ratings = read_sheet(written(filled()), SAMPLES)
    assert [rating.item for rating in ratings] == [item_name(each) for each in SAMPLES]
    assert {(rating.base, rating.tuned) for rating in ratings} == {(2, 4)}


def test_the_sheet_hides_whose_answer_is_whose() -> None:
    table = rows(write_sheet(SAMPLES))
    assert tuple(table[0]) == COLUMNS
    first = Counter(row["answer_1"].split()[0] for row in table)
    assert 8 <= first["base"] <= 32, "each side stands first about half of the time"
    renamed = [{**each, "base": each["tuned"], "tuned": each["base"]} for each in SAMPLES]
    assert not {row["item"] for row in table} & {row["item"] for row in rows(write_sheet(renamed))}
    assert write_sheet(SAMPLES) == write_sheet(SAMPLES), "the same sheet can be made again"


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-2", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "'=1"])
def test_no_cell_begins_a_formula(cell: str) -> None:
    asked = sample(0, question=cell, base=cell, tuned=f"{cell} more")
    (row,) = rows(write_sheet([asked]))
    texts = [row[name] for name in ("prompt", "answer_1", "answer_2")]
    assert all(text.startswith("'") for text in texts)
    assert Counter(map(original, texts)) == Counter([cell, cell, f"{cell} more"])


@given(st.text())
def test_a_neutralised_cell_gives_back_its_text(cell: str) -> None:
    assert original(neutralised(cell)) == cell


def test_texts_of_any_kind_leave_a_sheet_that_can_be_read() -> None:
    asked = [sample(n, question='a,"b"\nc;d', base="=cmd|' /C calc'!A0", tuned="שלום\r\n👩‍👧") for n in range(3)]
    table = rows(write_sheet(asked))
    for row in table:
        row |= {"rating_1": "1", "rating_2": "5"}
    assert len(read_sheet(written(table), asked)) == 3


@pytest.mark.parametrize(
    ("delimiter", "value"), [(",", "4"), (";", "4"), ("\t", " 4 "), (",", "4.0"), (";", "4,0"), (",", "'4")]
)
def test_what_spreadsheets_make_of_a_sheet_is_understood(delimiter: str, value: str) -> None:
    ratings = read_sheet("\ufeff" + written(filled(tuned=value), delimiter), SAMPLES)
    assert {rating.tuned for rating in ratings} == {4}


def test_rows_without_a_rating_are_left_out() -> None:
    table = filled()
    for row in table[5:]:
        row |= {"rating_1": "", "rating_2": " "}
    assert len(read_sheet(written(table), SAMPLES)) == 5


@pytest.mark.parametrize("value", ["0", "6", "good", "4.5", "-1", "44", "NaN"])
def test_a_rating_off_the_scale_is_named_with_its_row(value: str) -> None:
    table = filled()
    table[2]["rating_2"] = value
    with pytest.raises(RatingError, match=rf"row 4: rating_2 is '{value}'; write a whole number from 1 to 5"):
        read_sheet(written(table), SAMPLES)


def test_half_a_rating_is_refused() -> None:
    table = filled()
    table[0]["rating_1"] = ""
    with pytest.raises(RatingError, match="row 2: rating_1 is empty, while the other answer is rated; write a whole"):
        read_sheet(written(table), SAMPLES)


def test_a_sheet_of_another_evaluation_is_refused() -> None:
    other = [{**each, "tuned": "something else"} for each in SAMPLES]
    with pytest.raises(RatingError, match=r"row 2: 'item-\w+' is no item of this evaluation; fill in the sheet"):
        read_sheet(written(filled()), other)


def test_an_item_rated_twice_is_refused() -> None:
    table = filled()
    with pytest.raises(RatingError, match=r"row 42: item-\w+ is rated in row 2 already; delete one of the two"):
        read_sheet(written([*table, table[0]]), SAMPLES)


@pytest.mark.parametrize("name", ["item", "rating_1", "rating_2"])
def test_a_missing_column_is_named(name: str) -> None:
    table = [{key: value for key, value in row.items() if key != name} for row in filled()]
    with pytest.raises(RatingError, match=f"the sheet has no column {name}; it has .*Keep the first row"):
        read_sheet(written(table), SAMPLES)


@pytest.mark.parametrize("text", ["", "\ufeff", "hello"])
def test_what_is_no_sheet_is_refused(text: str) -> None:
    with pytest.raises(RatingError, match="no column item, rating_1, rating_2"):
        read_sheet(text, SAMPLES)


def test_a_sheet_that_nobody_filled_in_is_refused() -> None:
    with pytest.raises(RatingError, match="none of the 40 rows is rated; write 1 to 5 into"):
        read_sheet(write_sheet(SAMPLES), SAMPLES)


def test_a_rater_replaces_an_earlier_sheet_and_no_other(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.probe()
    enter(store, EVALUATION, "ada", read_sheet(written(filled()), SAMPLES))
    enter(store, EVALUATION, "grace", read_sheet(written(filled("1", "5")), SAMPLES))
    enter(store, EVALUATION, "ada", read_sheet(written(filled("3", "3")), SAMPLES)[:7])
    assert [(sheet.rater, len(sheet.ratings), sheet.ratings[0].tuned) for sheet in entered(store, EVALUATION)] == [
        ("ada", 7, 3),
        ("grace", 40, 5),
    ]
    assert entered(store, "cd" * 32) == []
    assert store.addresses() == []


@pytest.mark.parametrize("rater", ["", "Ada", "../ada", "ada.json", "manifest", "result", "a" * 65, "ada\n", "=ada"])
def test_a_rater_whose_name_makes_no_file_is_refused(tmp_path: Path, rater: str) -> None:
    with pytest.raises(RatingError, match="cannot name a rater; use small letters, digits"):
        enter(Store(str(tmp_path)), EVALUATION, rater, [])


def test_a_damaged_sheet_is_named(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.files.write(f"ratings/{EVALUATION}/ada.json", b'{"rater": "ada", "rat')
    with pytest.raises(CorruptArtifactError, match=r"ada.json is not readable .* let the rater enter the sheet again"):
        entered(store, EVALUATION)


def sheet(rater: str, *given: tuple[int, int]) -> RatingSheet:
    ratings = [Rating(item=f"item-{place}", base=base, tuned=tuned) for place, (base, tuned) in enumerate(given)]
    return RatingSheet(rater=rater, evaluation=EVALUATION, at="2025-01-01T00:00:00+00:00", ratings=tuple(ratings))


def test_the_summary_counts_prompts_not_ratings() -> None:
    found = summary([sheet("ada", (1, 3), (2, 5)), sheet("grace", (2, 4))])
    assert found is not None
    assert (found.raters, found.items) == ({"ada": 2, "grace": 1}, 2)
    assert (found.base.mean, found.base.ratings, found.base.counts) == (pytest.approx(5 / 3), 3, (1, 2, 0, 0, 0))
    assert found.tuned.deviation == pytest.approx(1.0)
    # Two prompts with the differences 2 and 3, the first as the mean of two raters; t(1) = 12.706.
    assert found.difference == 2.5
    assert found.low == pytest.approx(2.5 - 12.706 * 0.5)
    assert found.high == pytest.approx(2.5 + 12.706 * 0.5)
    # Two rated the answers as (1, 2) and (3, 4): the mean squared distance is 1 within them, 40 / 12 over all pairs.
    assert found.agreement == pytest.approx(1 - 1 / (40 / 12))


def test_one_rating_has_neither_interval_nor_agreement() -> None:
    found = summary([sheet("ada", (2, 4))])
    assert found is not None
    assert (found.difference, found.low, found.high, found.agreement, found.base.deviation) == (2, None, None, None, 0)


def test_without_ratings_there_is_no_summary() -> None:
    assert summary([]) is None
    assert summary([sheet("ada")]) is None
