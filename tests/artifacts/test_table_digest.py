"""A table's content is its rows: neither how they came nor how they are stored changes it."""

import io
import itertools
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.artifacts import fingerprint
from tasks.artifacts import store as store_module
from tasks.artifacts.fingerprint import TableDigest
from tasks.artifacts.manifest import Counts
from tasks.artifacts.store import Store
from tests.artifacts.samples import identity, make, rows

BATCH = 8
TOTAL = 5 * BATCH + 3


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for module in (fingerprint, store_module):
        monkeypatch.setattr(module, "ROWS_PER_DIGEST_BATCH", BATCH)
    monkeypatch.setattr(store_module, "ROWS_PER_PART", 2 * BATCH)
    return monkeypatch


def content(table: pa.Table) -> str:
    digest = TableDigest()
    digest.update(table)
    return digest.hexdigest()


def write(store: Store, pieces: list[pa.Table], name: str) -> tuple[str, int]:
    """The content of a table appended in pieces, and how many parts it took."""
    with store.attempt(identity(name=name)) as attempt:
        for piece in pieces:
            attempt.write("t", piece)
        attempt.counts = Counts(read=0, kept=0)
        artifact = attempt.commit({})
    assert store.table(artifact, "t").equals(pa.concat_tables(pieces))
    return artifact.tables["t"].content, len(store.manifest(artifact).parts["t"])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, TOTAL), max_size=8), rows_per_part=st.sampled_from([BATCH, 2 * BATCH, 64 * BATCH]))
def test_equal_rows_have_equal_content_however_they_came(
    cuts: list[int], rows_per_part: int, small_batches: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    small_batches.setattr(store_module, "ROWS_PER_PART", rows_per_part)
    whole, places = rows(TOTAL), sorted({0, TOTAL, *cuts})
    pieces = [whole.slice(start, end - start) for start, end in itertools.pairwise(places)]
    store = Store(str(tmp_path))
    store.probe()
    name = f"{places} {rows_per_part}"
    found = store.find(identity(name=name).address)
    got = found.tables["t"].content if found else write(store, pieces, name)[0]
    assert got == content(whole_as_stored(whole))


def whole_as_stored(table: pa.Table) -> pa.Table:
    sink = io.BytesIO()
    pq.write_table(table, sink, store_schema=False)
    return pq.read_table(io.BytesIO(sink.getvalue()))


def test_parts_closed_for_their_bytes_do_not_show_in_the_content(
    small_batches: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store = Store(str(tmp_path))
    store.probe()
    whole = rows(TOTAL)
    few = write(store, [whole], "few")
    small_batches.setattr(store_module, "BYTES_PER_PART", 100)
    many = write(store, [whole.slice(n, 1) for n in range(TOTAL)], "many")
    assert few == (many[0], 3)
    assert many[1] == 6


CHANGES: dict[str, pa.Table] = {
    "a value": pa.table({"a": pa.array([1, 2, 4]), "b": ["x", "y", "z"]}),
    "the order": pa.table({"a": pa.array([2, 1, 3]), "b": ["y", "x", "z"]}),
    "a type": pa.table({"a": pa.array([1, 2, 3], pa.int32()), "b": ["x", "y", "z"]}),
    "a null": pa.table({"a": pa.array([1, 2, None]), "b": ["x", "y", "z"]}),
    "a name": pa.table({"c": pa.array([1, 2, 3]), "b": ["x", "y", "z"]}),
    "columns' order": pa.table({"b": ["x", "y", "z"], "a": pa.array([1, 2, 3])}),
    "where texts end": pa.table({"a": pa.array([1, 2, 3]), "b": ["xy", "", "z"]}),
    "a row less": pa.table({"a": pa.array([1, 2]), "b": ["x", "y"]}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_content_differs_when_this_changes(change: str) -> None:
    assert content(CHANGES[change]) != content(pa.table({"a": pa.array([1, 2, 3]), "b": ["x", "y", "z"]}))


def test_empty_tables_of_different_columns_differ() -> None:
    assert content(pa.table({"a": pa.array([], pa.int32())})) != content(pa.table({"a": pa.array([], pa.string())}))


NESTED: list[Any] = [{"role": "user", "parts": ["a", None, ""]}, None, {"role": None, "parts": []}, {"role": "x"}]


def test_leftovers_under_nulls_and_beside_slices_do_not_show() -> None:
    kind = pa.struct([("role", pa.string()), ("parts", pa.list_(pa.string()))])
    plain = pa.array(NESTED, kind)
    hidden = pa.StructArray.from_arrays(
        [pa.array(["user", "leftover", None, "x"]), pa.array([["a", None, ""], ["left"], [], None])],
        fields=list(kind),
        mask=pa.array([False, True, False, False]),
    )
    surrounded = pa.concat_arrays([plain, plain, plain]).slice(4, 4)
    assert content(pa.table({"m": plain})) == content(pa.table({"m": hidden}))
    assert content(pa.table({"m": plain})) == content(pa.table({"m": surrounded}))


@pytest.mark.parametrize(
    "column", [pa.array(["a"]).dictionary_encode(), pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int32()))]
)
def test_type_that_has_more_than_one_spelling_is_refused(column: pa.Array) -> None:
    with pytest.raises(TypeError, match=r"has no one spelling; use text"):
        content(pa.table({"c": column}))


def test_content_is_pinned() -> None:
    """A change here would make every stored parent another one, and every heir be computed again."""
    assert content(rows(10)) == "7d92d6dc2bc7a49eec938293610071592912c3ef7de89f7ae7340b928f8a1988"


def test_rows_after_a_batch_that_was_not_full_are_refused() -> None:
    digest = TableDigest()
    digest.update(rows(3))
    with pytest.raises(ValueError, match="not full"):
        digest.update(rows(3))


def test_table_that_changes_its_columns_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="now gets"), store.attempt(identity()) as attempt:  # noqa: PT012
        attempt.write("t", pa.table({"a": [1]}))
        attempt.write("t", pa.table({"b": [1]}))
    assert not [path for path in store.files.sizes("") if "attempt-" in path]


def test_folder_and_object_store_give_one_identity(bucket: str, tmp_path: Path) -> None:
    manifests = []
    for uri in (str(tmp_path / "store"), f"{bucket}/store"):
        opened = Store(uri)
        opened.probe()
        parent = make(opened, files={"a/b.txt": b"1"})
        heir = make(opened, identity("mixing", {"data": parent}))
        manifests.append((opened.manifest(parent).content, heir.fingerprint, heir.address, heir.tables))
    assert manifests[0] == manifests[1]
