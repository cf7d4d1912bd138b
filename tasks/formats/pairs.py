"""Pairs of a question and its answer under the field's usual names."""

from tasks.conversation import Message
from tasks.formats.row import Row, conversation, text_field

NAME = "pairs"
PROMPTS = ("question", "query", "prompt")
ANSWERS = ("response", "answer", "completion")


def recognises(row: Row) -> bool:
    """True for a row with one of `prompt`, `question`, `query` and one of `completion`, `response`, `answer`."""
    return any(name in row for name in PROMPTS) and any(name in row for name in ANSWERS)


def read(row: Row) -> list[Message]:
    """One user and one assistant turn, after a `system` field's text where there is one."""
    return pair(text_field(row, *PROMPTS), text_field(row, *ANSWERS), text_field(row, "system", optional=True))


def pair(prompt: str, answer: str, system: str = "") -> list[Message]:
    """A single-turn conversation."""
    opening: list[Message] = [{"role": "system", "content": system}] if system.strip() else []
    turns: list[Message] = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    return conversation([*opening, *turns])
