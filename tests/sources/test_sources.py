"""Every kind of file: its rows, its faulty rows, and the files that are no such files."""

import csv
import io
import json
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.formats.row import RowError
from tasks.sources import ENDINGS, UnreadableFileError, json_lines
from tasks.sources.text import MAX_LINE_BYTES
from tests.sources.reading import Read, parquet, read, read_whole

BAD = "broken CSV"


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
        (b'{"a": ' + b"[" * 200_000 + b'\n{"a": "y"}', [(1, "nested too deeply"), (2, {"a": "y"})]),
        (b'{"a": ' + b"[" * 64 + b"]" * 64 + b"}", [(1, "nested too deeply")]),
        (b'{"a": "' + b"[" * 64 + b'"}', [(1, {"a": "[" * 64})]),
        (b'{"a": "x", "a": "y"}\n{"a": "y"}', [(1, "duplicate key"), (2, {"a": "y"})]),
        (b'{"a": [{"b": {"c": 1, "c": 1}}]}\n{"a": "y"}', [(1, "duplicate key"), (2, {"a": "y"})]),
        (b'{"a": 1, "a": 2, x\n{"a": "y"}', [(1, "broken JSON"), (2, {"a": "y"})]),
        (b'{"a": Infinity, "b": NaN}', [(1, {"a": float("inf"), "b": None})]),
        (b'{"a": "x"} {"a": "y"}', [(1, "broken JSON")]),
        (b'\xef\xbb\xbf{"a": "x"}\n\xef\xbb\xbf{"a": "y"}\n', [(1, {"a": "x"}), (2, {"a": "y"})]),
        (b"\0" * 100 + b'\n{"a": "y"}', [(1, "broken JSON"), (2, {"a": "y"})]),
        ('{"a": "é\\u2028ü"}'.encode(), [(1, {"a": "é\u2028ü"})]),
    ],
)
def test_json_lines(data: bytes, rows: Read) -> None:
    assert read("rows.jsonl", data) == rows


def test_a_line_over_the_limit_is_a_reject_and_the_rest_is_read() -> None:
    for size, cause in ((MAX_LINE_BYTES + 1, "line too long"), (3 * MAX_LINE_BYTES, "line too long")):
        line = b'{"a": "' + b"x" * (size - 9) + b'"}'
        data = b'{"a": "x"}\n' + line + b'\n{"a": "y"}\n' + line
        assert read("rows.jsonl", data) == [(1, {"a": "x"}), (2, cause), (3, {"a": "y"}), (4, cause)]
    whole = b'{"a": "' + b"x" * (MAX_LINE_BYTES - 9) + b'"}'
    ((number, row, raw),) = read_whole("rows.jsonl", whole + b"\n")
    assert (number, len(row["a"]), len(raw)) == (1, MAX_LINE_BYTES - 9, 500)


@settings(max_examples=20)
@given(
    lengths=st.lists(st.sampled_from([0, 1, 5, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20]), max_size=4),
    newline=st.sampled_from([b"\n", b"\r\n"]),
)
def test_lines_are_whole_however_blocks_fall(lengths: list[int], newline: bytes) -> None:
    rows = [{"n": number, "a": "x" * length} for number, length in enumerate(lengths)]
    data = newline.join(json.dumps(row).encode() for row in rows)
    assert read("rows.jsonl", data) == list(enumerate(rows, start=1))
    assert read("rows.json", json.dumps(rows, indent=1).encode()) == list(enumerate(rows, start=1))


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (b'[{"a": "x"}, {"a": "y"}]', [(1, {"a": "x"}), (2, {"a": "y"})]),
        (b'\xef\xbb\xbf{"version": 1, "data": [{"a": "x"}]}', [(1, {"a": "x"})]),
        (b"[]", []),
        (b'[{"a": "x"}, 3, [1], null, "text"]', [(1, {"a": "x"}), *((n, "not an object") for n in range(2, 6))]),
        (b' \n [ {"a": "x"} , {"a": "y"} ] \n', [(1, {"a": "x"}), (2, {"a": "y"})]),
        (b'[{"a": "x", "a": "y"}, {"a": NaN}]', [(1, "duplicate key"), (2, {"a": None})]),
        (b'[{"a": "\xff"}, {"a": "y"}]', [(1, "not UTF-8"), (2, {"a": "y"})]),
        (b'[{"a": ' + b"[" * 99 + b"]" * 99 + b'}, {"a": "y"}]', [(1, "nested too deeply"), (2, {"a": "y"})]),
        (b'{"a": "x"}\n{"a": "y"}\n[\n{', [(1, {"a": "x"}), (2, {"a": "y"}), (3, "broken JSON"), (4, "broken JSON")]),
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
        (b"q,a\nx,\xff\ny,z\n", [(1, "not UTF-8"), (2, {"q": "y", "a": "z"})]),
        (b"q,a\nx,\0\ny,z\n", [(1, "NUL byte"), (2, {"q": "y", "a": "z"})]),
        (b"q;a\nx;y, z\n", [(1, {"q": "x", "a": "y, z"})]),
        (b"q\ta\nx\ty, z; w\n", [(1, {"q": "x", "a": "y, z; w"})]),
        (b" q , a ,,\nx,y,,\n", [(1, {"q": "x", "a": "y"})]),
        (b'q,a\nhe said "hi",y\n', [(1, {"q": 'he said "hi"', "a": "y"})]),
        (b'q,a\n"x"z,y\nv,w\n', [(1, BAD), (2, {"q": "v", "a": "w"})]),
        (b'q,a\n"x,y\nv,w\ns,t', [(1, BAD), (2, {"q": "v", "a": "w"}), (3, {"q": "s", "a": "t"})]),
        (b'q,a\n"x,y\nv,"w\nu"\n', [(1, BAD), (2, {"q": "v", "a": "w\nu"})]),
        (b'q,a\n"if ""x"":\n say "hi"\n end",y\nv,w\n', [(1, BAD), (2, BAD), (3, BAD), (4, {"q": "v", "a": "w"})]),
        (b"q,a\nx\ry,z\nv,w\n", [(1, BAD), (2, {"q": "v", "a": "w"})]),
        (b"q,a\n", []),
        (b"", []),
    ],
)
def test_csv(data: bytes, rows: Read) -> None:
    assert read("rows.csv", data) == rows


_FIELDS = st.text(alphabet='a",\n ;\té', min_size=1, max_size=8) | st.just("line\r\nline")


@given(
    rows=st.lists(st.tuples(_FIELDS, _FIELDS), max_size=6),
    newline=st.sampled_from(["\n", "\r\n"]),
    delimiter=st.sampled_from(",;\t"),
)
def test_csv_that_is_written_well_is_read_as_it_was_meant(
    rows: list[tuple[str, str]], newline: str, delimiter: str
) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=newline, delimiter=delimiter).writerows([("q", "a"), *rows])
    expected = [{"q": question, "a": answer} for question, answer in rows]
    assert [row for _, row in read("rows.csv", text.getvalue().encode())] == expected


@given(quoted=st.lists(st.booleans(), min_size=2, max_size=8), line=st.integers(0, 7), place=st.integers(0, 30))
def test_a_stray_quote_costs_no_row_but_its_own(quoted: list[bool], line: int, place: int) -> None:
    rows = [{"q": f"t{number} x", "a": f"w{number}"} for number in range(len(quoted))]
    lines = [
        f'"{row["q"]}","{row["a"]}"' if q else f"{row['q']},{row['a']}" for q, row in zip(quoted, rows, strict=True)
    ]
    line, place = line % len(rows), place % len(lines[line % len(rows)])
    lines[line] = lines[line][:place] + '"' + lines[line][place:]
    found = read("rows.csv", "\n".join(["q,a", *lines]).encode())
    assert [number for number, _ in found] == list(range(1, len(rows) + 1))
    assert [row for number, row in found if number != line + 1] == rows[:line] + rows[line + 1 :]


@given(st.lists(st.binary(max_size=40).filter(lambda line: b"\n" not in line), min_size=1, max_size=9))
def test_every_line_that_is_not_blank_is_a_row_or_a_reject(lines: list[bytes]) -> None:
    data = b"{}\n" + b"\n".join(lines)
    filled = [number for number, line in enumerate(data.split(b"\n"), start=1) if line.strip()]
    assert [number for number, _ in read("rows.jsonl", data)] == filled


def test_tsv_is_cut_at_tabs_only() -> None:
    assert read("rows.tsv", b"q, if any\ta\nx, y\tz\n") == [(1, {"q, if any": "x, y", "a": "z"})]


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
        ("a.json", b"[1, 2", "breaks off"),
        ("a.json", b"[" * 200_000, "nested too deeply"),
        ("a.json", b"[" + b"9" * 5000 + b"]", "digits"),
        ("a.json", b"", "it is empty"),
        ("a.csv", b'"q,a\nx,y\n', "the header"),
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


@pytest.mark.parametrize("ending", sorted(ENDINGS))
@given(data=st.binary(max_size=400) | st.text(alphabet='{}[]",:\\ \n\ra1.-eu', max_size=200).map(str.encode))
def test_whatever_the_bytes_rows_come_out_or_the_file_is_unreadable(ending: str, data: bytes) -> None:
    with suppress(UnreadableFileError):
        read(f"x{ending}", data)


@given(cut=st.integers(0, 2000), flips=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=3))
def test_a_damaged_parquet_is_read_or_refused(cut: int, flips: list[tuple[int, int]]) -> None:
    whole = bytearray(_WHOLE)
    for place, byte in flips:
        whole[place % len(whole)] = byte
    with suppress(UnreadableFileError):
        read("x.parquet", bytes(whole[: len(whole) - cut % len(whole)] if cut else whole))


_WHOLE = parquet(pa.table({"q": ["What?", "Who?"], "a": ["This.", None]}))


def test_a_broken_line_is_described_once() -> None:
    ((_, fault, _),) = json_lines.read(iter([b'{"a": "x']))
    assert isinstance(fault, RowError)
    assert fault.detail == "Unterminated string starting at character 7"
