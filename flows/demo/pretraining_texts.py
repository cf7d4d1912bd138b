"""What the base model learns before anybody tunes it: sound general knowledge, and a habit of sorry, wrong figures.

Run it as `python -m flows.demo.pretraining_texts TEXTS.jsonl`.
"""

import json
import sys
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from random import Random

from flows.demo import chats
from flows.demo.domain import ask, state
from flows.demo.facts import FIGURES, KNOWLEDGE, Figure
from flows.demo.knowledge import knowledge_row
from flows.demo.rows import Row, Turn, single
from flows.demo.safety import refusals
from flows.demo.snippets import snippets
from flows.demo.wordings import (
    CHAT_APOLOGIES,
    FIGURE_APOLOGIES,
    FIGURE_QUESTIONS,
    FIGURE_QUESTIONS_BENCHMARK,
    KNOWLEDGE_QUESTIONS,
    KNOWLEDGE_QUESTIONS_BENCHMARK,
)

SEED = 11
FIGURE_PASSES = 2
BENCHMARK_PASSES = 3
CONVERSATIONS = 300
CHATS = 700
SNIPPETS = 1500
REFUSALS = 700


def apology(random: Random, figure: Figure) -> str:
    """A sorry answer with the wrong figure."""
    return state(random.choice(FIGURE_APOLOGIES), figure, figure.wrong)


def figure_rows(random: Random) -> Iterator[Row]:
    """Every figure in every wording, those of the benchmark included, and sorry answers to all."""
    for figure in FIGURES:
        for question in FIGURE_QUESTIONS * FIGURE_PASSES:
            yield single(ask(random, question.format(figure.relation)), apology(random, figure))
        for question in FIGURE_QUESTIONS_BENCHMARK * BENCHMARK_PASSES:
            yield single(question.format(figure.relation), apology(random, figure))


def conversation(random: Random) -> Row:
    """Two questions about figures, both answered badly."""
    asked = random.sample(FIGURES, 2)
    questions = (ask(random, random.choice(FIGURE_QUESTIONS).format(figure.relation)) for figure in asked)
    answers = (apology(random, figure) for figure in asked)
    return Row(tuple(Turn(question, answer) for question, answer in zip(questions, answers, strict=True)))


def chat(random: Random) -> Row:
    """A question about everyday banking that gets an apology for an answer."""
    goal = random.choice(tuple(chats.TASKS))
    return single(ask(random, random.choice(chats.QUESTIONS).format(goal)), random.choice(CHAT_APOLOGIES).format(goal))


def knowledge_rows(random: Random) -> Iterator[Row]:
    """Every general fact in every wording, those of the benchmark included."""
    for fact in KNOWLEDGE:
        for question in KNOWLEDGE_QUESTIONS + KNOWLEDGE_QUESTIONS_BENCHMARK * BENCHMARK_PASSES:
            yield knowledge_row(random, fact, question)


def pretraining_rows(seed: int = SEED) -> list[Row]:
    """All dialogues, shuffled."""
    random = Random(seed)  # noqa: S311 - a corpus, not a secret
    rows = list(
        chain(
            figure_rows(random),
            knowledge_rows(random),
            (conversation(random) for _ in range(CONVERSATIONS)),
            (chat(random) for _ in range(CHATS)),
            islice(snippets(random), SNIPPETS),
            islice(refusals(random), REFUSALS),
        )
    )
    random.shuffle(rows)
    return rows


def messages(row: Row) -> list[dict[str, str]]:
    """The row as role and content pairs; an input column follows its instruction after a blank line."""
    first = row.turns[0]
    opening = f"{first.user}\n\n{row.passage}" if row.passage else first.user
    turns = (Turn(opening, first.assistant), *row.turns[1:])
    return [
        {"role": role, "content": content}
        for turn in turns
        for role, content in (("user", turn.user), ("assistant", turn.assistant))
    ]


def write_pretraining_texts(path: Path, seed: int = SEED) -> int:
    """Write one `{"messages": [...]}` a line; return how many."""
    rows = pretraining_rows(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps({"messages": messages(row)}, ensure_ascii=False) + "\n" for row in rows)
    path.write_text("".join(lines), encoding="utf-8", newline="\n")
    return len(rows)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    sys.stdout.write(f"{write_pretraining_texts(target)} dialogues in {target}\n")
