"""JSON: an array of objects, or an object that holds one such array."""

import json
from collections.abc import Iterator
from typing import Any

from tasks.formats.row import Row, RowError
from tasks.sources.json_lines import RAW_CHARACTERS


def read(data: bytes) -> Iterator[tuple[int, Row | RowError, str]]:
    """Rows by their place in the array; raises `ValueError` where there is none."""
    for number, value in enumerate(_array(json.loads(data.removeprefix(b"\xef\xbb\xbf"))), start=1):
        raw = json.dumps(value, ensure_ascii=True)[:RAW_CHARACTERS]
        if isinstance(value, dict):
            yield number, value, raw
        else:
            yield number, RowError("not an object", f"the element is {type(value).__name__}"), raw


def _array(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    arrays = [each for each in value.values() if isinstance(each, list)] if isinstance(value, dict) else []
    if len(arrays) != 1:
        raise ValueError("expected an array of rows, or an object that holds exactly one")
    return arrays[0]
