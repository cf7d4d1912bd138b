"""What generated answers show: apologies, refusals, echoes, loops, leaks, lengths, and exact answers."""

import os
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tasks.algorithms.behaviour import (
    Behaviour,
    apologises,
    behaviour_of,
    distinct_ngrams,
    echoes_prompt,
    holds_answer,
    leaks_template,
    loops,
)

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data"
DATA = Path(os.environ.get("FETTLE_REAL_DATA", BESIDE))

PROMPT = "What is the opening time of the bank on a Saturday in May?"


def test_a_plain_answer_shows_nothing() -> None:
    text = "The branch opens at nine."
    assert behaviour_of(PROMPT, text, ended=True) == Behaviour(
        apology=False,
        refusal=False,
        echo=False,
        loop=False,
        template_leak=False,
        not_ended=False,
        words=5,
        distinct_2=1.0,
    )


def test_everything_at_once() -> None:
    text = f"{PROMPT} I'm sorry, but I cannot say.\n### Response:\n" + "No no. " * 30
    shown = behaviour_of(PROMPT, text, ended=False)
    assert shown[:6] == (True, True, True, True, True, True)
    assert shown.words == 81
    assert 0 < shown.distinct_2 < 0.3
    assert behaviour_of(PROMPT, "I'm sorry, but I cannot say.", ended=True)[:2] == (True, True)


def test_no_answer_at_all() -> None:
    assert behaviour_of(PROMPT, "", ended=True) == (False,) * 6 + (0, 1.0)


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        (PROMPT, PROMPT),
        (PROMPT, "\n what is the OPENING time of the bank, on a Sunday?"),
        ("Who wrote Faust?\nAnd when?", "Who wrote Faust? And when? It was Goethe."),
        ("Name two big rivers.", "Name two big rivers. The Rhine"),
        ("问题在哪里", "问题在哪里？在这里。"),
    ],
)
def test_echoes(prompt: str, text: str) -> None:
    assert echoes_prompt(prompt, text)


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        (PROMPT, "The opening time of the bank on a Saturday in May is nine."),
        (PROMPT, "What is the opening time?"),
        (PROMPT, f"You ask: {PROMPT}"),
        (PROMPT, ""),
        ("", ""),
        ("Why?", "Why? Because."),
        ("Name two rivers.", "Name two rivers. The Rhine"),
        ("Correct this.\n\nHe go to school with his sister every day.", "He goes to school with his sister every day."),
        (
            "Repeat the following sentence after me, please, word for word.",
            "Repeat the following sentence after me, please",
        ),
    ],
)
def test_no_echoes(prompt: str, text: str) -> None:
    assert not echoes_prompt(prompt, text)


@pytest.mark.parametrize(
    "text",
    [
        "It is so. " + "I do not know. " * 5,
        "ha" * 40,
        "Yes!" + "!" * 60,
        "The list:\n" + "- one\n- two\n" * 6,
        "我不知道。" * 12,
        "Once " + "the cat and the dog went home, " * 3 + "the cat",
        " ".join(f"{number}. I like to eat apples every day." for number in range(9)),
    ],
)
def test_loops(text: str) -> None:
    assert loops(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "No. No. No.",
        "It is so. It is so.",
        "Yes!!!",
        "| a | b |\n|---|---|\n| 1 | 2 |",
        ", ".join(map(str, range(100))),
        "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen",
        "ha" * 40 + " is what she said, and then she went back to the house that stood by the lake in the wood.",
        "Row, row, row your boat, gently down the stream. Merrily, merrily, merrily, merrily, life is but a dream.",
    ],
)
def test_no_loops(text: str) -> None:
    assert not loops(text)


def test_a_loop_is_found_three_times_over_and_not_before() -> None:
    piece = "the old man went to the river. "
    assert not loops("So " + piece * 2)
    assert loops("So " + piece * 3)
    assert not loops("abcdefghij klmnopqr" * 3)
    assert loops("abcdefghij klmnopqrs" * 3 + " \n\n")


def test_a_long_text_is_read_at_once() -> None:
    began = time.monotonic()
    assert not loops("".join(f"{number:x}" for number in range(20_000)) + "x")
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    "text",
    [
        "Nine.<|im_end|>",
        "Nine. <|im_start|>user",
        "Nine. [INST] More",
        "Nine.</s>",
        "### Response: Nine.",
        "Nine.\n\n### Instruction:\nSay",
        "Nine.\nHuman: And on Sunday?",
        "Nine.\nUser: And on Sunday?",
        "Nine.\n**User:** And on Sunday?",
        "Nine.<end_of_turn>",
    ],
)
def test_leaks(text: str) -> None:
    assert leaks_template(PROMPT, text)


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        (PROMPT, "Nine."),
        (PROMPT, "Every user: nine. # Response"),
        (PROMPT, "Use <b>bold</b> and a[INDEX], x < y | z > 1."),
        ("Write a dialogue of a user and an assistant.", "User: Hi.\nAssistant: Hello.\nUser: Bye."),
    ],
)
def test_no_leaks(prompt: str, text: str) -> None:
    assert not leaks_template(prompt, text)


def test_control_tokens_leak_from_dialogues_too() -> None:
    assert leaks_template("Write a dialogue.", "User: Hi.<|eot_id|>")


def test_distinct_ngrams() -> None:
    assert distinct_ngrams("a b a b a", 2) == 0.5
    assert distinct_ngrams("A b, a B", 1) == 0.5
    assert distinct_ngrams("one", 2) == distinct_ngrams("", 1) == 1.0


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data: {DATA} is absent")
def test_refusals_and_good_answers_that_people_labelled() -> None:
    rows = pq.read_table(DATA / "safety/xstest_completions_human_labels.parquet").to_pylist()
    found: Counter[tuple[bool, bool]] = Counter()
    for row in rows:
        shown = behaviour_of(row["prompt"], row["completion"], ended=True)
        assert (shown.echo, shown.loop, shown.template_leak) == (False, False, False), row["completion"]
        if row["final_label"] != "3_partial_refusal":
            found[row["final_label"] == "2_full_refusal", shown.refusal] += 1
    assert found[True, True] / (found[True, True] + found[False, True]) > 0.95
    assert found[True, True] / (found[True, True] + found[True, False]) > 0.85


@pytest.mark.parametrize(
    "text", ["Sorry!", "I apologise for that.", "My apologies.", "Unfortunately not.", "I REGRET it."]
)
def test_apologies(text: str) -> None:
    assert apologises(text)


@pytest.mark.parametrize("text", ["It costs $4.", "An apologist wrote it.", "", "The unfortunate man."])
def test_no_apologies(text: str) -> None:
    assert not apologises(text)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The fee is $4.", "$4"),
        ("The fee is $4, paid once.", "$4"),
        ("$4", "$4"),
        ("It is 12.", "12"),
        ("It is 12, I think", "12"),
        ("(12)", "12"),
        ("from 12-15 days", "12"),
        ("It is 1,200.", "1,200"),
        ("It is 4.50.", "4.50"),
        ("It is 4.5%.", "4.5%"),
        ("Up to 3 %.", "3 %"),
        ("It is  PARIS, of course", "Paris"),
        ("the  Bank\nof England.", "Bank of England"),
        ("written in C++ then", "C++"),
        ("-12 degrees", "-12"),
    ],
)
def test_an_answer_is_held(text: str, answer: str) -> None:
    assert holds_answer(text, answer)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The fee is $4.50.", "$4"),
        ("The fee is $40.", "$4"),
        ("It is 312.", "12"),
        ("It is 123.", "12"),
        ("It is 12.5.", "12"),
        ("It is 3.12", "12"),
        ("It is 1,200.", "1"),
        ("It is 1,200.", "200"),
        ("It is 12%.", "12"),
        ("It is 12 %.", "12"),
        ("It is -12.", "12"),
        ("-12", "12"),
        ("Comparison", "Paris"),
        ("Parisian", "Paris"),
        ("", "12"),
    ],
)
def test_an_answer_is_not_held(text: str, answer: str) -> None:
    assert not holds_answer(text, answer)
