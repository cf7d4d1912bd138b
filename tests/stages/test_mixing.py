"""Mix: shares reached, repetition reported, and what cannot be had refused."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.artifacts.resource import Resource
from tasks.artifacts.store import Store
from tasks.curation import curate
from tasks.deduplication import DeduplicationConfig, deduplicate
from tasks.filters import CurationConfig
from tasks.filters.length import Length
from tasks.ingestion import IngestionConfig, Role, ingest
from tasks.mixing import ImpossibleMixtureError, MixingConfig, choose_copies, mix
from tests.stages.making import pair, source


def rows(tokens: int = 10, **roles: int) -> list[dict[str, Any]]:
    return [{"id": f"{role}{n}", "role": role, "answer_tokens": tokens} for role, k in roles.items() for n in range(k)]


def shown(config: MixingConfig, given: list[dict[str, Any]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for row, copies in zip(given, choose_copies(config, given), strict=True):
        found[row["role"]] = found.get(row["role"], 0) + copies
    return found


@pytest.mark.parametrize(
    ("config", "roles", "expected"),
    [
        (
            {},
            {"general": 350, "domain": 300, "code": 200, "safety": 150},
            {"general": 350, "domain": 300, "code": 200, "safety": 150},
        ),
        ({}, {"domain": 7}, {"domain": 7}),
        ({"total": 100}, {"general": 500, "domain": 40}, {"general": 54, "domain": 46}),
        (
            {"shares": {"general": 0.5, "code": 0.5}, "total": 100},
            {"general": 500, "code": 20},
            {"general": 50, "code": 50},
        ),
        ({"shares": {"general": 1.0, "code": 0.0}}, {"general": 5}, {"general": 5}),
        ({"shares": {"general": 1.0, "code": 0.0}, "total": 5}, {"general": 5, "code": 5}, {"general": 5, "code": 0}),
        (
            {"shares": {"general": 0.999, "code": 0.001}, "total": 10},
            {"general": 50, "code": 5},
            {"general": 10, "code": 0},
        ),
    ],
)
def test_shares_are_reached(config: dict[str, Any], roles: dict[str, int], expected: dict[str, int]) -> None:
    assert shown(MixingConfig(**config), rows(**roles)) == expected


@given(
    counts=st.dictionaries(st.sampled_from(["general", "domain", "code", "safety"]), st.integers(50, 120), min_size=1),
    total=st.integers(1, 150),
    seed=st.integers(0, 3),
)
def test_any_total_that_can_be_had_is_had_and_no_row_is_shown_twice_more_than_another(
    counts: dict[str, int], total: int, seed: int
) -> None:
    made = rows(**counts)
    copies = choose_copies(MixingConfig(total=total, seed=seed), made)
    assert abs(sum(copies) - total) <= len(counts)
    for role in counts:
        of_role = [copy for row, copy in zip(made, copies, strict=True) if row["role"] == role]
        assert max(of_role) - min(of_role) <= 1


def test_shares_by_tokens() -> None:
    made = [*rows(tokens=100, general=50), *rows(tokens=10, code=500)]
    config = MixingConfig(shares={"general": 0.5, "code": 0.5}, by="tokens", total=4000)
    found = shown(config, made)
    assert (found["general"] * 100, found["code"] * 10) == (2000, 2000)


def test_the_seed_decides_who_is_taken_and_the_order_of_rows_does_not() -> None:
    made = rows(general=100)
    config = MixingConfig(total=30)
    taken = {row["id"] for row, copies in zip(made, choose_copies(config, made), strict=True) if copies}
    backwards = made[::-1]
    assert taken == {r["id"] for r, c in zip(backwards, choose_copies(config, backwards), strict=True) if c}
    other = choose_copies(MixingConfig(total=30, seed=1), made)
    assert taken != {row["id"] for row, copies in zip(made, other, strict=True) if copies}


@pytest.mark.parametrize(
    ("config", "roles", "says"),
    [
        ({"shares": {"general": 0.5, "safety": 0.5}}, {"general": 5}, "asks for safety, but no row has that role"),
        (
            {"total": 100},
            {"general": 10, "domain": 100},
            r"'general' has 10 rows .* asks for 54, 5.4 copies of each where at most 4",
        ),
        ({}, {}, "no row is left to train on"),
    ],
)
def test_what_cannot_be_had_is_refused(config: dict[str, Any], roles: dict[str, int], says: str) -> None:
    with pytest.raises(ImpossibleMixtureError, match=says):
        choose_copies(MixingConfig(**config), rows(**roles))


def test_shares_that_are_no_shares_are_refused() -> None:
    for shares, says in (({"general": 0.5}, "add up to 0.5"), ({"general": 1.5, "code": -0.5}, "must be ≥ 0")):
        with pytest.raises(ValidationError, match=says):
            MixingConfig.model_validate({"shares": shares})


def test_rows_are_conserved_and_repetition_is_reported(tmp_path: Path, store: Store, tokenizer: Resource) -> None:
    counts: dict[str, tuple[Role, int]] = {"a": ("general", 60), "b": ("general", 20), "c": ("code", 10)}
    sources = [
        source(tmp_path / f"{name}.jsonl", [pair(f"{name}{n} is what?", f"It is {name} {n}.") for n in range(k)], role)
        for name, (role, k) in counts.items()
    ]
    lenient = CurationConfig(length=Length(prompt_tokens=(0, 99), answer_tokens=(0, 99)))
    ingested = ingest(store, IngestionConfig(heldout_fraction=0.1), sources)
    deduplicated = deduplicate(store, DeduplicationConfig(), curate(store, lenient, ingested, tokenizer), [])
    config = MixingConfig(shares={"general": 0.5, "code": 0.5}, total=40)
    made = mix(store, config, deduplicated)
    assert made.counts.read == deduplicated.counts.kept == made.counts.kept + sum(made.counts.dropped.values())
    heldout = sum(row["split"] == "heldout" for row in store.rows(deduplicated, "conversations"))
    assert made.tables["heldout"].rows == heldout > 0
    mixture = list(store.rows(made, "mixture"))
    assert all(row["split"] == "train" and row["copies"] >= 1 for row in mixture)
    shares = {row["source"]: row for row in store.manifest(made).facts["shares"]}
    code = sum(row["source"] == "c" for row in mixture)
    assert shares["c"] == {
        "source": "c",
        "role": "code",
        "rows": code,
        "shown": 20,
        "copies": round(20 / code, 3),
        "tokens": sum(row["copies"] * row["answer_tokens"] for row in mixture if row["source"] == "c"),
        "requested": 0.5,
        "achieved": 0.5,
    }
    assert shares["a"]["shown"] + shares["b"]["shown"] == 20
