"""Benchmark questions inside prompts: found where they stand, not where words merely coincide."""

import pytest

from tasks.algorithms.containment import QuestionIndex

LONG = "A train leaves the station at noon and travels sixty miles an hour; when does it arrive in the next town?"
QUESTIONS = {
    "long": LONG,
    "planet": "Which is the hottest planet in the solar system?",
    "six": "What is the capital of Australia?",
    "short": "What do you do?",
    "tiny": "Who are you?",
}


def index(**questions: str) -> QuestionIndex:
    made = QuestionIndex()
    for name, text in questions.items():
        made.add(name, text)
    return made


@pytest.mark.parametrize(
    ("text", "question"),
    [
        (LONG, "long"),
        (LONG.upper(), "long"),
        (f"Hello! {LONG} Please answer.", "long"),
        (LONG.replace("noon", "two"), "long"),
        ("which is the hottest planet in the solar system", "planet"),
        ("Tell me: what is the capital of Australia, and why?", "six"),
        ("What do you do...", "short"),
        ("Hello! What do you do?", "short"),
        ("who are you", "tiny"),
        ("Hi. Who are you?", None),
        ("When you see an error, what do you do first?", None),
        ("Which is the largest planet known to anybody at all in the solar system?", None),
        ("A train leaves the station at noon and travels. Describe its driver in a short and moving story.", None),
        ("What is the capital of Austria?", None),
        ("", None),
        ("?", None),
    ],
)
def test_questions_in_prompts(text: str, question: str | None) -> None:
    match = index(**QUESTIONS).find(text)
    assert (match.question if match else None) == question


def test_the_evidence_is_a_span_of_the_text() -> None:
    match = index(**QUESTIONS).find(f"So: {LONG}")
    assert match is not None
    assert match.span == "a train leaves the station at noon and"
    assert match.containment == 1.0


def test_what_a_benchmark_says_in_every_question_is_no_evidence() -> None:
    preamble = "Read the following passage with care and then answer the question that comes below it."
    made = index(
        **{
            f"q{n}": f"{preamble} What colour was the {thing} of the old man who lived there alone?"
            for n, thing in enumerate(
                ["hat", "coat", "dog", "cat", "boat", "house", "door", "fence", "chair", "table", "lamp", "cup"]
            )
        }
    )
    assert made.find(f"{preamble} How many apples are in the basket?") is None
    match = made.find("What colour was the boat of the old man who lived there alone?")
    assert match is not None
    assert match.question == "q4"


def test_questions_may_be_added_after_a_search() -> None:
    made = index(tiny="Who are you?")
    assert made.find(LONG) is None
    made.add("long", LONG)
    assert made.find(LONG) is not None
