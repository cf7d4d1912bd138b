"""Every kind of file: its rows, its faulty rows, and the files that are no such files."""

import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.formats.row import RowError
from tasks.sources import READERS, UnreadableFileError, read_rows

Read = list[tuple[int, Any]]


def read(name: str, data: bytes) -> Read:
    """Rows by number; a faulty row as its cause."""
    return [(number, row.cause if isinstance(row, RowError) else dict(row)) for number, row, _ in read_rows(name, data)]


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (b'{"a": "x"}\n{"a": "y"}\n', [(1, {"a": "x"}), (2, {"a": "y"})]),
        (b'{"a": "x"}', [(1, {"a": "x"})]),
        (b'\xef\xbb\xbf{"a": "x"}\r\n{"a": "y"}\r\n', [(1, {"a": "x"}), (2, {"a": "y"})]),
        (b'\n\n{"a": "x"}\n   \n{"a": "y"}\n\n', [(3, {"a": "x"}), (5, {"a": "y"})]),
        (b"", []),
        (b"\n \r\n", []),
        (b'{"a": "x"\n{"a": "y"}', [(1, "broken JSON"), (2, {"a": "y"})]),
        (b'{"a": "\xff"}\n{"a": "y"}', [(1, "not UTF-8"), (2, {"a": "y"})]),
        (b'[]\n"text"\n7\nnull\ntrue', [(n, "not an object") for n in range(1, 6)]),
        (b'{"a": ' + b"9" * 5000 + b'}\n{"a": "y"}', [(1, "broken JSON"), (2, {"a": "y"})]),
        (b'{"a": ' + b"[" * 200_000 + b'\n{"a": "y"}', [(1, "broken JSON"), (2, {"a": "y"})]),
        (b'{"a": "x", "a": "y"}', [(1, {"a": "y"})]),
        (b'{"a": Infinity}', [(1, {"a": float("inf")})]),
        ('{"a": "é\\u2028ü"}'.encode(), [(1, {"a": "é\u2028ü"})]),
    ],
)
def test_json_lines(data: bytes, rows: Read) -> None:
    assert read("rows.jsonl", data) == rows


def test_a_line_of_ten_megabytes_is_a_row_like_any_other() -> None:
    line = json.dumps({"a": "x" * 10_000_000}).encode()
    number, row, raw = next(read_rows("rows.jsonl", line))
    assert (number, len(row["a"]), len(raw)) == (1, 10_000_000, 500)  # type: ignore[index] # no RowError


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (b'[{"a": "x"}, {"a": "y"}]', [(1, {"a": "x"}), (2, {"a": "y"})]),
        (b'\xef\xbb\xbf{"version": 1, "data": [{"a": "x"}]}', [(1, {"a": "x"})]),
        (b"[]", []),
        (b'[{"a": "x"}, 3, [1], null, "text"]', [(1, {"a": "x"}), *((n, "not an object") for n in range(2, 6))]),
    ],
)
def test_json_array(data: bytes, rows: Read) -> None:
    assert read("rows.json", data) == rows


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (b"q,a\nx,y\n", [(1, {"q": "x", "a": "y"})]),
        (b"\xef\xbb\xbfq,a\r\nx,y\r\n", [(1, {"q": "x", "a": "y"})]),
        (b'q,a\n"x\ny","say ""hi"", then"\n', [(1, {"q": "x\ny", "a": 'say "hi", then'})]),
        (b"q,a\n\nx,y\n\n\nz,w\n", [(1, {"q": "x", "a": "y"}), (2, {"q": "z", "a": "w"})]),
        (b"q,a\nx,\n", [(1, {"q": "x"})]),
        (b"q,a\nx\nx,y,z\n", [(1, "wrong number of fields"), (2, "wrong number of fields")]),
        (b"q,a\nx,\xff\n", [(1, {"q": "x", "a": "\udcff"})]),
        (b"q,a\n", []),
        (b"", []),
    ],
)
def test_csv(data: bytes, rows: Read) -> None:
    assert read("rows.csv", data) == rows


def test_parquet_numbers_rows_across_row_groups_and_keeps_nested_fields() -> None:
    messages = [[{"role": "user", "content": str(number)}] for number in range(5)]
    sink = io.BytesIO()
    pq.write_table(pa.table({"messages": messages}), sink, row_group_size=2)
    assert read("rows.PARQUET", sink.getvalue()) == [(n, {"messages": m}) for n, m in enumerate(messages, 1)]


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.json", b'{"a": "x"}', "expected an array of rows"),
        ("a.json", b'{"a": [], "b": []}', "exactly one"),
        ("a.json", b"[1, 2", "Expecting"),
        ("a.json", b"[" * 200_000, "recursion"),
        ("a.json", b"[" + b"9" * 5000 + b"]", "digits"),
        ("a.json", b'["\xff"]', "decode"),
        ("a.json", b"", "Expecting value"),
        ("a.csv", b'q,a\n"x,y\n', "line"),
        ("a.csv", b'q,a\n"x"z,y\n', "line 2"),
        ("a.csv", b"a,a\nx,y\n", "two columns are called 'a'"),
        ("a.parquet", b"PAR1 and then nothing", "Parquet"),
        ("a.parquet", b"", "Parquet"),
        ("a.parquet", parquet(pa.table({"a": ["x"] * 1000}))[:-20], "Parquet"),
        ("a.parquet", parquet(pa.table([pa.array(["x"]), pa.array(["y"])], ["a", "a"])), "two columns are called 'a'"),
        ("a.txt", b"hello", "no reader for .txt"),
        ("a", b"hello", "no reader for a name without ending"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_reason(name: str, data: bytes, says: str) -> None:
    with pytest.raises(UnreadableFileError, match=says) as caught:
        read(name, data)
    assert str(caught.value).startswith(f"{name}: ")


@pytest.mark.parametrize("kind", sorted(READERS))
@given(data=st.binary(max_size=400) | st.text(alphabet='{}[]",:\\ \n\ra1.-eu', max_size=200).map(str.encode))
def test_whatever_the_bytes_rows_come_out_or_the_file_is_unreadable(kind: str, data: bytes) -> None:
    try:
        for number, row, raw in read_rows(f"x{kind}", data):
            assert number >= 1
            assert len(raw) <= 500
            raw.encode()
            assert isinstance(row, RowError) or row.keys() is not None
    except UnreadableFileError:
        return


@given(cut=st.integers(0, 2000), flips=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=3))
def test_a_damaged_parquet_is_read_or_refused(cut: int, flips: list[tuple[int, int]]) -> None:
    whole = bytearray(_WHOLE)
    for place, byte in flips:
        whole[place % len(whole)] = byte
    try:
        read("x.parquet", bytes(whole[: len(whole) - cut % len(whole)] if cut else whole))
    except UnreadableFileError:
        return


_WHOLE = parquet(pa.table({"q": ["What?", "Who?"], "a": ["This.", None]}))
