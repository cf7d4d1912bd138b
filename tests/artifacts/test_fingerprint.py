"""Identity: one spelling for a value, and a refusal for every value that has none."""

import json
import os
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.artifacts.fingerprint import UnstableValueError, canonical, digest, digest_file
from tasks.artifacts.manifest import Counts, Identity, Manifest, content_of
from tests.artifacts.samples import finished, identity, start


class Method(StrEnum):
    LORA = "lora"


UNSTABLE: dict[str, tuple[Any, str]] = {
    "set": ({"a": [{1, 2}]}, r"value\.a\[0\] .*set"),
    "path": ({"file": Path("x")}, r"value\.file .*PosixPath"),
    "date": ([datetime(2026, 1, 1, tzinfo=UTC)], r"value\[0\] .*datetime"),
    "nan": ({"loss": float("nan")}, r"value\.loss is nan"),
    "infinity": ((1.0, float("-inf")), r"value\[1\] is -inf"),
    "bytes": ({"raw": b"x"}, r"value\.raw .*bytes"),
    "key": ({"deep": {1: "x"}}, r"value\.deep has the key 1 of type int"),
    "object": ({"o": object()}, r"value\.o .*object"),
    "enum": ({"method": Method.LORA}, r"value\.method .*Method"),
    "surrogate": (["\ud800"], r"value\[0\] .*Unicode"),
    "surrogate key": ({"\udfff": 1}, r"value .*Unicode"),
}

LEAVES: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
PLAIN = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("name", UNSTABLE)
def test_value_without_one_spelling_is_refused_with_its_place(name: str) -> None:
    value, words = UNSTABLE[name]
    with pytest.raises(UnstableValueError, match=words):
        canonical(value)


def test_values_that_python_takes_for_equal_have_digests_of_their_own() -> None:
    values: list[Any] = [1, 1.0, True, "1", [1], None, {}, []]
    assert len({digest(value) for value in values}) == len(values)


def test_order_of_keys_and_kind_of_sequence_do_not_count() -> None:
    assert digest({"b": (1, 2), "a": None}) == digest({"a": None, "b": [1, 2]})
    assert digest([1, 2]) != digest([2, 1])


def test_digest_is_the_same_in_other_processes() -> None:
    code = (
        "from tasks.artifacts.fingerprint import digest\n"
        "print(digest({k: [1, 0.1, 1e22, 'ä', None, True] for k in ('x', 'b', 'ñ')}))"
    )
    expected = digest({k: [1, 0.1, 1e22, "ä", None, True] for k in ("ñ", "x", "b")})
    started = [start(code, environment={**os.environ, "PYTHONHASHSEED": seed}) for seed in ("1", "77")]
    assert finished(started) == [expected, expected]


def test_encoding_is_pinned() -> None:
    """A change here would make every stored artifact unfindable."""
    assert canonical({"b": [1.0, True], "a": "é"}) == '{"a":"é","b":[1.0,true]}'.encode()
    assert identity(min_tokens=3).fingerprint == ("27ec327cf6e49306e6e6373be549321a3ad76b42ad110bd4dcf0aa162765d4ed")


@given(PLAIN)
def test_encoding_survives_being_read_back(value: Any) -> None:
    assert canonical(json.loads(canonical(value))) == canonical(value)


@given(st.dictionaries(st.text(), PLAIN, max_size=4))
def test_identity_keeps_its_fingerprint_through_a_stored_manifest(config: dict[str, Any]) -> None:
    made = Identity(stage="curation", version=2, config=config, parents=())
    manifest = Manifest(
        identity=made,
        fingerprint=made.fingerprint,
        content=content_of({}, {}),
        attempt="attempt-1",
        counts=Counts(read=0, kept=0),
        facts={"loss": float("inf"), "seen": {7: 1}},
    )
    assert Manifest.load(manifest.dump()).identity.fingerprint == made.fingerprint


def test_file_digest_is_that_of_its_bytes(tmp_path: Path) -> None:
    import hashlib

    data = bytes(range(256)) * 9000
    (tmp_path / "x").write_bytes(data)
    assert digest_file(tmp_path / "x") == hashlib.sha256(data).hexdigest()
