"""JSON inside fields: read strictly, and written in one way."""

import json
from typing import Any

from tasks.formats.row import RowError

MAX_DEPTH = 64
"""Lists and objects within one another; what is deeper could not be read again at every place."""


def parse(text: str, what: str, cause: str) -> Any:
    """The value of a field that holds JSON as text; `what` and `cause` describe it where it holds none."""
    try:
        value = json.loads(text, parse_constant=_refuse, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:  # ValueError alone: a number of thousands of digits
        raise RowError(cause, f"{what} is no JSON ({error}): {text[:100]}") from None
    # A glance at the text spares most values the walk.
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_deep(value):
        raise RowError(cause, f"{what} is nested more than {MAX_DEPTH} levels deep")
    return value


def compact(value: Any, what: str, cause: str) -> str:
    """The value as JSON without spaces; keys keep their order, which a model is to learn as it stands."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (ValueError, TypeError, RecursionError) as error:
        raise RowError(cause, f"{what} cannot be written as JSON: {error}") from None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return made


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        children = [child for each in level for child in (each.values() if isinstance(each, dict) else each)]
        level = [child for child in children if isinstance(child, dict | list)]
        if not level:
            return False
    return True
