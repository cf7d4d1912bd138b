"""The same rows wherever a file lies and however it is packed, in memory that does not grow with it."""

import gzip
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import s3fs

from tasks.artifacts.errors import StoreError
from tasks.artifacts.resource import ResourceError, read_resource
from tasks.sources import ENDINGS, UnreadableFileError, read_rows
from tests.servers.faults import FaultProxy
from tests.sources.reading import json_lines, parquet

ROWS = [{"q": f"What is {number}, then?", "a": f"It is\n{number * 7}."} for number in range(3000)]
CSV = "q,a\n" + "".join(f'"{row["q"]}","{row["a"]}"\n' for row in ROWS)
KINDS = {
    ".jsonl": json_lines(*ROWS),
    ".ndjson": json_lines(*ROWS),
    ".json": json.dumps(ROWS).encode(),
    ".csv": CSV.encode(),
    ".tsv": CSV.replace('","', '"\t"').replace("q,a", "q\ta").encode(),
    ".parquet": parquet(pa.Table.from_pylist(ROWS), row_group_size=700),
}
PACKINGS = {"": bytes, ".gz": gzip.compress, ".zst": lambda data: pa.compress(data, "zstd", asbytes=True)}


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for kind, data in KINDS.items():
        for packing, pack in PACKINGS.items():
            (folder / f"x{kind}{packing}").write_bytes(pack(data))
    return folder


def test_rows_are_the_same_in_every_kind_packing_and_place(packed: Path, bucket: str) -> None:
    s3fs.S3FileSystem().put(f"{packed}/", f"{bucket}/packed/", recursive=True)
    for place in (str(packed), f"{bucket}/packed"):
        resource = read_resource(place)
        assert {name.removeprefix("x") for name in resource.files} == set(ENDINGS)
        for name in resource.files:
            assert [row for _, row, _ in read_rows(resource, name)] == ROWS, name


@pytest.mark.parametrize("pattern", ["*.jsonl.gz", "**/*.zst", "x.csv*", "*"])
def test_globs_choose_packed_files(packed: Path, bucket: str, pattern: str) -> None:
    s3fs.S3FileSystem().put(f"{packed}/", f"{bucket}/{packed.parent.name}/", recursive=True)
    here, there = (read_resource(f"{place}/{pattern}") for place in (packed, f"{bucket}/{packed.parent.name}"))
    assert here.content == there.content
    assert here.files


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz", "x.parquet", "x.parquet.zst"])
def test_a_file_that_changes_or_goes_is_told_from_one_that_is_broken(packed: Path, name: str) -> None:
    resource = read_resource(str(packed))
    whole = (packed / name).read_bytes()
    for other in (whole[:-30], whole + b"more", b""):
        (packed / name).write_bytes(other)
        with pytest.raises(ResourceError, match="changed while the run was under way; run again"):
            list(read_rows(resource, name))
        if name == "x.jsonl":
            continue
        if other:
            with pytest.raises(UnreadableFileError, match=rf"{name}: not a readable"):
                list(read_rows(read_resource(str(packed)), name))
    (packed / name).unlink()
    with pytest.raises(ResourceError, match="cannot read"):
        list(read_rows(resource, name))


@pytest.mark.parametrize("name", ["x.jsonl.gz", "x.parquet"])
def test_a_store_that_goes_away_is_no_fault_of_the_file(
    packed: Path, bucket: str, fault_proxy: FaultProxy, name: str
) -> None:
    s3fs.S3FileSystem().put_file(str(packed / name), f"{bucket}/away/{name}")
    resource = read_resource(f"{bucket}/away/{name}")
    fault_proxy.mode = "drop"
    with pytest.raises(StoreError, match=name) as caught:
        list(read_rows(resource, name))
    assert caught.value.transient


def test_a_reader_that_is_left_early_lets_go_of_the_file(packed: Path) -> None:
    for name in ("x.jsonl", "x.csv.gz", "x.parquet", "x.json.zst"):
        rows = read_rows(read_resource(str(packed)), name)
        assert isinstance(rows, Iterator)
        assert next(rows)[1] == ROWS[0]
        rows.close()  # type: ignore[attr-defined] # a generator


def large(kind: str, count: int) -> bytes:
    """A file of rows of 2 kB."""
    rows = [{"q": str(number), "a": "x" * 2000} for number in range(count)]
    if kind == ".parquet":
        return parquet(pa.Table.from_pylist(rows), use_dictionary=False, compression="none")
    if kind == ".csv":
        return b"q,a\n" + b"".join(f"{row['q']},{row['a']}\n".encode() for row in rows)
    return json_lines(*rows) if kind == ".jsonl" else json.dumps(rows).encode()


def peak_bytes(path: Path) -> int:
    """The most that is held while a file is read, by Python and by Arrow."""
    resource = read_resource(str(path))
    before, arrow = pa.total_allocated_bytes(), 0
    tracemalloc.start()
    for number, _, _ in read_rows(resource, path.name):
        if number % 100 == 0:
            arrow = max(arrow, pa.total_allocated_bytes() - before)
    python = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return python + arrow


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz", ".json", ".csv", ".parquet"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, ending: str) -> None:
    kind = ending.removesuffix(".gz")
    pack = PACKINGS[ending.removeprefix(kind)]
    peaks = []
    for count in (8_000, 16_000):
        path = tmp_path / f"{count}{ending}"
        path.write_bytes(pack(large(kind, count)))
        peaks.append(peak_bytes(path))
    # The second file is 16 MB longer; what is held is some blocks of 1 MiB, or a batch of rows.
    assert peaks[1] < peaks[0] + (4 << 20)
