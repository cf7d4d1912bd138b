"""Deduplicate: what is a copy, of which kept row, and what gives an evaluation away."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.artifacts.manifest import Artifact
from tasks.artifacts.resource import Resource
from tasks.artifacts.store import Store
from tasks.curation import curate
from tasks.deduplication import DeduplicationConfig, deduplicate
from tasks.filters import CurationConfig
from tasks.filters.length import Length
from tasks.filters.repetition import Repetition
from tasks.filters.truncation import Truncation
from tasks.ingestion import IngestionConfig, ingest, split_of
from tests.stages.making import benchmark, chat, pair, source

LENIENT = CurationConfig(
    length=Length(prompt_tokens=(0, 10_000), answer_tokens=(0, 10_000)),
    repetition=Repetition(enabled=False),
    truncation=Truncation(enabled=False),
)
LONG = "Open the app, go to the settings, tap on the card that you want to freeze, and confirm it with your code."

LONGER = f"{LONG} " + " ".join(f"Then comes step {number}, which is not hard." for number in range(20))


class Curated:
    """Curates rows, each list a source of its own."""

    def __init__(self, folder: Path, store: Store, tokenizer: Resource) -> None:
        self.folder, self.store, self.tokenizer = folder, store, tokenizer

    def __call__(self, *sources: list[dict[str, Any]], heldout: float = 0.0) -> Artifact:
        given = [source(self.folder / f"s{number}.jsonl", rows) for number, rows in enumerate(sources)]
        ingested = ingest(self.store, IngestionConfig(heldout_fraction=heldout), given)
        return curate(self.store, LENIENT, ingested, self.tokenizer)

    def lines(self, artifact: Artifact, table: str = "conversations") -> list[str]:
        return [f"{row['source']}:{row['line']}" for row in self.store.rows(artifact, table)]


@pytest.fixture
def curated(tmp_path: Path, store: Store, tokenizer: Resource) -> Curated:
    return Curated(tmp_path, store, tokenizer)


def reasons(curated: Curated, artifact: Artifact) -> dict[str, str]:
    return {f"{r['source']}:{r['line']}": r["reason"] for r in curated.store.rows(artifact, "dropped")}


def test_the_first_of_each_group_of_copies_stays(curated: Curated) -> None:
    given = curated(
        [pair("How do I freeze it?", LONG), pair("Who?", "Me.")],
        [pair("HOW do I  freeze it?", LONG), pair("How do I freeze it?", LONG.replace("your code", "the code"))],
    )
    made = deduplicate(curated.store, DeduplicationConfig(), given, [])
    assert curated.lines(made) == ["s0:1", "s0:2"]
    assert reasons(curated, made) == {"s1:1": "exact duplicate", "s1:2": "near duplicate"}
    kept = next(curated.store.rows(made, "conversations"))["id"]
    evidence = {r["line"]: r["evidence"] for r in curated.store.rows(made, "dropped")}
    assert evidence[1] == f"kept {kept} (s0 s0.jsonl:1), similarity 1.000"
    assert evidence[2].startswith(f"kept {kept} (s0 s0.jsonl:1), similarity 0.8")


def test_clean_rows_and_the_shortest_ones_stay(curated: Curated) -> None:
    short = [pair("Is it free?", answer) for answer in ("Yes.", "No.", "42", "Paris", "No way", "!!!", "?!")]
    given = curated([*short, pair("How do I freeze it?", LONG), pair("Why?", "Because the card was lost in a shop.")])
    made = deduplicate(curated.store, DeduplicationConfig(), given, [])
    assert made.counts.dropped == {}
    made = deduplicate(curated.store, DeduplicationConfig(over="answer"), given, [])
    assert made.counts.dropped == {}


@pytest.mark.parametrize(("over", "dropped"), [("conversation", set()), ("prompt", {"s0:2"}), ("answer", {"s0:3"})])
def test_what_is_compared(curated: Curated, over: Any, dropped: set[str]) -> None:
    given = curated([pair("How do I freeze it?", LONG), pair("How do I freeze it?", "Call us."), pair("Stop!", LONG)])
    made = deduplicate(curated.store, DeduplicationConfig(over=over, similarity=0.95), given, [])
    assert set(reasons(curated, made)) == dropped


def test_a_training_row_that_copies_a_held_out_one_goes_whatever_comes_first(curated: Curated) -> None:
    prompts = [f"Question number {number}, please?" for number in range(100)]
    sides = {
        side: [p for p in prompts if split_of(chat(p, "x")["messages"], 0.5) == side] for side in ("train", "heldout")
    }
    given = curated([pair(sides["train"][0], LONGER)], [pair(sides["heldout"][0], LONGER)], heldout=0.5)
    made = deduplicate(curated.store, DeduplicationConfig(), given, [])
    assert curated.lines(made) == ["s1:1"]
    assert reasons(curated, made) == {"s0:1": "held-out overlap"}


def test_rows_that_hold_a_benchmark_question_go_with_the_evidence(curated: Curated, tmp_path: Path) -> None:
    question = "Which metal is liquid at room temperature and used in old thermometers?"
    items = [{"id": "m1", "query": question, "choices": ["Iron", "Mercury"], "gold": 1}]
    given = curated(
        [pair(f"Hello! {question}", "Mercury."), pair("Which metal is the heaviest of all of them?", "Osmium.")],
        [chat("Hi.", "Hello.", question.upper(), "Mercury.")],
    )
    made = deduplicate(curated.store, DeduplicationConfig(), given, [benchmark(tmp_path / "metals.jsonl", items)])
    assert reasons(curated, made) == {"s0:1": "benchmark overlap", "s1:1": "benchmark overlap"}
    evidence = next(curated.store.rows(made, "dropped"))["evidence"]
    assert evidence == "metals m1: 100% of its n-grams, first “which metal is liquid at room temperature and”"


def test_rows_are_conserved_and_the_result_is_the_same_again(
    curated: Curated, tmp_path: Path, tokenizer: Resource
) -> None:
    random = np.random.default_rng(5)
    words = [f"w{number}" for number in range(60)]
    texts = [" ".join(random.choice(words, 12)) for _ in range(40)]
    rows = [pair(f"{texts[random.integers(40)]}", f"{texts[random.integers(6)]} end{n % 50}") for n in range(400)]
    made = deduplicate(curated.store, DeduplicationConfig(similarity=0.5), curated(rows, heldout=0.1), [])
    assert made.counts.read == 400 == made.counts.kept + sum(made.counts.dropped.values())
    assert sum(made.counts.dropped.values()) > 50
    other = Store(str(tmp_path / "other"))
    other.probe()
    again = Curated(tmp_path / "again", other, tokenizer)
    remade = deduplicate(other, DeduplicationConfig(similarity=0.5), again(rows, heldout=0.1), [])
    assert remade.content == made.content


def test_each_dropped_row_names_a_kept_one(curated: Curated) -> None:
    rows = [pair(f"Topic {n // 4}", LONG.replace("card", f"card {n % 4} of {n // 4}")) for n in range(80)]
    made = deduplicate(curated.store, DeduplicationConfig(similarity=0.6), curated(rows), [])
    kept = {row["id"] for row in curated.store.rows(made, "conversations")}
    named = [row["evidence"].split()[1] for row in curated.store.rows(made, "dropped")]
    assert named
    assert set(named) <= kept
