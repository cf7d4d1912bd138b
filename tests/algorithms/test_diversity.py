"""Diversity: the kind of task that a prompt sets, entropy, and lengths as they are shown."""

import math

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.algorithms.balance import bar
from tasks.algorithms.diversity import (
    TASK_TYPES,
    diversity_table,
    entropy_bits,
    first_prompts,
    task_table,
    task_types,
    weighted_quantiles,
)
from tasks.conversation import MESSAGE


def kind(prompt: str) -> str:
    return TASK_TYPES[task_types(pa.array([prompt]))[0]]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("Hi there!", "chat"),
        ("Write a Python function that sorts a list.", "code"),
        ("Why does this fail?\n```\nx = 1\n```", "code"),
        ("Calculate the area of a circle with radius 3.", "maths"),
        ("What is 12 * 7?", "maths"),
        ("Translate the sentence into French: I am here.", "translation"),
        ("Summarise the text in two sentences.", "summary"),
        ("Please classify these animals as mammals or reptiles.", "classification"),
        ("Given a review, determine whether it is positive.", "classification"),
        ("Extract all dates from the text.", "extraction"),
        ("Rewrite the sentence in the passive voice.", "rewriting"),
        ("Could you please rephrase it?", "rewriting"),
        ("Give me five ideas for a party.", "listing"),
        ("Name three rivers.", "listing"),
        ("Act as a travel guide.", "role play"),
        ("Write a poem about the sea.", "generation"),
        ("I want you to compose a letter to my landlord.", "generation"),
        ("Explain how a vaccine works.", "explanation"),
        ("Who wrote Hamlet?", "closed question"),
        ("Is water wet?", "closed question"),
        ("How many moons has Mars?", "closed question"),
        ("What is the capital of Peru?", "closed question"),
        ("Why is the sky blue?", "open question"),
        ("What do you think of tea?", "open question"),
        ("How can I freeze my card?", "open question"),
        ("¿Qué hora es, por favor", "other"),
        ("请告诉我", "other"),
        ("", "other"),
    ],
)
def test_the_first_words_tell_the_task(prompt: str, expected: str) -> None:
    assert kind(prompt) == expected
    assert kind(f"  {prompt.upper()}") == expected


@given(prompts=st.lists(st.text(max_size=60), max_size=6))
def test_every_prompt_has_a_kind_of_its_own_whatever_stands_beside_it(prompts: list[str]) -> None:
    together = task_types(pa.array(prompts, pa.string()))
    assert [TASK_TYPES[number] for number in together] == [kind(prompt) for prompt in prompts]


def test_the_prompt_is_what_the_user_says_first() -> None:
    chats = [
        [("system", "S"), ("user", "first"), ("assistant", "A"), ("user", "second")],
        [("system", "no user")],
        [],
        [("user", "x" * 1000)],
        [("user", "last")],
    ]
    messages = pa.array([[{"role": role, "content": text} for role, text in chat] for chat in chats], pa.list_(MESSAGE))
    assert first_prompts(messages).to_pylist() == ["first", "", "", "x" * 400, "last"]
    assert first_prompts(messages.slice(3)).to_pylist() == ["x" * 400, "last"]
    assert first_prompts(messages.slice(0, 0)).to_pylist() == []


def test_entropy() -> None:
    assert entropy_bits([5, 0]) == 0
    assert entropy_bits([]) == 0
    assert entropy_bits([3, 3, 3, 3]) == pytest.approx(2)
    assert entropy_bits([1, 3]) == pytest.approx(0.25 * 2 + 0.75 * math.log2(4 / 3))


@given(
    pairs=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5)), min_size=1, max_size=30),
    level=st.sampled_from([0.1, 0.5, 0.9]),
)
def test_quantiles_count_a_row_as_often_as_it_is_shown(pairs: list[tuple[int, int]], level: float) -> None:
    values, copies = zip(*pairs, strict=True)
    shown = sorted(value for value, count in pairs for _ in range(count))
    expected = shown[math.ceil(level * len(shown)) - 1] if shown else 0
    (found,) = weighted_quantiles(pl.Series(values).to_numpy(), pl.Series(copies).to_numpy(), [level])
    assert found == expected


def test_figures_count_what_is_shown_by_source() -> None:
    listing, chat = TASK_TYPES.index("listing"), TASK_TYPES.index("chat")
    shown = pl.DataFrame(
        {
            "source": ["b", "a", "a"],
            "kind": [listing, listing, chat],
            "copies": [2, 1, 1],
            "prompt_tokens": [10, 20, 30],
            "answer_tokens": [1, 2, 3],
        }
    )
    whole, a, b = diversity_table(shown)
    assert (whole["source"], a["source"], b["source"]) == ("all", "a", "b")
    assert whole["entropy_bits"] == pytest.approx(entropy_bits([3, 1]), abs=1e-3)
    assert (a["entropy_bits"], b["entropy_bits"]) == (1, 0)
    assert a["evenness"] == pytest.approx(1 / math.log2(len(TASK_TYPES)), abs=1e-3)
    assert (whole["prompt_tokens_p10"], whole["prompt_tokens_p50"], whole["prompt_tokens_p90"]) == (10, 10, 30)
    assert (b["task_types"], b["commonest"], b["answer_tokens_p50"]) == (1, "listing", 1)
    assert [(row["task"], row["shown"], row["share"]) for row in task_table(shown)] == [
        ("listing", 3, 0.75),
        ("chat", 1, 0.25),
    ]


@pytest.mark.parametrize(
    ("share", "wanted", "expected"),
    [(0.5, None, "██░░"), (0.0, None, "░░░░"), (1.0, 1.0, "████|"), (0.3125, 0.5, "█▎|░░"), (1.5, None, "████")],
)
def test_a_bar_shows_a_share_and_where_it_should_end(share: float, wanted: float | None, expected: str) -> None:
    assert bar(share, wanted, width=4) == expected
