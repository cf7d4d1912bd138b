"""Kept answers: found again by everybody with the same model, and by nobody else."""

import pyarrow as pa
import pytest

from tasks.artifacts.answer_book import AnswerBook
from tasks.artifacts.fingerprint import digest
from tasks.artifacts.store import Store
from tests.artifacts.samples import finished, start
from tests.servers.objectstore import ObjectStore

KEY, OTHER = digest({"weights": "base"}), digest({"weights": "tuned"})


def answers(*keys: str, value: float = -1.5) -> pa.Table:
    return pa.table(
        {"key": list(keys), "loglikelihoods": [[value, -2.0]] * len(keys), "text": [f"of {k}" for k in keys]}
    )


def row(key: str) -> dict[str, object]:
    return {"loglikelihoods": [-1.5, -2.0], "text": f"of {key}"}


def parts(store: Store, key: str = KEY) -> list[str]:
    return sorted(store.files.sizes(f"answers/{key}"))


@pytest.fixture
def warnings() -> list[str]:
    return []


def test_what_was_answered_is_found_again(store: Store, warnings: list[str]) -> None:
    book = AnswerBook(store, KEY, warnings.append)
    assert book.known(["a"]) == {}
    book.add(answers("a", "b"))
    book.add(answers("c"))
    book.add(answers())
    again = AnswerBook(Store(store.uri), KEY, warnings.append)
    assert again.known(["c", "a", "unasked"]) == {"a": row("a"), "c": row("c")}
    assert len(parts(store)) == 2
    assert warnings == []
    assert store.addresses() == []


def test_another_model_never_meets_these_answers(store: Store, warnings: list[str]) -> None:
    AnswerBook(store, KEY).add(answers("a"))
    book = AnswerBook(store, OTHER, warnings.append)
    assert book.known(["a"]) == {}
    book.add(answers("a", value=-9.0))
    assert AnswerBook(store, KEY, warnings.append).known(["a"]) == {"a": row("a")}


def test_damaged_and_torn_parts_are_passed_over_and_counted(store: Store, warnings: list[str]) -> None:
    book = AnswerBook(store, KEY, warnings.append)
    for key in ("a", "b", "c"):
        book.add(answers(key))
    held = {key: path for path in parts(store) for key in "abc" if f"of {key}".encode() in store.files.read(path)}  # type: ignore[operator]
    for key in "ab":
        data = store.files.read(held[key])
        assert data is not None
        store.files.replace(held[key], data[: len(data) // 2] if key == "a" else data.replace(b"of b", b"of x"))
    store.files.write(f"answers/{KEY}/.draft.parquet", b"half")
    assert book.known(["a", "b", "c"]) == {"c": row("c")}
    assert len(warnings) == 1
    assert warnings[0].startswith(f"2 parts of the answers in answers/{KEY} are damaged and passed over")
    book.add(answers("a"))
    book.add(answers("b"))
    assert book.known(["a", "b", "c"]) == {key: row(key) for key in "abc"}
    assert len(warnings) == 1


def test_two_writers_at_once_lose_nothing(store: Store, object_store: ObjectStore, warnings: list[str]) -> None:
    code = """
import sys
import pyarrow as pa
from tasks.artifacts.answer_book import AnswerBook
from tasks.artifacts.store import Store
uri, key, name = sys.argv[1:]
book = AnswerBook(Store(uri), key)
sys.stdin.readline()
for number in range(20):
    book.add(pa.table({"key": [f"{name} {number}", f"both {number}"], "text": ["x", "y"]}))
"""
    environment = {"PATH": "/usr/bin:/bin", **object_store.environment}
    writers = [start(code, store.uri, KEY, name, environment=environment) for name in ("left", "right")]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    finished(writers)
    keys = [f"{name} {number}" for name in ("left", "right", "both") for number in range(20)]
    assert AnswerBook(store, KEY, warnings.append).known(keys).keys() == set(keys)
    assert warnings == []
