"""JSON Lines: one object a line."""

import json
from collections.abc import Iterator, Sequence

from tasks.formats.row import Row, RowError

RAW_CHARACTERS = 500


def read(data: bytes) -> Iterator[tuple[int, Row | RowError, str]]:
    """Rows by line number; blank lines hold none."""
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if line.strip():
            yield number, parse(line), raw(line)


def parse(line: bytes) -> Row | RowError:
    """One line as a row, or what is wrong with it."""
    try:
        value = json.loads(line)
    except UnicodeDecodeError as error:
        return RowError("not UTF-8", f"byte {error.start} of the line")
    except (ValueError, RecursionError) as error:  # ValueError alone: a number of thousands of digits
        return RowError("broken JSON", str(error))
    if not isinstance(value, dict):
        return RowError("not an object", f"the line holds {type(value).__name__}")
    return value


def require_distinct(names: Sequence[str]) -> None:
    """Refuse a table in which two columns share a name: which one holds the text would be left to chance."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two columns are called {', '.join(map(repr, twice))}; rename one")


def raw(line: bytes) -> str:
    """How a line begins, for people."""
    return line[: 4 * RAW_CHARACTERS].decode(errors="replace").strip()[:RAW_CHARACTERS]
