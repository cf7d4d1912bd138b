"""Deduplicate: what is a copy, of which kept row, and what gives an evaluation away."""

import json
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.artifacts.manifest import Artifact, Counts, Identity
from tasks.artifacts.resource import Resource
from tasks.artifacts.store import Store
from tasks.conversation import CURATED, conversation_id, words
from tasks.curation import curate
from tasks.deduplication import DeduplicationConfig, UnknownSourceError, deduplicate
from tasks.filters import CurationConfig
from tasks.filters.length import Length
from tasks.filters.repetition import Repetition
from tasks.filters.truncation import Truncation
from tasks.ingestion import IngestionConfig, ingest, split_of
from tests.stages.making import benchmark, chat, pair, prose, source

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
    asked = question.lower().rstrip("?")
    assert evidence == f"metals m1: 100% of its words, the longest run “{asked}”"


def test_rows_are_conserved_and_the_result_is_the_same_again(
    curated: Curated, tmp_path: Path, tokenizer: Resource
) -> None:
    random = np.random.default_rng(5)
    known = [f"w{number}" for number in range(60)]
    texts = [" ".join(random.choice(known, 12)) for _ in range(40)]
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


def test_benchmarks_take_nothing_from_the_held_out_side(curated: Curated, tmp_path: Path) -> None:
    question = "Which metal is liquid at room temperature and used in old thermometers?"
    items = [{"id": "m1", "query": question, "choices": ["Iron", "Mercury"], "gold": 1}]
    given = curated([pair(question, "Mercury.")], heldout=0.9999)
    made = deduplicate(curated.store, DeduplicationConfig(), given, [benchmark(tmp_path / "metals.jsonl", items)])
    assert made.counts.dropped == {}


def test_a_training_row_that_holds_a_held_out_prompt_goes_with_the_span(curated: Curated) -> None:
    prompts = [f"Please tell me which of the planets number {number} was found by whom and in which year" for number in
               range(40)]  # fmt: skip
    side = {split_of(chat(p, "x")["messages"], 0.5): p for p in prompts}
    holding = f"Hello there. {side['heldout']}, and thank you."
    while split_of(chat(holding, "x")["messages"], 0.5) == "heldout":
        holding += " Thanks!"
    given = curated([pair(side["heldout"], "Herschel did, in 1781.")], [pair(holding, "Nobody knows.")], heldout=0.5)
    made = deduplicate(curated.store, DeduplicationConfig(protected=("s1",)), given, [])
    assert reasons(curated, made) == {"s1:1": "held-out overlap"}
    assert "which of the planets number" in next(curated.store.rows(made, "dropped"))["evidence"]
    assert [each["recall"] for each in curated.store.manifest(made).facts["canaries"]] == [1.0]


def test_priority_and_the_order_of_sources_decide_who_stays(curated: Curated) -> None:
    given = curated([pair("How?", LONG)], [pair("How?", LONG.upper())], [pair("HOW?", LONG)])

    def stays(config: DeduplicationConfig, *sources: str) -> list[str]:
        return curated.lines(deduplicate(curated.store, config, given, [], sources))

    assert stays(DeduplicationConfig()) == ["s0:1"]
    assert stays(DeduplicationConfig(), "s2", "s1", "s0") == ["s2:1"]
    assert stays(DeduplicationConfig(priority=("s1",)), "s2", "s1", "s0") == ["s1:1"]
    assert stays(DeduplicationConfig(protected=("s1", "s2"))) == ["s0:1", "s1:1", "s2:1"]
    with pytest.raises(UnknownSourceError, match=r"deduplication\.priority names 'web', .* there are s0, s1, s2"):
        stays(DeduplicationConfig(priority=("web",)))


@pytest.mark.parametrize(("most", "kept"), [(None, 4), (3, 3), (1, 1)])
def test_answers_to_the_same_prompt_are_kept_capped_or_dropped(curated: Curated, most: int | None, kept: int) -> None:
    rows = [pair("Name an animal.", answer) for answer in ("A cat.", "A dog.", "A horse.", "The cow.")]
    given = curated([*rows, pair("Name a colour.", "Blue.")])
    made = deduplicate(curated.store, DeduplicationConfig(answers_per_prompt=most), given, [])
    dropped = list(curated.store.rows(made, "dropped"))
    assert {row["reason"] for row in dropped} <= {"more answers to the same prompt"}
    assert made.counts.kept == kept + 1
    assert curated.store.manifest(made).facts["prompts_with_several_answers"] == (kept > 1)
    first = min(row["id"] for row in curated.store.rows(given, "conversations") if "animal" in str(row["messages"]))
    assert all(row["evidence"].startswith(f"kept {first} (s0 s0.jsonl:") for row in dropped)


def test_tool_calls_tell_conversations_apart(store: Store) -> None:
    rows = rows_of_any_kind(0, 3)
    for row, city in zip(rows, ("Rome", "Oslo", "Rome"), strict=True):
        call = {"role": "assistant", "content": "", "tool_calls": json.dumps([{"function": {"city": city}}])}
        row.update(messages=[{"role": "user", "content": "Weather?"}, call], id=city, split="train")
    made = deduplicate(store, DeduplicationConfig(), committed(store, rows, []), [])
    assert made.counts.dropped == {"exact duplicate": 1}


def test_a_source_that_loses_most_of_its_rows_raises_an_alarm(curated: Curated) -> None:
    rows = [pair(f"Topic {n}?", prose(n, 30)) for n in range(40)]
    given = curated(rows, [*rows[:30], pair("Other?", prose(99, 30))])
    made = deduplicate(curated.store, DeduplicationConfig(), given, [])
    (warning,) = curated.store.manifest(made).warnings
    assert warning.startswith("s1 lost 97% of its 31 rows as copies, more than deduplication.max_source_loss, 50%;")
    assert "in s0 (30 of 30)" in warning
    first, second = curated.store.manifest(made).facts["copies"]
    assert first == {
        "source": "s0",
        "read": 40,
        "exact": 0,
        "near": 0,
        "semantic": 0,
        "answers": 0,
        "overlap": 0,
        "kept": 40,
        "lost": 0,
    }
    assert second == first | {"source": "s1", "read": 31, "exact": 30, "kept": 1, "lost": round(30 / 31, 4)}
    quiet = deduplicate(curated.store, DeduplicationConfig(max_source_loss=1.0), given, [])
    assert curated.store.manifest(quiet).warnings == ()


@pytest.mark.parametrize(("holding", "alarmed"), [(26, True), (20, False), (2, False)])
def test_a_source_that_overlaps_a_benchmark_by_more_than_its_limit_raises_an_alarm(
    curated: Curated, tmp_path: Path, holding: int, alarmed: bool
) -> None:
    asked = [f"Which of the {n} metals {prose(n, 4)} is liquid in old thermometers?" for n in range(30)]
    items = [{"id": f"m{n}", "query": each, "choices": ["Iron", "Mercury"], "gold": 1} for n, each in enumerate(asked)]
    # Most rows hold the same question, so that there is one to name.
    leaks = [pair(f"Now: {asked[n if n < 5 else 7]}", prose(n, 30)) for n in range(holding)]
    web = leaks + [pair(f"Topic {n}?", prose(100 + n, 30)) for n in range(40 - holding)]
    given = curated([pair(f"Other {n}?", prose(200 + n, 30)) for n in range(30)], web)
    made = deduplicate(curated.store, DeduplicationConfig(), given, [benchmark(tmp_path / "metals.jsonl", items)])
    assert list(reasons(curated, made).values()) == ["benchmark overlap"] * holding
    told = [
        f"s1 lost {holding} of its 40 rows because they hold what the model is measured by; most of them, "
        f"{holding - 5}, hold metals m7. If its rows are only asked in the same words, take that benchmark out, or "
        "write the prompts less alike."
    ]
    assert list(made.warnings) == (told if alarmed else [])


def test_a_small_source_that_overlaps_a_benchmark_raises_no_alarm(curated: Curated, tmp_path: Path) -> None:
    question = "Which metal is liquid at room temperature and used in old thermometers?"
    items = [{"id": "m1", "query": question, "choices": ["Iron", "Mercury"], "gold": 1}]
    given = curated([pair(question, prose(n, 30)) for n in range(19)])
    made = deduplicate(curated.store, DeduplicationConfig(), given, [benchmark(tmp_path / "metals.jsonl", items)])
    assert made.counts.dropped == {"benchmark overlap": 19}
    assert made.warnings == ()


@pytest.mark.parametrize(("distinctive", "warned"), [(3, True), (4, False)])
def test_a_benchmark_whose_questions_have_few_words_of_their_own_is_told(
    curated: Curated, tmp_path: Path, distinctive: int, warned: bool
) -> None:
    # Questions of three words are found as whole prompts only; of half of them at most that goes without saying.
    asked = [f"{prose(n, 30)}?" for n in range(distinctive)] + [f"Who is {n}?" for n in range(8 - distinctive)]
    items = [{"id": f"q{n}", "question": each, "answer": "Hull"} for n, each in enumerate(asked)]
    questions = benchmark(tmp_path / "short.jsonl", items, kind="generation")
    made = deduplicate(curated.store, DeduplicationConfig(), curated([pair("Is it free?", LONG)]), [questions])
    (canaries,) = curated.store.manifest(made).facts["canaries"]
    assert (canaries["questions"], canaries["distinctive"], canaries["recall"]) == (8, distinctive, 1.0)
    told = (
        f"of 8 questions drawn of short only {distinctive} have words of their own to be found by; the others are "
        "found as whole prompts alone, so look for its leaks yourself"
    )
    assert made.warnings == ((told,) if warned else ())


def rows_of_any_kind(seed: int, count: int) -> list[dict[str, Any]]:
    """Curated rows of a few sources: many copies and edited copies, on both sides."""
    random = Random(seed)
    known = [f"w{number}" for number in range(40)]
    texts = [[random.choice(known) for _ in range(random.choice([2, 8, 20]))] for _ in range(12)]
    rows = []
    for line in range(count):
        answer = [random.choice(known) if random.random() < 0.04 else word for word in random.choice(texts)]
        messages = chat(f"Question {random.randrange(6)}?", " ".join(answer))["messages"]
        row = {"id": conversation_id(messages), "role": "domain", "file": "a.jsonl", "line": line, "messages": messages}
        side = "heldout" if messages[0]["content"] == "Question 0?" else "train"
        quality = random.choice([None, 0.5, 1.0])
        rows.append({**row, "source": f"s{line % 3}", "split": side, "quality": quality, "refusal": line % 7 == 0})
    return rows


def committed(store: Store, rows: list[dict[str, Any]], cuts: list[int]) -> Artifact:
    """A curated artifact of rows in this order, written in parts of these sizes."""
    identity = Identity(stage="curation", version=2, config={"rows": [str(row) for row in rows]}, parents=())
    with store.attempt(identity) as attempt:
        attempt.write("conversations", CURATED.empty_table())
        for begin, end in pairwise([0, *sorted(cuts), len(rows)]):
            attempt.write("conversations", pa.Table.from_pylist(rows[begin:end], CURATED))
        attempt.counts = Counts(read=len(rows), kept=len(rows), dropped={})
        return attempt.commit({})


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 3), shuffle=st.randoms(use_true_random=False), most=st.sampled_from([None, 2]))
def test_the_same_rows_stay_however_they_come_and_every_copy_has_a_kept_row(
    store: Store, seed: int, shuffle: Random, most: int | None
) -> None:
    config = DeduplicationConfig(similarity=0.6, ngram=3, answers_per_prompt=most, protected=("s2",), priority=("s1",))
    rows = rows_of_any_kind(seed, 90)
    made = deduplicate(store, config, committed(store, rows, []), [])
    shuffle.shuffle(rows)
    cuts = [shuffle.randrange(len(rows)) for _ in range(3)]
    again = deduplicate(store, config, committed(store, rows, cuts), [])
    assert again.content == made.content
    assert made.counts.read == 90 == made.counts.kept + sum(made.counts.dropped.values())

    def runs(row: dict[str, Any]) -> set[tuple[str, ...]]:
        found = words("\n".join(message["content"] for message in row["messages"]))
        return {tuple(found[n : n + 3]) for n in range(len(found) - 2)}

    text_of = {row["id"]: row for row in rows}
    kept = {row["id"] for row in store.rows(made, "conversations")}
    for row in store.rows(made, "dropped"):
        if row["evidence"].startswith("kept "):
            other = row["evidence"].split()[1]
            assert other in kept
            left, right = runs(text_of[row["id"]]), runs(text_of[other])
            if row["reason"] != "more answers to the same prompt":
                assert row["id"] == other or len(left & right) / len(left | right) >= 0.6
