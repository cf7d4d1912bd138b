"""Mix: shares reached, repetition reported, and what cannot be had refused."""

import hashlib
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks import mixing
from tasks.algorithms.balance import apportion
from tasks.artifacts.resource import Resource
from tasks.artifacts.store import Store
from tasks.conversation import Role
from tasks.curation import curate
from tasks.deduplication import DeduplicationConfig, deduplicate
from tasks.filters import CurationConfig
from tasks.filters.length import Length
from tasks.ingestion import IngestionConfig, ingest, split_of
from tasks.mixing import ImpossibleMixtureError, MixingConfig, advice, choose_copies, mix, requested_shares
from tests.stages.making import chat, pair, prose, source


def rows(tokens: int = 10, **roles: int) -> pl.DataFrame:
    """So many rows of each role, from a source of the role's name."""
    return frame([(role, role, tokens) for role, count in roles.items() for _ in range(count)])


def frame(given: Sequence[tuple[str, str, int]]) -> pl.DataFrame:
    """Rows of (source, role, answer tokens)."""
    return pl.DataFrame(
        [
            {"id": hashlib.sha256(f"{source} {n}".encode()).hexdigest()[:32], "role": role, "split": "train"}
            | {"source": source, "file": "a.jsonl", "line": n, "prompt_tokens": 5, "answer_tokens": tokens}
            for n, (source, role, tokens) in enumerate(given)
        ],
        schema_overrides={"line": pl.Int64},
        schema=["id", "role", "split", "source", "file", "line", "prompt_tokens", "answer_tokens"],
    )


def shown(config: MixingConfig, given: pl.DataFrame, by: str = "role") -> dict[str, int]:
    copies = given.with_columns(copies=choose_copies(config, given))
    return dict(copies.group_by(by).agg(pl.col("copies").sum()).iter_rows())


def taken(config: MixingConfig, given: pl.DataFrame) -> dict[tuple[Any, ...], int]:
    """How often each row is shown, by its id and place."""
    places = given.select("id", "source", "file", "line").rows()
    return dict(zip(places, choose_copies(config, given).tolist(), strict=True))


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
    assert copies.sum() == total
    for role in counts:
        of_role = copies[(made["role"] == role).to_numpy()]
        assert max(of_role) - min(of_role) <= 1


@given(
    tokens=st.lists(st.tuples(st.sampled_from(["general", "code"]), st.integers(0, 2000)), min_size=1, max_size=60),
    total=st.integers(1, 100_000),
)
def test_by_tokens_each_role_comes_within_half_a_row_of_its_target(tokens: list[tuple[str, int]], total: int) -> None:
    made = frame([(role, role, count) for role, count in tokens])
    config = MixingConfig(by="tokens", total=total, max_copies=1e6)
    made = made.with_columns(copies=choose_copies(config, made), weight=pl.col("answer_tokens").clip(1))
    targets = apportion(total, requested_shares(config, made))
    for role in dict(tokens):
        of_role = made.filter(pl.col("role") == role)
        reached = int((of_role["copies"].cast(pl.Int64) * of_role["weight"]).sum())
        assert abs(reached - targets[f"role {role}"]) <= int(of_role["weight"].max()) / 2  # type: ignore[call-overload]


@given(order=st.permutations(range(40)), seed=st.integers(0, 2))
def test_neither_the_order_of_rows_nor_their_copies_decide_who_is_taken(order: list[int], seed: int) -> None:
    made = frame([("a" if n % 3 else "b", "general", n) for n in range(40)])
    same_content = pl.when(pl.col("line") < 10).then(pl.lit("0" * 32)).otherwise("id")
    made = made.with_columns(id=same_content)
    for by in ("rows", "tokens"):
        config = MixingConfig(total=23, by=by, seed=seed)
        assert taken(config, made) == taken(config, made[order])


def test_another_seed_takes_others() -> None:
    made = rows(general=100)
    assert taken(MixingConfig(total=30), made) != taken(MixingConfig(total=30, seed=1), made)


def test_a_row_that_is_added_changes_who_is_taken_by_one_at_most() -> None:
    made = rows(general=101)
    fewer, more = (taken(MixingConfig(total=30), each) for each in (made[:100], made))
    assert sum(fewer[place] != more[place] for place in fewer) <= 1


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"source_shares": {"faq": 0.4}, "total": 10}, {"faq": 4, "calls": 1, "alpaca": 5}),
        ({"source_shares": {"faq": 0.0}, "total": 10}, {"faq": 0, "calls": 5, "alpaca": 5}),
        ({"source_shares": {"faq": 0.1, "calls": 0.4}, "total": 10}, {"faq": 1, "calls": 4, "alpaca": 5}),
    ],
)
def test_a_source_gets_its_own_share_out_of_its_roles(config: dict[str, Any], expected: dict[str, int]) -> None:
    made = frame([("faq", "domain", 5)] * 20 + [("calls", "domain", 5)] * 20 + [("alpaca", "general", 5)] * 20)
    asked = MixingConfig(shares={"domain": 0.5, "general": 0.5}, **config)
    assert shown(asked, made, "source") == expected


@pytest.mark.parametrize("share", [0.461538, 0.461539])
@pytest.mark.parametrize("others", [[], [("calls", "domain", 5)] * 20])
def test_a_source_may_have_its_roles_whole_share_as_far_as_it_can_be_written(
    share: float, others: list[tuple[str, str, int]]
) -> None:
    made = frame([("faq", "domain", 5)] * 20 + others + [("alpaca", "general", 5)] * 20)
    # The defaults' shares of two roles are 6/13 and 7/13.
    found = shown(MixingConfig(source_shares={"faq": share}, total=26), made, "source")
    assert found == {"faq": 12, "alpaca": 14} | ({"calls": 0} if others else {})


@pytest.mark.parametrize(
    ("config", "roles", "says"),
    [
        ({"shares": {"general": 0.5, "safety": 0.5}}, {"general": 5}, "asks for safety, but no row has that role"),
        (
            {"total": 100},
            {"general": 10, "domain": 100},
            r"role general limits it, with 10 rows where its share of 0.5385 asks for 54, 5.39 copies of each where at "
            r"most 4 are allowed. What would do: set mixing.total to at most 74; or set mixing.max_copies to 5.39; or "
            r"add 4 rows to role general; or other shares",
        ),
        ({}, {}, "no row is left to train on"),
        (
            {"source_shares": {"faq": 0.1}},
            {"general": 5},
            "names 'faq', but no row is left of it; there are .* general",
        ),
        (
            {"source_shares": {"general": 0.1}},
            {"general": 5},
            "general in mixing.source_shares add up to 0.1, less than the 1 that their role general has .* no other",
        ),
        (
            {"shares": {"general": 0.5, "code": 0.5}, "source_shares": {"general": 0.6}},
            {"general": 5, "code": 5},
            "add up to 0.6, more than the 0.5 that their role general has",
        ),
    ],
)
def test_what_cannot_be_had_is_refused(config: dict[str, Any], roles: dict[str, int], says: str) -> None:
    with pytest.raises(ImpossibleMixtureError, match=says):
        choose_copies(MixingConfig(**config), rows(**roles))


@given(
    counts=st.dictionaries(st.sampled_from(["general", "domain", "code", "safety"]), st.integers(1, 40), min_size=2),
    by=st.sampled_from(["rows", "tokens"]),
    max_copies=st.floats(1, 5).map(lambda value: round(value, 1)),
    total=st.one_of(st.none(), st.integers(1, 40_000)),
)
def test_whoever_follows_the_advice_gets_the_mixture(
    counts: dict[str, int], by: Any, max_copies: float, total: int | None
) -> None:
    made = rows(**counts)
    config = MixingConfig(by=by, total=total, max_copies=max_copies)
    try:
        choose_copies(config, made)
    except ImpossibleMixtureError as refusal:
        text = str(refusal).replace(",", "")
    else:
        return
    copies = float(re.search(r"mixing.max_copies to ([\d.e+]+)", text)[1])  # type: ignore[index]
    choose_copies(config.model_copy(update={"max_copies": copies}), made)
    if most := re.search(r"mixing.total to at most (\d+)", text):
        choose_copies(config.model_copy(update={"total": int(most[1])}), made)
    largest = int(most[1]) if most else 0
    with pytest.raises(ImpossibleMixtureError):
        choose_copies(config.model_copy(update={"total": largest + 1}), made)
    if total is not None:
        added = {role: int(n) for n, role in re.findall(rf"(\d+) {by} to role (\w+)", text)}
        assert added
        per_row = 1 if by == "rows" else 10
        grown = {role: count + -(-added.get(role, 0) // per_row) for role, count in counts.items()}
        choose_copies(config, rows(**grown))


@pytest.mark.parametrize(
    ("roles", "config", "warnings"),
    [
        ({"domain": 50}, {}, ["100% of the mixture is domain data and none of it general"]),
        ({"domain": 96, "code": 4}, {"shares": {"domain": 0.96, "code": 0.04}}, ["96% of the mixture is domain data"]),
        ({"domain": 96, "general": 4}, {"shares": {"domain": 0.96, "general": 0.04}}, []),
        ({"domain": 50, "code": 50}, {}, []),
        ({"general": 50}, {}, []),
        ({"general": 5, "code": 7}, {"shares": {"general": 1}}, ["leaves out 7 rows of code, which have no share"]),
    ],
)
def test_a_narrow_mixture_and_a_forgotten_role_are_told(
    roles: dict[str, int], config: dict[str, Any], warnings: list[str]
) -> None:
    made = rows(**roles)
    asked = MixingConfig(**config)
    taken_rows = made.with_columns(copies=choose_copies(asked, made)).filter(pl.col("copies") > 0)
    given_advice = list(advice(asked, made, taken_rows))
    assert len(given_advice) == len(warnings)
    assert all(words in sentence for words, sentence in zip(warnings, given_advice, strict=True))


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
    facts = store.manifest(made).facts
    shares = {row["source"]: row for row in facts["shares"]}
    code = sum(row["source"] == "c" for row in mixture)
    assert shares["c"] == {
        "role": "code",
        "source": "c",
        "rows": code,
        "shown": 20,
        "copies": round(20 / code, 3),
        "tokens": sum(row["copies"] * row["answer_tokens"] for row in mixture if row["source"] == "c"),
        "requested": 0.5,
        "achieved": 0.5,
        "picture": "██████████|░░░░░░░░░░",
    }
    assert shares["a"]["shown"] + shares["b"]["shown"] == 20
    assert shares["a"]["requested"] + shares["b"]["requested"] == pytest.approx(0.5, abs=1e-3)
    assert [(row["role"], row["requested"], row["achieved"]) for row in facts["roles"]] == [
        ("code", 0.5, 0.5),
        ("general", 0.5, 0.5),
    ]
    assert [row["source"] for row in facts["diversity"]] == ["all", "a", "b", "c"]
    assert sum(row["shown"] for row in facts["task_types"]) == 40
    left = next(store.rows(made, "dropped"))
    assert (left["reason"], left["evidence"].split(" rows of ")[1]) == (
        "not sampled",
        f"{left['source']} fill its share",
    )


def test_a_source_that_deduplication_emptied_is_told_with_no_rows(
    tmp_path: Path, store: Store, tokenizer: Resource
) -> None:
    made = [pair(f"Who is number {n}?", f"It is {prose(n, 12)}, of course.") for n in range(8)]
    declared: dict[str, Role] = {"web": "general", "faq": "domain", "copy": "domain"}
    rows_of = {"web": made[:4], "faq": made[4:], "copy": made[4:6]}
    sources = [source(tmp_path / f"{name}.jsonl", rows_of[name], role) for name, role in declared.items()]
    lenient = CurationConfig(length=Length(prompt_tokens=(0, 999), answer_tokens=(0, 999)))
    ingested = ingest(store, IngestionConfig(heldout_fraction=0), sources)
    curated = curate(store, lenient, ingested, tokenizer)
    deduplicated = deduplicate(store, DeduplicationConfig(), curated, [], list(declared))
    unknowing = mix(store, MixingConfig(), deduplicated)
    knowing = mix(store, MixingConfig(), deduplicated, declared)
    assert knowing.content == unknowing.content

    before, after = store.manifest(unknowing), store.manifest(knowing)
    shares = {row["source"]: row for row in after.facts["shares"]}
    assert [row for row in after.facts["shares"] if row["source"] != "copy"] == before.facts["shares"]
    assert {shares["copy"][name] for name in ("rows", "shown", "tokens", "requested", "achieved")} == {0}
    assert shares["copy"]["role"] == "domain"
    assert after.facts["roles"] == before.facts["roles"]
    (told,) = set(after.warnings) - set(before.warnings)
    assert told.startswith("the mixture has no row of copy: all were dropped before. `fettle show copy:LINE` tells why")
    assert "name it in deduplication.priority" in told


def test_a_source_that_is_wholly_held_out_by_its_prompts_is_told(
    tmp_path: Path, store: Store, tokenizer: Resource
) -> None:
    prompts = [f"Question number {n}, please?" for n in range(100)]
    train, held = (
        [pair(p, "It is so.") for p in prompts if split_of(chat(p, "x")["messages"], 0.5) == side]
        for side in ("train", "heldout")
    )
    sources = [source(tmp_path / "web.jsonl", train), source(tmp_path / "tiny.jsonl", held[:2])]
    lenient = CurationConfig(length=Length(prompt_tokens=(0, 99), answer_tokens=(0, 99)))
    curated = curate(store, lenient, ingest(store, IngestionConfig(heldout_fraction=0.5), sources), tokenizer)
    made = mix(store, MixingConfig(), curated, {"web": "domain", "tiny": "domain"})
    (told,) = [warning for warning in made.warnings if "tiny" in warning]
    assert told.startswith("the mixture has no row of tiny: all that are left, 2, are held out. Add rows to it")


@pytest.mark.parametrize("rows_per_batch", [1, 7])
def test_batches_do_not_decide(
    tmp_path: Path, store: Store, tokenizer: Resource, monkeypatch: pytest.MonkeyPatch, rows_per_batch: int
) -> None:
    made = [pair(f"What is number {n}?", f"It is number {n}, of course.") for n in range(60)]
    lenient = CurationConfig(length=Length(prompt_tokens=(0, 99), answer_tokens=(0, 99)))
    ingested = ingest(store, IngestionConfig(), [source(tmp_path / "a.jsonl", made)])
    deduplicated = deduplicate(store, DeduplicationConfig(), curate(store, lenient, ingested, tokenizer), [])
    other = Store(str(tmp_path / "other"))
    shutil.copytree(tmp_path / "store", tmp_path / "other")
    before = mix(store, MixingConfig(total=40), deduplicated)
    monkeypatch.setattr(mixing, "ROWS_PER_BATCH", rows_per_batch)
    after = mix(other, MixingConfig(total=40), deduplicated)
    assert after.content == before.content
    assert other.manifest(after).facts == store.manifest(before).facts
