"""CSV with a header line."""

import csv
import io
from collections.abc import Iterator

from tasks.formats.row import Row, RowError
from tasks.sources.json_lines import RAW_CHARACTERS, require_distinct

csv.field_size_limit(64 << 20)


def read(data: bytes) -> Iterator[tuple[int, Row | RowError, str]]:
    """Rows by number below the header, every field as text; an empty field is a missing one.

    A quoted field may hold line breaks, so the number counts rows, not lines.
    """
    # Bytes that are no UTF-8 become lone surrogates, which the row check names; the rest of the file stays readable.
    text = io.StringIO(data.removeprefix(b"\xef\xbb\xbf").decode(errors="surrogateescape"), newline="")
    reader = csv.reader(text, strict=True)
    try:
        header = next(reader, [])
        require_distinct(header)
        for number, fields in enumerate((each for each in reader if each), start=1):
            yield number, _row(header, fields), repr(fields)[:RAW_CHARACTERS]
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from error


def _row(header: list[str], fields: list[str]) -> Row | RowError:
    if len(fields) != len(header):
        return RowError("wrong number of fields", f"{len(fields)} fields where the header has {len(header)}")
    return {name: field for name, field in zip(header, fields, strict=True) if field}
