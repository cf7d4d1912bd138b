"""JSON Lines: one object a line."""

from collections.abc import Iterator

from tasks.formats.row import Row, RowError
from tasks.sources.json_values import JsonDecoder
from tasks.sources.text import RAW_CHARACTERS, Overlong, lines, not_utf8, raw, too_long


def read(blocks: Iterator[bytes]) -> Iterator[tuple[int, Row | RowError, str]]:
    """Rows by line number; blank lines hold none."""
    row = JsonDecoder().row
    for number, line in enumerate(lines(blocks), start=1):
        if type(line) is Overlong:
            yield number, too_long(line), raw(line)
            continue
        stripped = line.strip()
        if not stripped:
            continue
        try:
            text = stripped.decode()
        except UnicodeDecodeError as error:
            yield number, not_utf8(error), raw(stripped)
            continue
        yield number, row(text), text[:RAW_CHARACTERS]
