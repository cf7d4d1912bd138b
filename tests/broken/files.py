"""Broken files and lines, each in a way of its own."""

import gzip
import io
import json
import zipfile
from typing import Any

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq

from tasks.sources.text import MAX_LINE_BYTES
from tests.broken.case import Case

ROW = b'{"question": "What?", "answer": "This."}'
GOOD = ROW + b"\n"
TABLE = {"question": ["What?", "Who?", "Why?"], "answer": ["This.", "She.", "So."]}
CSV = b"question,answer\nWhat?,This.\n"

NOT_UTF8, BROKEN, TWICE, DEEP = "not UTF-8", "broken JSON", "duplicate key", "nested too deeply"
LONG, NO_OBJECT, BAD_CSV, NUL = "line too long", "not an object", "broken CSV", "NUL byte"
FIELDS = "wrong number of fields"


def _line(name: str, line: bytes, cause: str | None) -> Case:
    """One line between two good ones."""
    return Case(name, "rows.jsonl", GOOD + line + b"\n" + GOOD, {cause: 1} if cause else {}, read=3)


LINES = [
    _line("a line cut in the middle", b'{"question": "What?", "answ', BROKEN),
    _line("a line without its end brace", b'{"question": "What?", "answer": "This."', BROKEN),
    _line("a brace too many", ROW + b"}", BROKEN),
    _line("two objects on one line", ROW + ROW, BROKEN),
    _line("two objects with a comma", ROW + b", " + ROW, BROKEN),
    _line("a comma at the end of the line", ROW + b",", BROKEN),
    _line("a comma after the last field", b'{"question": "What?", "answer": "This.",}', BROKEN),
    _line("no comma between fields", b'{"question": "What?" "answer": "This."}', BROKEN),
    _line("no colon", b'{"question" "What?"}', BROKEN),
    _line("single quotes", b"{'question': 'What?', 'answer': 'This.'}", BROKEN),
    _line("names without quotes", b'{question: "What?", answer: "This."}', BROKEN),
    _line("Python's None", b'{"question": "What?", "answer": None}', BROKEN),
    _line("JavaScript's undefined", b'{"question": "What?", "answer": undefined}', BROKEN),
    _line("a comment", b"// the rows of May", BROKEN),
    _line("a comment behind the row", ROW + b" # checked", BROKEN),
    _line("a quote that is not escaped", b'{"question": "Say "hi"", "answer": "Hi."}', BROKEN),
    _line("a backslash that escapes nothing", b'{"question": "C:\\path", "answer": "x"}', BROKEN),
    _line("a Unicode escape cut short", b'{"question": "\\u00e", "answer": "x"}', BROKEN),
    _line("a tab inside a text", b'{"question": "a\tb", "answer": "x"}', BROKEN),
    _line("an escape character of a terminal", b'{"question": "\x1b[31mred", "answer": "x"}', BROKEN),
    _line("a NUL inside a text", b'{"question": "a\0b", "answer": "x"}', BROKEN),
    _line("a block of NULs where a machine crashed", b"\0" * 512, BROKEN),
    _line("a newline inside a text", b'{"question": "a\nb", "answer": "x"}', BROKEN)._replace(
        rejects={BROKEN: 2}, read=4
    ),
    _line("typographic quotes", "{“question”: “What?”, “answer”: “This.”}".encode(), BROKEN),
    _line("a merge conflict's mark", b"<<<<<<< HEAD", BROKEN),
    _line("a line of a log", b"2024-05-01 12:00:00 INFO wrote 1 row", BROKEN),
    _line("a CSV line among JSON", b"What?,This.", BROKEN),
    _line("a bare word", b"hello", BROKEN),
    _line("a record separator before the row", b"\x1e" + ROW, BROKEN),
    _line("a number with a leading zero", b'{"question": "What?", "answer": "x", "n": 007}', BROKEN),
    _line("a number in hexadecimal", b'{"question": "What?", "answer": "x", "n": 0xff}', BROKEN),
    _line("a number without digits after its point", b'{"question": "What?", "answer": "x", "n": 1.}', BROKEN),
    _line("a number of five thousand digits", b'{"question": "What?", "n": ' + b"9" * 5000 + b"}", BROKEN),
    _line("a number of a hundred digits", ROW[:-1] + b', "n": ' + b"9" * 100 + b"}", None),
    _line("a number beyond all floats", ROW[:-1] + b', "n": 1e999}', None),
    _line("NaN in a field nobody reads", ROW[:-1] + b', "n": NaN}', None),
    _line("Infinity in a field nobody reads", ROW[:-1] + b', "n": -Infinity}', None),
    _line("NaN spelt in small letters", ROW[:-1] + b', "n": nan}', BROKEN),
    _line("a list", b'["What?", "This."]', NO_OBJECT),
    _line("a text", b'"What?"', NO_OBJECT),
    _line("a number", b"42", NO_OBJECT),
    _line("null", b"null", NO_OBJECT),
    _line("true", b"true", NO_OBJECT),
    _line("an object inside a text, encoded twice", json.dumps(ROW.decode()).encode(), NO_OBJECT),
    _line("a field that stands twice", b'{"question": "a", "question": "b", "answer": "x"}', TWICE),
    _line("a field that stands twice, once escaped", b'{"question": "a", "\\u0071uestion": "b", "answer": "x"}', TWICE),
    _line("a field that stands twice far inside", b'{"messages": [{"role": "user", "role": "system"}]}', TWICE),
    _line("a field that stands twice with one value", ROW[:-1] + b', "n": 1, "n": 1}', TWICE),
    _line("lists in lists without end", b'{"question": ' + b"[" * 100_000, DEEP),
    _line("objects in objects, closed", b'{"a": ' * 80 + b"1" + b"}" * 80, DEEP),
    _line("lists in lists, many but closed", b'{"a": ' + b"[" * 70 + b"]" * 70 + b"}", DEEP),
    _line("many brackets that are only text", json.dumps({"question": "[{" * 900, "answer": "x"}).encode(), None),
    _line("many lists that are not deep", ROW[:-1] + b', "n": [' + b"[]," * 99 + b"[]]}", None),
    _line("a byte that is no UTF-8", b'{"question": "caf\xe9", "answer": "x"}', NOT_UTF8),
    _line("a UTF-8 character cut in half", b'{"question": "caf\xc3", "answer": "x"}', NOT_UTF8),
    _line("a surrogate in UTF-8", b'{"question": "\xed\xa0\x80", "answer": "x"}', NOT_UTF8),
    _line("an overlong slash", b'{"question": "\xc0\xaf", "answer": "x"}', NOT_UTF8),
    _line("a character beyond Unicode", b'{"question": "\xf4\x90\x80\x80", "answer": "x"}', NOT_UTF8),
    _line("a byte that is no UTF-8 outside of texts", b"\xff" + ROW, NOT_UTF8),
    _line("a UTF-16 line among UTF-8", ROW.decode().encode("utf-16-le"), BROKEN),
    _line("a byte-order mark in the middle", b"\xef\xbb\xbf" + ROW, None),
    _line("two byte-order marks", b"\xef\xbb\xbf\xef\xbb\xbf" + ROW, None),
    _line("a line separator of Unicode inside a text", '{"question": "a\u2028b", "answer": "x"}'.encode(), None),
    _line("a next-line character between rows", ROW + "\x85".encode() + ROW, BROKEN),
    _line("a no-break space before the row", "\xa0".encode() + ROW, BROKEN),
    _line("a carriage return between rows", ROW + b"\r" + ROW, BROKEN),
    _line("carriage returns at the end", ROW + b"\r\r\r", None),
    _line("a form feed alone", b"\x0c", None)._replace(read=2),
    _line("a line over the limit", b'{"question": "' + b"x" * MAX_LINE_BYTES + b'"}', LONG),
    _line("a line over the limit without any JSON", b"x" * (2 * MAX_LINE_BYTES), LONG),
    _line("blanks over the limit", b" " * (MAX_LINE_BYTES + 1), LONG),
    Case("a last line cut by a full disk", "rows.jsonl", GOOD * 2 + ROW[:-9], {BROKEN: 1}, read=3),
    Case("line ends of an old Mac", "rows.jsonl", b"\r".join([ROW] * 3), {BROKEN: 1}, read=1),
    Case("line ends of every kind", "rows.jsonl", GOOD + ROW + b"\r\n\r\n" + ROW, {}, read=3),
    Case("an array cut into lines", "rows.jsonl", b"[\n" + ROW + b",\n" + ROW + b"\n]\n", {BROKEN: 3}, read=4),
    Case("one array in a JSON Lines file", "rows.jsonl", b"[" + ROW + b"]", {NO_OBJECT: 1}, read=1),
    Case(
        "one object over many lines", "rows.jsonl", json.dumps(json.loads(ROW), indent=1).encode(), {BROKEN: 4}, read=4
    ),
]


def _utf(encoding: str) -> bytes:
    return (GOOD * 2).decode().encode(encoding)


def _zip() -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("rows.jsonl", GOOD)
    return sink.getvalue()


def _arrow() -> bytes:
    sink = io.BytesIO()
    feather.write_feather(pa.table(TABLE), sink)
    return sink.getvalue()


TEXTS = [
    Case("an empty file", "rows.jsonl", b"", error="holds no rows"),
    Case("only blank lines", "rows.jsonl", b"\n \r\n\t\n", error="holds no rows"),
    Case("only a byte-order mark", "rows.jsonl", b"\xef\xbb\xbf", error="holds no rows"),
    Case("UTF-16 with its mark", "rows.jsonl", _utf("utf-16"), error="it is UTF-16 text; save it as UTF-8"),
    Case("UTF-16 of the other order", "rows.csv", b"\xfe\xff" + _utf("utf-16-be"), error="it is UTF-16 text"),
    Case("UTF-16 without a mark", "rows.jsonl", _utf("utf-16-le"), error="UTF-16 text without a byte-order mark"),
    Case("UTF-16 of the other order without a mark", "rows.json", _utf("utf-16-be"), error="UTF-16 text without"),
    Case("UTF-32", "rows.jsonl", _utf("utf-32"), error="it is UTF-32 text"),
    Case("Parquet called JSON Lines", "rows.jsonl", b"PAR1\x15\x04", error="it holds Parquet; .* end with .parquet"),
    Case("gzip called JSON Lines", "rows.jsonl", gzip.compress(GOOD), error="it holds gzip data; .* end with .gz"),
    Case("zstd called CSV", "rows.csv", pa.compress(CSV, "zstd", asbytes=True), error="it holds zstd data"),
    Case("a zip archive called JSON", "rows.json", _zip(), error="zip archive or an Excel workbook"),
    Case("an Arrow file called Parquet", "rows.parquet", _arrow(), error="it is an Arrow file; save it as Parquet"),
    Case("bzip2 called JSON Lines", "rows.jsonl", b"BZh91AY&SY\0\0", error="bzip2"),
    Case("xz called CSV", "rows.csv", b"\xfd7zXZ\0\0\x04", error="xz data"),
    Case("SQLite called CSV", "rows.csv", b"SQLite format 3\0\x10", error="SQLite database"),
    Case("a PDF called JSON", "rows.json", b"%PDF-1.7\n", error="it is a PDF"),
    Case("a pointer of Git LFS", "rows.jsonl", b"version https://git-lfs.github.com/spec/v1\n", error="git lfs pull"),
    Case(
        "a pointer of Git LFS in place of Parquet", "rows.parquet", b"version https://git-lfs.g", error="git lfs pull"
    ),
    Case("a web page saved as JSON Lines", "rows.jsonl", b"\n<!DOCTYPE html>\n<html></html>", error="a web page"),
    Case("a web page saved as Parquet", "rows.parquet", b"<html><body>404</body></html>", error="a web page"),
    Case("an S3 refusal saved as CSV", "rows.csv", b"<?xml version='1.0'?><Error>AccessDenied</Error>", error="XML"),
    Case("an ending nobody reads", "rows.txt", GOOD, error=r"no reader for \.txt; known: \.jsonl"),
    Case("no ending", "rows", GOOD, error="no reader for a name without ending"),
    Case("a packing nobody reads", "rows.jsonl.bz2", GOOD, error=r"no reader for \.bz2"),
    Case("a packing without a kind", "rows.gz", gzip.compress(GOOD), error=r"no reader for a name without ending"),
    Case("an ending in capitals", "ROWS.JSONL", GOOD, {}, read=1),
]

JSON = [
    Case("an empty JSON file", "rows.json", b"", error="it is empty"),
    Case("a JSON file of blanks", "rows.json", b" \n\n", error="it is empty"),
    Case("an array of nothing", "rows.json", b"[]", error="holds no rows"),
    Case("an array cut in an element", "rows.json", b"[" + ROW + b"," + ROW[:-5], error="element 2 is broken"),
    Case("an array cut between elements", "rows.json", b"[" + ROW + b"," + ROW, error="after element 2 it breaks off"),
    Case("an array cut after a comma", "rows.json", b"[" + ROW + b",", error="element 2 is broken"),
    Case("a comma after the last element", "rows.json", b"[" + ROW + b",]", error="element 2 is broken"),
    Case("no comma between elements", "rows.json", b"[" + ROW + b"\n" + ROW + b"]", error="after element 1 stands '{'"),
    Case("two arrays", "rows.json", b"[" + ROW + b"]\n[" + ROW + b"]", error="more after the array's end"),
    Case("an array that is never begun", "rows.json", b"]", error="expected an array"),
    Case("one row alone", "rows.json", ROW, error="expected an array of rows"),
    Case("two arrays in one object", "rows.json", b'{"a": [], "b": []}', error="exactly one"),
    Case("an object that stands open", "rows.json", b'{"data": [' + ROW, error="not a readable .json file"),
    Case(
        "an object with more behind it", "rows.json", b'{"data": [' + ROW + b"]} x", error="more after the value's end"
    ),
    Case("an object with its array twice", "rows.json", b'{"data": [1], "data": [2]}', error="'data' stands twice"),
    Case("a bare number", "rows.json", b"17", error="expected an array"),
    Case("elements of many types", "rows.json", b'[1, "a", null, [2], true, ' + ROW + b"]", {NO_OBJECT: 5}, read=6),
    Case("a field twice in an element", "rows.json", b'[{"a": 1, "a": 2}, ' + ROW + b"]", {TWICE: 1}, read=2),
    Case("bad UTF-8 in an element", "rows.json", b'[{"a": "\xe9"}, ' + ROW + b"]", {NOT_UTF8: 1}, read=2),
    Case("an element too deep", "rows.json", b"[" + b'{"a":' * 80 + b"1" + b"}" * 80 + b"]", {DEEP: 1}, read=1),
    Case("an element without end", "rows.json", b"[" * 100_000, error="element 1 is nested too deeply"),
    Case("an endless text in an element", "rows.json", b'[{"a": "' + b"x" * (10 << 20), error="element 1 is broken"),
    Case("JSON Lines called JSON", "rows.json", GOOD * 2, {}, read=2),
    Case("JSON Lines called JSON with a broken line", "rows.json", GOOD * 2 + b"{x\n", {BROKEN: 1}, read=3),
    Case(
        "elements that are no objects in an object", "rows.json", b'{"data": [1, ' + ROW + b"]}", {NO_OBJECT: 1}, read=2
    ),
]


def _csv(name: str, record: bytes, rejects: dict[str, int], read: int) -> Case:
    """One record between two good ones."""
    return Case(name, "rows.csv", CSV + record + b"\nWho?,She.\n", rejects, read=read)


TABLES = [
    Case("an empty CSV", "rows.csv", b"", error="holds no rows"),
    Case("a header and nothing else", "rows.csv", b"question,answer\n", error="holds no rows"),
    Case("a header twice", "rows.csv", b"question,question\na,b\n", error="two columns are called 'question'"),
    Case("a header with an open quote", "rows.csv", b'"question,answer\nWhat?,This.\n', error="the header: broken CSV"),
    Case("a header that is no UTF-8", "rows.csv", b"question,r\xe9ponse\na,b\n", error="the header: not UTF-8"),
    Case("line ends of an old Mac in CSV", "rows.csv", b"question,answer\ra,b\r", error="carriage return without"),
    _csv("too few fields", b"What?", {FIELDS: 1}, 3),
    _csv("too many fields", b"What?,This.,That.", {FIELDS: 1}, 3),
    _csv("a comma that needed quotes", b"What, really?,This.", {FIELDS: 1}, 3),
    _csv("text behind a closing quote", b'"What"?,This.', {BAD_CSV: 1}, 3),
    _csv("a quote that is never closed", b'"What?,This.', {BAD_CSV: 1}, 3),
    _csv("quotes escaped with backslashes", rb'"Say \"hi\"",Hi.', {BAD_CSV: 1}, 3),
    _csv("a text of many lines with a stray quote", b'"a\nb "c" d\ne",x', {BAD_CSV: 3}, 5),
    _csv("a byte that is no UTF-8 in CSV", b"caf\xe9,x", {NOT_UTF8: 1}, 3),
    _csv("a NUL in CSV", b"a\0b,x", {NUL: 1}, 3),
    _csv("a carriage return in a field", b"a\rb,x", {BAD_CSV: 1}, 3),
    _csv("a CSV line over the limit", b"x" * (MAX_LINE_BYTES + 1) + b",x", {LONG: 1}, 3),
    _csv("blank lines in CSV", b"\n\n", {}, 2),
    Case("semicolons as Excel writes them", "rows.csv", b"question;answer\nWhat, now?;This.\n", {}, read=1),
    Case("a trailing comma in every line", "rows.csv", b"question,answer,\nWhat?,This.,\n", {}, read=1),
    Case("too few fields in TSV", "rows.tsv", b"question\tanswer\nWhat?\n", {FIELDS: 1}, read=1),
    Case("JSON Lines called CSV", "rows.csv", GOOD * 2, {"unknown format": 1}, read=1),
]


def parquet(columns: Any = None, **settings: Any) -> bytes:
    """A table as Parquet."""
    sink = io.BytesIO()
    pq.write_table(pa.table(TABLE if columns is None else columns), sink, **settings)
    return sink.getvalue()


def _beside(name: str, rejects: dict[str, int], **columns: pa.Array) -> Case:
    """The good table with further columns that nobody reads."""
    return Case(name, "rows.parquet", parquet({**TABLE, **columns}), rejects, read=3)


def _texts_as(name: str, kind: pa.DataType) -> Case:
    """The good table with its texts of another type."""
    return Case(name, "rows.parquet", parquet(pa.table(TABLE).cast(pa.schema([(n, kind) for n in TABLE]))), {}, read=3)


def _damaged(data: bytes, place: int, with_: bytes) -> bytes:
    return data[:place] + with_ + data[place + len(with_) :]


def _groups() -> bytes:
    """Three row groups of 400 rows."""
    texts = [f"What is {number} and why is it {number * 7919}?" for number in range(1200)]
    settings = {"row_group_size": 400, "use_dictionary": False, "compression": "zstd"}
    return parquet({"question": texts, "answer": texts}, **settings)


def _page_of(data: bytes, group: int, column: int = 0) -> int:
    """Where the first page of a column of a row group begins."""
    return int(pq.ParquetFile(io.BytesIO(data)).metadata.row_group(group).column(column).data_page_offset)


_PARQUET, _GROUPS = parquet(), _groups()
_LENGTH = len(_PARQUET)
GROUP, VALUE = "unreadable row group", "unreadable value"
_MAP = pa.map_(pa.string(), pa.int8())

PARQUETS = [
    Case("an empty Parquet file", "rows.parquet", b"", error="not a readable .parquet file"),
    Case("a Parquet of its magic alone", "rows.parquet", b"PAR1", error="not a readable .parquet file"),
    Case("a Parquet of its magic twice", "rows.parquet", b"PAR1PAR1", error="not a readable .parquet file"),
    Case("a Parquet without its last bytes", "rows.parquet", _PARQUET[:-4], error="not a readable .parquet file"),
    Case("a Parquet cut in its footer", "rows.parquet", _PARQUET[:-100], error="not a readable .parquet file"),
    Case("a Parquet cut in a page", "rows.parquet", _PARQUET[:40], error="not a readable .parquet file"),
    Case("a Parquet without its first half", "rows.parquet", _PARQUET[_LENGTH // 2 :], error="not a readable"),
    Case("a Parquet with more behind it", "rows.parquet", _PARQUET + b"more", error="not a readable .parquet file"),
    Case(
        "a footer longer than its file", "rows.parquet", _PARQUET[:-8] + b"\xff\xff\xff\x7fPAR1", error="not a readable"
    ),
    Case("a footer of noise", "rows.parquet", _damaged(_PARQUET, _LENGTH - 60, b"\xaa" * 40), error="not a readable"),
    Case(
        "a Parquet of zeros between its ends", "rows.parquet", b"PAR1" + b"\0" * 400 + b"PAR1", error="not a readable"
    ),
    Case("an encrypted Parquet", "rows.parquet", b"PARE" + _PARQUET[4:-4] + b"PARE", error="not a readable"),
    Case("JSON Lines called Parquet", "rows.parquet", GOOD * 10, error="not a readable .parquet file"),
    Case("CSV called Parquet", "rows.parquet", CSV, error="not a readable .parquet file"),
    Case("two columns of one name", "rows.parquet", parquet(pa.table([["a"], ["b"]], ["q", "q"])), error="called 'q'"),
    Case("a Parquet without rows", "rows.parquet", parquet({"question": [], "answer": []}), error="holds no rows"),
    Case(
        "a row group of noise among good ones",
        "rows.parquet",
        _damaged(_GROUPS, _page_of(_GROUPS, 1), b"\xaa" * 400),
        {GROUP: 400},
        read=1200,
    ),
    Case(
        "the second column of a row group of noise",
        "rows.parquet",
        _damaged(_GROUPS, _page_of(_GROUPS, 2, 1) + 40, b"\xaa" * 400),
        {GROUP: 400},
        read=1200,
    ),
    _beside("times", {}, n=pa.array([0, 1, None], pa.timestamp("ns", "UTC"))),
    _beside("times beyond the calendar", {VALUE: 1}, n=pa.array([2**62, 1, 2], pa.timestamp("us"))),
    _beside("dates", {}, n=pa.array([1, 2, 3], pa.date32())),
    _beside(
        "durations and times of day",
        {},
        a=pa.array([1, 2, 3], pa.duration("ns")),
        b=pa.array([1, 2, 3], pa.time64("us")),
    ),
    _beside(
        "decimals and halves", {}, a=pa.array([1, 2, 3], pa.decimal128(20, 2)), b=pa.array([1, 2, 3], pa.float16())
    ),
    _beside("a map with a key twice", {VALUE: 1}, n=pa.array([[("a", 1), ("a", 2)], [("b", 1)], None], _MAP)),
    _beside("pictures", {}, n=pa.array([b"\x89PNG\xff", b"", None])),
    _beside("a column of nulls", {}, n=pa.nulls(3)),
    _beside("NaN", {}, n=pa.array([float("nan"), float("inf"), None])),
    _beside("structs in lists in structs", {}, n=pa.array([{"a": [{"b": None}]}, None, {"a": []}])),
    _beside(
        "bytes that are no UTF-8 called text", {NOT_UTF8: 1}, n=pa.array([b"caf\xe9", b"a", b""]).view(pa.string())
    ),
    _texts_as("texts as bytes", pa.binary()),
    _texts_as("texts as many bytes", pa.large_binary()),
    _texts_as("texts as a dictionary", pa.dictionary(pa.int32(), pa.string())),
    _texts_as("large texts", pa.large_string()),
    _texts_as("views of texts", pa.string_view()),
    Case("a table without columns", "rows.parquet", parquet({}), error="holds no rows"),
]

_GZ, _ZST = gzip.compress(GOOD * 2000), pa.compress(GOOD * 2000, "zstd", asbytes=True)


def _flipped(data: bytes, place: int) -> bytes:
    return _damaged(data, place, bytes([data[place] ^ 0xFF]))


PACKED = [
    Case("a gzip without its end", "rows.jsonl.gz", _GZ[:-6], error="rows.jsonl.gz: .*Truncated compressed stream"),
    Case("a gzip cut in the middle", "rows.jsonl.gz", _GZ[: len(_GZ) // 2], error="Truncated compressed stream"),
    Case("a gzip of its magic alone", "rows.jsonl.gz", b"\x1f\x8b", error="Truncated compressed stream"),
    Case("a gzip with another checksum", "rows.jsonl.gz", _flipped(_GZ, len(_GZ) - 7), error="incorrect data check"),
    Case("a gzip with another length", "rows.jsonl.gz", _flipped(_GZ, len(_GZ) - 3), error="incorrect length check"),
    Case("a gzip with noise behind it", "rows.jsonl.gz", _GZ + b"garbage", error="inflate failed"),
    Case("a gzip with zeros behind it", "rows.jsonl.gz", _GZ + b"\0" * 512, error="inflate failed"),
    Case("a gzip of two members", "rows.jsonl.gz", _GZ + _GZ, {}, read=4000),
    Case("a gzip with a second member cut", "rows.jsonl.gz", _GZ + _GZ[:20], error="Truncated compressed stream"),
    Case("plain text called gzip", "rows.jsonl.gz", GOOD, error="inflate failed"),
    Case("zstd called gzip", "rows.jsonl.gz", _ZST, error="inflate failed"),
    Case("a gzip packed twice", "rows.jsonl.gz", gzip.compress(_GZ), error="it holds gzip data"),
    Case("an empty file called gzip", "rows.jsonl.gz", b"", error="holds no rows"),
    Case("a gzip of nothing", "rows.csv.gz", gzip.compress(b""), error="holds no rows"),
    Case(
        "a gzip that unpacks to one endless line", "rows.jsonl.gz", gzip.compress(b"0" * (64 << 20)), {LONG: 1}, read=1
    ),
    Case("a zstd cut in the middle", "rows.jsonl.zst", _ZST[: len(_ZST) // 2], error="Truncated compressed stream"),
    Case("a zstd with noise behind it", "rows.jsonl.zst", _ZST + b"garbage", error="ZSTD decompress failed"),
    Case("plain text called zstd", "rows.csv.zst", CSV, error="ZSTD decompress failed"),
    Case("a zstd of two frames", "rows.jsonl.zst", _ZST + _ZST, {}, read=4000),
    Case("a broken line inside gzip", "rows.jsonl.gz", gzip.compress(GOOD + b"{\n" + GOOD), {BROKEN: 1}, read=3),
    Case(
        "a broken array inside zstd", "rows.json.zst", pa.compress(b"[" + ROW, "zstd", asbytes=True), error="breaks off"
    ),
    Case(
        "a Parquet inside gzip, cut", "rows.parquet.gz", gzip.compress(_PARQUET[:-9]), error="not a readable .parquet"
    ),
    Case("a gzip of a Parquet, cut", "rows.parquet.gz", gzip.compress(_PARQUET)[:-20], error="Truncated compressed"),
]

CASES = [*LINES, *TEXTS, *JSON, *TABLES, *PARQUETS, *PACKED]
