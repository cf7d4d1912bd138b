"""Benchmark questions inside prompts: found where they stand, not where words merely coincide."""

import random

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.algorithms.containment import Match, QuestionIndex
from tasks.conversation import words

LONG = "A train leaves the station at noon and travels sixty miles an hour; when does it arrive in the next town?"
PROBLEM = (
    "A plane travels 1200 miles in 3 hours. At the same rate, how many hours would it need for another 2000 miles?"
)
QUESTIONS = {
    "long": LONG,
    "planet": "Which is the hottest planet in the solar system?",
    "six": "What is the capital of Australia?",
    "short": "What do you do?",
    "marks": "Tea: or rather coffee?",
    "tiny": "Who are you?",
    "problem": PROBLEM,
}


def index(**questions: str) -> QuestionIndex:
    return QuestionIndex(questions.items())


def found(made: QuestionIndex, text: str) -> Match | None:
    matches = made.find(pa.array([text]))
    return matches[0][1] if matches else None


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
        ("Choose.\nTea: or rather coffee?\nWell?", "marks"),
        ("who are you", "tiny"),
        (PROBLEM.replace("plane", "bird"), "problem"),
        ("Hi. Who are you?", None),
        ("When you see an error, what do you do first?", None),
        ("Which is the largest planet known to anybody at all in the solar system?", None),
        ("A train leaves the station at noon and travels. Describe its driver in a short and moving story.", None),
        ("What is the capital of Austria?", None),
        ("I like tea: or rather coffee?", None),
        (PROBLEM.replace("1200", "360").replace("3 hours", "2 hours").replace("2000", "90"), None),
        ("", None),
        ("?", None),
    ],
)
def test_questions_in_prompts(text: str, question: str | None) -> None:
    match = found(index(**QUESTIONS), text)
    assert (match.question if match else None) == question


def test_the_evidence_is_a_span_of_the_text() -> None:
    match = found(index(**QUESTIONS), f"So: {LONG.replace('hour', 'day')}")
    assert match == ("long", 20 / 21, "a train leaves the station at noon and travels sixty miles an")


def test_of_a_long_span_the_beginning_is_shown() -> None:
    text = " ".join(f"word{number}" for number in range(3000))
    match = found(index(q=text), f"Now {text} indeed")
    assert match == ("q", 1.0, " ".join(f"word{number}" for number in range(40)))


THINGS = ["hat", "coat", "dog", "cat", "boat", "house", "door", "fence", "chair", "table", "lamp", "cup"]


def test_what_a_benchmark_says_in_every_question_is_no_evidence() -> None:
    preamble = "Read the following passage with care and then answer the question that comes below it."
    asking = "{} What colour was the {} of the old man who lived there alone?"
    made = index(**{f"q{n}": asking.format(preamble, thing) for n, thing in enumerate(THINGS)})
    assert found(made, f"{preamble} How many apples are in the basket?") is None
    match = found(made, "What colour was the boat of the old man who lived there alone?")
    assert match is not None
    assert match.question == "q4"
    match = found(made, f"Hello. {asking.format(preamble, 'boat')}")
    assert match == ("q4", 1.0, "comes below it what colour was the boat of the old man who lived there")


def test_what_a_few_questions_share_is_little_evidence() -> None:
    template = (
        "Look at the review below, which a guest of our hotel wrote, and say in one word whether it is good or bad:"
    )
    tails = [" ".join(f"{thing}{number}" for number in range(13)) for thing in THINGS[:6]]
    made = index(**{f"q{n}": f"{template} {tail}" for n, tail in enumerate(tails)})
    assert found(made, f"{template} the bed was soft and the soup was hot") is None
    match = found(made, f"Say good or bad: {tails[2]}")
    assert match is not None
    assert match.question == "q2"


def test_a_question_asked_ten_times_over_is_not_boilerplate() -> None:
    made = QuestionIndex([*((f"q{number}", LONG) for number in range(40)), ("other", PROBLEM)])
    assert found(made, f"Please: {LONG}") == ("q0", 1.0, " ".join(words(LONG)))


def test_a_question_with_a_longer_form_is_known_alone_or_in_that_form() -> None:
    stem, choices = "Which of the following is a correct statement?", "Iron floats on water\nGold is heavier than tin"
    made = QuestionIndex([("q", stem), ("q", f"{stem}\n{choices}"), ("other", LONG)])
    assert found(made, f"Tell me. {stem} The sky is green, or grass is red") is None
    assert found(made, stem) is not None
    assert found(made, f"Tell me. {stem} Iron floats on water? Gold is heavier than tin?") is not None
    assert (made.reach(stem), made.reach(f"{stem}\n{choices}")) == ("whole", "anywhere")


@pytest.mark.parametrize(("changed", "containment"), [(range(4, 40, 10), 27 / 40), (range(4, 20, 10), None)])
def test_one_word_in_ten_may_differ_in_a_long_question(changed: range, containment: float | None) -> None:
    question = [f"word{number}" for number in range(changed.stop)]
    edited = ["other" if place in changed else word for place, word in enumerate(question)]
    match = found(index(q=" ".join(question)), " ".join(edited))
    assert (match.containment if match else None) == containment


def test_equal_hashes_alone_remove_nothing() -> None:
    made = index(q=LONG, short="What do you do?")
    made._texts[:] = [" ".join(reversed(LONG.split())), "Who said that, then?"]
    assert made.find(pa.array([LONG, f"Hello! {LONG}", "Hello! What do you do?"])) == []


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_every_layout_of_arrow_gives_the_same(kind: pa.DataType) -> None:
    texts = pa.array(["before", None, f"Hi. {LONG}", "", "who are you", LONG], kind)
    made = index(**QUESTIONS)
    expected = [(1, "long"), (3, "tiny"), (4, "long")]
    for given_texts in (texts.slice(1), pa.chunked_array([texts.slice(1, 2), texts.slice(3)])):
        assert [(place, match.question) for place, match in made.find(given_texts)] == expected
    assert made.find(pa.array([], kind)) == []
    assert QuestionIndex([("a", ""), ("b", "\ud800?")]).find(texts) == []


_WORDS = st.lists(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), min_size=1, max_size=30)
_PIECES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 12), st.integers(1, 30)), min_size=1, max_size=4)


@given(questions=st.lists(_WORDS, min_size=1, max_size=10), pieces=st.lists(_PIECES, max_size=6))
def test_pieces_of_questions_are_found_by_the_share_that_they_hold(
    questions: list[list[str]], pieces: list[list[tuple[int, int, int]]]
) -> None:
    texts = [
        [word for number, begin, size in each for word in questions[number % len(questions)][begin : begin + size]]
        for each in pieces
    ]
    made = QuestionIndex((str(number), " ".join(each)) for number, each in enumerate(questions))
    matches = dict(made.find(pa.array([" ".join(text) for text in texts], pa.string())))
    for place, text in enumerate(texts):
        held = {tuple(each): contained(each, text, questions) for each in questions}
        best = max(held.values())
        assert (place in matches) == (best > 0)
        if place in matches:
            match = matches[place]
            assert match.containment == pytest.approx(best)
            assert held[tuple(questions[int(match.question)])] == pytest.approx(best)
            assert f" {match.span} " in f" {' '.join(text)} "


def contained(question: list[str], text: list[str], questions: list[list[str]]) -> float:
    """The share of a question's words that a text holds, or 0 where that is too little, by comparing words only."""
    if text == question:
        return 1.0
    if len(question) < 6:
        return 0.0  # these texts have no sentence marks
    size = min(8, len(question))
    asking = [
        sum(gram in grams(other, size) for other in {tuple(each) for each in questions})
        for gram in grams(question, size)
    ]
    worth = [1 / count if count <= 10 else 0 for count in asking]
    held = [value if gram in grams(text, size) else 0 for gram, value in zip(grams(question, size), worth, strict=True)]
    of_words = [
        sum(max(values[max(0, word - size + 1) : word + 1]) for word in range(len(question)))
        for values in (held, worth)
    ]
    if not sum(held):
        return 0.0
    share = of_words[0] / of_words[1]
    enough = sum(held) / sum(worth) >= 0.5 - 1e-12 or (len(question) >= 20 and share >= 0.6 - 1e-12)
    return share if enough else 0.0


def grams(found_words: list[str] | tuple[str, ...], size: int) -> list[tuple[str, ...]]:
    return [tuple(found_words[start : start + size]) for start in range(len(found_words) - size + 1)]


def test_what_is_found_does_not_depend_on_the_rows_around() -> None:
    made, chance = index(**QUESTIONS), random.Random(4)
    texts = [chance.choice([*QUESTIONS.values(), "nothing of that kind at all", ""]) + " ok" for _ in range(40_000)]
    together = made.find(pa.array(texts))
    alone = {text: found(made, text) for text in set(texts)}
    assert together == [(place, match) for place, text in enumerate(texts) if (match := alone[text])]
