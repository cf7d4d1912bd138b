"""People's ratings: a sheet that hides which model said what, what comes back in it, and what it says.

One file a rater lies below `ratings/` and the evaluation's fingerprint; a rater who fills in another sheet replaces it.
"""

import csv
import hashlib
import io
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby
from statistics import fmean, stdev
from typing import Any, Literal

from pydantic import Field, ValidationError

from tasks.algorithms.agreement import krippendorff_alpha, mean_interval
from tasks.artifacts.errors import CorruptArtifactError
from tasks.artifacts.store import Store
from tasks.config import Config
from tasks.reporting.judged_facts import RatedSide, RatingFacts

FOLDER = "ratings"
COLUMNS = ("item", "prompt", "answer_1", "answer_2", "rating_1", "rating_2")
LOWEST, HIGHEST = 1, 5
_RATER = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_RESERVED = frozenset({"manifest", "result"})
"""Names of files that mean something to a store."""
_FORMULA = tuple("=+-@\t\r\n＝＋－＠'")
"""What a spreadsheet takes for the start of a formula, and the sign that stops it from doing so."""

Sample = dict[str, Any]
"""A row of an evaluation's table `samples`."""
Side = Literal["base", "tuned"]


class RatingError(ValueError):
    """A sheet that cannot be read; says which row, what is in it and what to do."""


class Rating(Config):
    """What one rater says of both answers to one prompt."""

    item: str
    """The item's name in the sheet."""
    base: int = Field(ge=LOWEST, le=HIGHEST)
    """Rating of the base model's answer."""
    tuned: int = Field(ge=LOWEST, le=HIGHEST)
    """Rating of the tuned model's answer."""


class RatingSheet(Config):
    """All that one rater said of one evaluation."""

    rater: str
    evaluation: str
    """Fingerprint of the evaluation."""
    at: str
    ratings: tuple[Rating, ...]


def write_sheet(samples: Sequence[Sample]) -> str:
    """A CSV file to be filled in: 1 (useless) to 5 (perfect) beside each answer. Excel reads it as UTF-8."""
    sheet = io.StringIO(newline="")
    writer = csv.writer(sheet, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for sample in samples:
        answers = [sample[side] for side in _sides(sample)]
        writer.writerow([item_name(sample), *map(neutralised, (sample["question"], *answers)), "", ""])
    return f"\ufeff{sheet.getvalue()}"


def read_sheet(text: str, samples: Sequence[Sample]) -> tuple[Rating, ...]:
    """The ratings in a sheet; prompts without any are left out. Raises `RatingError`."""
    known = {item_name(sample): sample for sample in samples}
    rows = _rows(text)
    found: dict[str, tuple[int, Rating]] = {}
    for number, row in enumerate(rows, start=2):
        given = [row[name].strip() for name in ("rating_1", "rating_2")]
        if not any(given):
            continue
        item = original(row["item"].strip())
        if item not in known:
            raise RatingError(
                f"row {number}: {item!r} is no item of this evaluation; fill in the sheet that was made for it"
            )
        if item in found:
            raise RatingError(f"row {number}: {item} is rated in row {found[item][0]} already; delete one of the two")
        values = [_points(number, place, value) for place, value in enumerate(given, start=1)]
        by_side = dict(zip(_sides(known[item]), values, strict=True))
        found[item] = (number, Rating(item=item, base=by_side["base"], tuned=by_side["tuned"]))
    if not found:
        raise RatingError(f"none of the {len(rows)} rows is rated; write 1 to 5 into the columns rating_1 and rating_2")
    return tuple(rating for _, rating in found.values())


def _rows(text: str) -> list[dict[str, str]]:
    text = text.removeprefix("\ufeff")
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restval="")
    names = [name.strip() for name in reader.fieldnames or ()]
    missing = [name for name in ("item", "rating_1", "rating_2") if name not in names]
    if missing:
        raise RatingError(
            f"the sheet has no column {', '.join(missing)}; it has {', '.join(names) or 'none'}. Keep the first row as "
            "it was, and save as CSV"
        )
    reader.fieldnames = names
    try:
        return list(reader)
    except csv.Error as error:
        raise RatingError(f"row {reader.line_num}: {error}; save the sheet as CSV again") from None


def _points(row: int, place: int, value: str) -> int:
    """Spreadsheets may write 4 as 4.0 or, in some countries, as 4,0."""
    whole = re.fullmatch(r"'?([1-5])(?:[.,]0+)?", value)
    if whole is None:
        said = f"is {value!r}" if value else "is empty, while the other answer is rated"
        raise RatingError(f"row {row}: rating_{place} {said}; write a whole number from {LOWEST} to {HIGHEST}")
    return int(whole[1])


def item_name(sample: Sample) -> str:
    """Tells an item and both of its answers: a sheet of another evaluation has other names."""
    return f"item-{_digest(sample)[:12]}"


def _digest(sample: Sample) -> str:
    told = "\0".join(str(sample[name]) for name in ("benchmark", "item_id", "question", "base", "tuned"))
    return hashlib.sha256(told.encode(errors="surrogatepass")).hexdigest()


def _sides(sample: Sample) -> tuple[Side, Side]:
    """Whose answer stands first: settled by the item, for half of them the base's; its name does not tell."""
    return ("base", "tuned") if int(_digest(sample)[-1], 16) % 2 else ("tuned", "base")


def neutralised(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula; `original` gives it back."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def original(cell: str) -> str:
    """The text of a cell that was neutralised."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell


def enter(store: Store, evaluation: str, rater: str, ratings: Sequence[Rating]) -> RatingSheet:
    """Keep what a rater said, in place of what the same rater said before. `evaluation` is its whole fingerprint."""
    if not _RATER.fullmatch(rater) or rater in _RESERVED:
        raise RatingError(f"{rater!r} cannot name a rater; use small letters, digits, hyphens and underscores")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    sheet = RatingSheet(rater=rater, evaluation=evaluation, at=now, ratings=tuple(ratings))
    store.files.replace(_path(evaluation, rater), sheet.model_dump_json(indent=1).encode())
    return sheet


def entered(store: Store, evaluation: str) -> list[RatingSheet]:
    """What people said of an evaluation so far, by rater."""
    paths = sorted(path for path in store.files.sizes(f"{FOLDER}/{evaluation}") if path.endswith(".json"))
    sheets = []
    for path in paths:
        raw = store.files.read(path)
        try:
            sheets += [RatingSheet.model_validate_json(raw)] if raw is not None else []
        except ValidationError as error:
            raise CorruptArtifactError(
                f"store {store.uri}: {path} is not readable ({error.errors()[0]['msg']}); delete it, and let the rater "
                "enter the sheet again"
            ) from None
    return sheets


def _path(evaluation: str, rater: str) -> str:
    return f"{FOLDER}/{evaluation}/{rater}.json"


def summary(sheets: Sequence[RatingSheet]) -> RatingFacts | None:
    """Mean, spread and raters, or nothing where no one rated. The unit of the difference is the prompt."""
    ratings = sorted((rating for sheet in sheets for rating in sheet.ratings), key=lambda each: each.item)
    if not ratings:
        return None
    items = [list(group) for _, group in groupby(ratings, key=lambda each: each.item)]
    difference = mean_interval([fmean(each.tuned - each.base for each in item) for item in items])
    answers = [*([each.base for each in item] for item in items), *([each.tuned for each in item] for item in items)]
    return RatingFacts(
        raters={sheet.rater: len(sheet.ratings) for sheet in sheets},
        items=len(items),
        base=_side(each.base for each in ratings),
        tuned=_side(each.tuned for each in ratings),
        difference=difference.mean,
        low=difference.low,
        high=difference.high,
        agreement=krippendorff_alpha(answers),
    )


def _side(given: Iterable[int]) -> RatedSide:
    values = list(given)
    ones, twos, threes, fours, fives = (values.count(points) for points in range(LOWEST, HIGHEST + 1))
    return RatedSide(
        mean=fmean(values),
        deviation=stdev(values) if len(values) > 1 else 0.0,
        ratings=len(values),
        counts=(ones, twos, threes, fours, fives),
    )
