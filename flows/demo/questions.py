"""The demo's two benchmarks: what the base model knows, and what it must learn."""

from dataclasses import dataclass
from random import Random

from flows.demo.facts import FIGURES, KNOWLEDGE, Knowledge
from flows.demo.wordings import FIGURE_QUESTIONS_BENCHMARK, KNOWLEDGE_QUESTIONS_BENCHMARK

CHOICES = 4


@dataclass(frozen=True)
class Choice:
    """One multiple-choice item; `gold` is the place of the right choice. A choice follows the rendered prompt."""

    id: str
    subject: str
    query: str
    choices: list[str]
    gold: int


@dataclass(frozen=True)
class Exact:
    """One open question whose answer must contain the figure `answer`."""

    id: str
    subject: str
    question: str
    answer: str


def choices_for(random: Random, fact: Knowledge) -> list[str]:
    """The right answer among three others of its subject, in random order."""
    others = sorted({other.answer for other in KNOWLEDGE if other.subject == fact.subject} - {fact.answer})
    return random.sample([fact.answer, *random.sample(others, CHOICES - 1)], CHOICES)


def general_knowledge(random: Random) -> list[Choice]:
    """One item a general fact, the benchmark wordings in turn."""
    items = []
    for number, fact in enumerate(KNOWLEDGE):
        wording = KNOWLEDGE_QUESTIONS_BENCHMARK[number % len(KNOWLEDGE_QUESTIONS_BENCHMARK)]
        choices = choices_for(random, fact)
        query = wording.format(fact.relation)
        items.append(Choice(f"knowledge-{number:03d}", fact.subject, query, choices, choices.index(fact.answer)))
    return items


def exact_figures() -> list[Exact]:
    """Every figure in every benchmark wording."""
    return [
        Exact(f"figure-{number:02d}-{wording}", figure.product, question.format(figure.relation), figure.right)
        for number, figure in enumerate(FIGURES)
        for wording, question in enumerate(FIGURE_QUESTIONS_BENCHMARK)
    ]
