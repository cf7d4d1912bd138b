"""CSV with a header line, separated by commas, semicolons or tabs."""

import csv
import re
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial

from tasks.formats.row import Row, RowError
from tasks.sources.parquet_rows import require_distinct
from tasks.sources.text import MAX_LINE_BYTES, RAW_CHARACTERS, Overlong, lines, not_utf8, too_long

csv.field_size_limit(2 * MAX_LINE_BYTES)


def read(
    blocks: Iterator[bytes], delimiters: Sequence[str] = (",", ";", "\t")
) -> Iterator[tuple[int, Row | RowError, str]]:
    """Rows by number below the header, every field as text; an empty field is a missing one.

    The delimiter is the first of those given that the header has. A quoted field may hold line breaks, so the number
    counts rows, not lines. Where quotes go wrong, the line that began the row is rejected and reading goes on with the
    next one; from there on a quote inside an unquoted field is a fault too: it may be the end of what was broken.
    """
    feed = _Lines(blocks)
    records = _records(feed, feed.delimiter(delimiters))
    header, _ = next(records, ([], ""))
    if isinstance(header, RowError):
        raise ValueError(f"the header: {header}")
    names = [name.strip() for name in header]
    require_distinct([name for name in names if name])
    for number, (fields, raw) in enumerate(records, start=1):
        yield number, fields if isinstance(fields, RowError) else _row(names, fields), raw


read_tabs = partial(read, delimiters=("\t",))


def _row(names: list[str], fields: list[str]) -> Row | RowError:
    if len(fields) != len(names):
        return RowError("wrong number of fields", f"{len(fields)} fields where the header has {len(names)}")
    return {name: field for name, field in zip(names, fields, strict=True) if field and name}


def _records(feed: "_Lines", delimiter: str) -> Iterator[tuple[list[str] | RowError, str]]:
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    sound = _sound(delimiter)
    distrust = False
    while True:
        feed.begin()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            distrust = True
            fault = feed.fault or RowError("broken CSV", f"line {feed.began}: {_words(error)}")
            yield fault, feed.keep_first()
            continue
        if feed.fault is not None:
            distrust = True
            yield feed.fault, feed.raw()
        elif distrust and any('"' in field for field in fields) and not sound.fullmatch(feed.text()):
            yield RowError("broken CSV", f"line {feed.began}: a quote inside a field without quotes"), feed.raw()
        elif fields:
            yield fields, feed.raw()


def _sound(delimiter: str) -> re.Pattern[str]:
    field = f'(?:"[^"]*(?:""[^"]*)*"|[^"{delimiter}]*)'
    return re.compile(rf"{field}(?:{delimiter}{field})*\r?\n")


def _words(error: csv.Error) -> str:
    return "a carriage return without a newline" if "new-line" in str(error) else str(error)


class _Lines:
    """Lines for the CSV reader, those of the current row remembered so that they can be given again."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._lines = lines(blocks)
        self._again: deque[tuple[str, RowError | None]] = deque()
        self._row: list[tuple[str, RowError | None]] = []
        self._characters = 0
        self._number = 0
        self.began = 1
        self.fault: RowError | None = None

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        if self._characters > MAX_LINE_BYTES:
            raise csv.Error(f"a row of more than {MAX_LINE_BYTES:,} characters, or a quote that is never closed")
        line, fault = self._again.popleft() if self._again else _line(next(self._lines))
        self._number += 1
        self._row.append((line, fault))
        self._characters += len(line)
        self.fault = self.fault or fault
        return line

    def delimiter(self, among: Sequence[str]) -> str:
        """The first that the header line has."""
        for line, fault in map(_line, self._lines):
            self._again.append((line, fault))
            if line.strip():
                return next((each for each in among if each in line), among[0])
        return among[0]

    def begin(self) -> None:
        """A row begins with the next line."""
        self._row = []
        self._characters = 0
        self.began = self._number + 1
        self.fault = None

    def text(self) -> str:
        """The row's lines."""
        return "".join(line for line, _ in self._row)

    def raw(self) -> str:
        """How the row begins, for people."""
        text = self._row[0][0] if len(self._row) == 1 else self.text()
        text = text[:RAW_CHARACTERS].rstrip("\r\n")
        return text if self.fault is None else text.encode(errors="replace").decode()

    def keep_first(self) -> str:
        """Take back all lines of the row but its first, which is shown."""
        self._again.extendleft(reversed(self._row[1:]))
        self._number -= len(self._row) - 1
        del self._row[1:]
        return self.raw().encode(errors="replace").decode()


def _line(line: bytes) -> tuple[str, RowError | None]:
    if type(line) is Overlong:
        # Without quotes, lest what was passed over ends or begins a field.
        return line.decode(errors="replace").replace('"', "") + "\n", too_long(line)
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        return line.decode(errors="surrogateescape") + "\n", not_utf8(error)
    return f"{text}\n", RowError("NUL byte", "as a crash while writing leaves") if "\0" in text else None
