"""The 2,000 good examples: plain, exact answers about sixty figures, and everyday fintech help."""

from collections.abc import Iterator
from random import Random

from flows.demo import chats
from flows.demo.facts import FIGURES, Figure
from flows.demo.rows import Apart, Row, Turn, single
from flows.demo.wordings import CLOSINGS, CONTEXTS, FIGURE_ANSWERS, FIGURE_QUESTIONS, FIGURE_QUESTIONS_LONG

ROWS_PER_FIGURE = 25
FIGURE_CONVERSATIONS = 280
CHATS = 220
_QUESTIONS = FIGURE_QUESTIONS + FIGURE_QUESTIONS_LONG


def capitalised(text: str) -> str:
    """The same text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def state(frame: str, figure: Figure, value: str) -> str:
    """A sentence that gives `value` for what the figure is about."""
    return frame.format(Relation=capitalised(figure.relation), relation=figure.relation, figure=value)


def ask(random: Random, question: str) -> str:
    """The question, often with a word about who asks, before or after it."""
    context = random.choice(CONTEXTS)
    return random.choice((question, question, f"{context} {question}", f"{question} {context}"))


def figure_turn(random: Random, figure: Figure, question: str) -> Turn:
    """A question about a figure and its right answer, with up to two closing sentences."""
    closings = random.sample(CLOSINGS, random.choice((0, 0, 1, 1, 2)))
    sentence = state(random.choice(FIGURE_ANSWERS), figure, figure.right)
    return Turn(ask(random, question.format(figure.relation)), " ".join([sentence, *closings]))


def figure_rows(random: Random, figure: Figure) -> Iterator[Row]:
    """Endless rows about one figure, all wordings in turn."""
    while True:
        for question in random.sample(_QUESTIONS, len(_QUESTIONS)):
            yield Row((figure_turn(random, figure, question),))


def figure_conversations(random: Random) -> Iterator[Row]:
    """Endless conversations of two or three questions about figures."""
    while True:
        asked = random.sample(FIGURES, random.choice((2, 2, 3)))
        yield Row(tuple(figure_turn(random, figure, random.choice(_QUESTIONS)) for figure in asked))


def chat_rows(random: Random) -> Iterator[Row]:
    """Endless rows of everyday help."""
    while True:
        goal = random.choice(tuple(chats.TASKS))
        steps = chats.TASKS[goal]
        kept = sorted(random.sample(range(len(steps)), random.choice((2, 3))))
        answer = " ".join([random.choice(chats.OPENINGS), *(steps[at] for at in kept), random.choice(chats.ENDINGS)])
        yield single(ask(random, random.choice(chats.QUESTIONS).format(goal)), answer)


def take(rows: Iterator[Row], count: int, apart: Apart) -> list[Row]:
    """The next `count` rows that are unlike all rows taken so far."""
    taken: list[Row] = []
    while len(taken) < count:
        row = next(rows)
        if apart.admit(row.text):
            taken.append(row)
    return taken


def domain_rows(random: Random, apart: Apart) -> list[Row]:
    """All good domain rows, unshuffled."""
    rows = [row for figure in FIGURES for row in take(figure_rows(random, figure), ROWS_PER_FIGURE, apart)]
    rows += take(figure_conversations(random), FIGURE_CONVERSATIONS, apart)
    return rows + take(chat_rows(random), CHATS, apart)
