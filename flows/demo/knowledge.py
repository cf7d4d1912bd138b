"""General rows in Alpaca's shape: what the base model knows and fine-tuning must not wipe out."""

from collections.abc import Iterator
from random import Random

from flows.demo.domain import capitalised, take
from flows.demo.facts import KNOWLEDGE, Knowledge
from flows.demo.rows import Apart, Row, Turn
from flows.demo.wordings import (
    KNOWLEDGE_ANSWERS,
    KNOWLEDGE_CLOSINGS,
    KNOWLEDGE_INPUTS,
    KNOWLEDGE_QUESTIONS,
    KNOWLEDGE_QUESTIONS_LONG,
)

ROWS_PER_FACT = 7
SHARE_WITH_PASSAGE = 0.15
_QUESTIONS = KNOWLEDGE_QUESTIONS + KNOWLEDGE_QUESTIONS_LONG


def knowledge_answer(random: Random, fact: Knowledge) -> str:
    """The answer first, then a sentence about it, sometimes a remark."""
    remarks = random.sample(KNOWLEDGE_CLOSINGS, random.choice((0, 0, 1, 1, 2)))
    frame = random.choice(KNOWLEDGE_ANSWERS)
    return " ".join([frame.format(answer=fact.answer, relation=fact.relation), *remarks])


def knowledge_row(random: Random, fact: Knowledge, question: str) -> Row:
    """A row that asks in the instruction, or now and then in the input column."""
    answer = knowledge_answer(random, fact)
    if random.random() < SHARE_WITH_PASSAGE:
        return Row((Turn(random.choice(KNOWLEDGE_INPUTS), answer),), passage=f"{capitalised(fact.relation)}")
    return Row((Turn(question.format(fact.relation), answer),))


def knowledge_rows(random: Random, fact: Knowledge) -> Iterator[Row]:
    """Endless rows about one fact, all wordings in turn."""
    while True:
        for question in random.sample(_QUESTIONS, len(_QUESTIONS)):
            yield knowledge_row(random, fact, question)


def general_rows(random: Random, apart: Apart) -> list[Row]:
    """All good general rows, unshuffled."""
    return [row for fact in KNOWLEDGE for row in take(knowledge_rows(random, fact), ROWS_PER_FACT, apart)]
