"""Rows of sources as labelled texts: which field is the text, which the label, and on which side a row stands."""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from tasks.config import Config
from tasks.formats.labelled import LABELS, TEXT_PAIRS, TEXTS
from tasks.formats.row import Row, RowError, as_text, quoted
from tasks.labelled_text import SIDES, Side

Place = Annotated[str, Field(pattern=r"\S")]

NO_TEXT, NO_LABEL = "no text", "no label"
_NUMBER = re.compile(r"-?\d+")
_MOST_DIGITS = 9
SPLIT = "split"
"""The field in which many data sets name a row's side."""
_SIDES: dict[str, Side] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "eval": "validation",
    "evaluation": "validation",
    "test": "test",
    "testing": "test",
    "heldout": "test",
    "holdout": "test",
}


class LabelledText(NamedTuple):
    """What a row holds."""

    text: str
    text_pair: str
    labels: list[str]
    split: Side | None


class LabelMap(Config):
    """Which fields of a row hold what."""

    text: Place
    """Field with the text."""
    label: Place
    """Field with the label: a name or a number, or a list of them where texts may have several."""
    text_pair: Place | None = None
    """Field with a second text, where pairs are classified."""
    split: Place | None = None
    """Field that names the row's side: train, validation (dev) or test."""


class Reading(Config):
    """What decides how a source's rows are read."""

    name: str
    map: LabelMap | None
    label_names: tuple[str, ...]
    separator: str | None
    split: Side | None
    multi_label: bool
    known: tuple[str, ...]


def reader(reading: Reading) -> Callable[[Row], LabelledText]:
    """The function that reads a source's rows; it raises `RowError` for one that is no labelled text."""

    def read(row: Row) -> LabelledText:
        fields = reading.map or _recognised(row)
        text = _text(row, fields.text)
        pair = _text(row, fields.text_pair) if fields.text_pair else ""
        if not text.strip():
            raise RowError(NO_TEXT, f"{fields.text} is empty")
        labels = _labels(row, fields.label, reading)
        _require_unicode({fields.text: text, fields.text_pair or "": pair, fields.label: "".join(labels)})
        return LabelledText(text, pair, labels, _side(row, fields, reading))

    return read


def _recognised(row: Row) -> LabelMap:
    given = [name for name in TEXTS if row.get(name) is not None] or [name for name in TEXTS if name in row]
    pair = next((pair for pair in TEXT_PAIRS if all(name in row for name in pair)), None)
    label = [name for name in LABELS if row.get(name) is not None] or [name for name in LABELS if name in row]
    if (not given and pair is None) or not label:
        # In a table, a field without a value is not there at all.
        cause = NO_TEXT if label else NO_LABEL if given or pair else "unknown fields"
        raise RowError(
            cause,
            f"fields {', '.join(sorted(map(str, row)))[:160]}; if one of them is meant, name text and label in the "
            "source's map",
        )
    text, second = pair or (given[0], None)
    return LabelMap(text=text, label=label[0], text_pair=second)


def _text(row: Row, place: str) -> str:
    value = row.get(place)
    if value is not None and not isinstance(value, str) and value == value:
        raise RowError("wrong type", f"{place} is {type(value).__name__}, not text")
    return value if isinstance(value, str) else ""


def _labels(row: Row, place: str, reading: Reading) -> list[str]:
    value = row.get(place)
    if isinstance(value, str) and value.strip() and reading.separator:
        value = value.split(reading.separator)
    if isinstance(value, list) and not reading.multi_label:
        raise RowError(
            "several labels", f"{place} is a list; set multi_label to true where a text may have several labels"
        )
    given = value if isinstance(value, list) else [value]
    names = [name for name in (_name(each, place, reading) for each in given) if name]
    # A list without labels says that none applies; a label that is not there says nothing.
    if not names and not isinstance(value, list):
        raise RowError(NO_LABEL, f"{place} is not set")
    unknown = [name for name in names if reading.known and name not in reading.known]
    if unknown:
        raise RowError("unknown label", f"{quoted(unknown[0])} is none of the {len(reading.known)} labels in labels")
    return list(dict.fromkeys(names))


def _name(value: Any, place: str, reading: Reading) -> str:
    text = (as_text(value, place) or "").strip()
    if reading.label_names and _NUMBER.fullmatch(text):
        if len(text) > _MOST_DIGITS or not 0 <= int(text) < len(reading.label_names):
            raise RowError(
                "unknown label", f"{text} is the place of none of the {len(reading.label_names)} label_names"
            )
        return reading.label_names[int(text)]
    return text


def _require_unicode(texts: Mapping[str, str]) -> None:
    """Refuse what cannot be written as UTF-8."""
    for place, text in texts.items():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise RowError("broken text", f"{place} holds a lone surrogate, which is no character") from None


def _side(row: Row, fields: LabelMap, reading: Reading) -> Side | None:
    if reading.split is not None:
        return reading.split
    value = row.get(fields.split or SPLIT)
    if value is None or value == "":
        return None
    side = _SIDES.get(str(value).strip().lower())
    if side is None:
        # To draw a side for it might teach what somebody set aside.
        raise RowError(
            "unknown split",
            f"{fields.split or SPLIT} is {quoted(value)}, none of {', '.join(SIDES)}; name them so, set the source's "
            "split, or name another field in map.split",
        )
    return side
