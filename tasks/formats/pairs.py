"""Pairs of a question and its answer under the field's usual names."""

from collections.abc import Collection

from tasks.formats.calls import read_tools
from tasks.formats.checks import conversation
from tasks.formats.history import earlier
from tasks.formats.row import (
    Conversation,
    Row,
    assistant,
    first_set,
    has,
    require_wanted,
    system_turn,
    text_field,
    user,
)

NAME = "pairs"
PROMPTS = ("question", "query", "prompt", "instruction", "input")
ANSWERS = ("response", "answer", "output", "completion")


def recognises(fields: Collection[str]) -> bool:
    """True for a row with one of the prompt's names and one of the answer's."""
    return has(fields, *PROMPTS) and has(fields, *ANSWERS)


def read(row: Row) -> Conversation:
    """The question, with its `input` or `context`, and the answer, after the `system` text and the `history`."""
    require_wanted(row)
    turns = [user(question(row)), assistant(text_field(row, *ANSWERS, missing="no answer"))]
    return conversation([*system_turn(row), *earlier(row.get("history")), *turns], read_tools(row))


def question(row: Row) -> str:
    """What is asked, and what it is about, if the row tells that apart."""
    extra = ("input", "context") if first_set(row, *PROMPTS[:-1]) is not None else ("context",)
    return with_context(text_field(row, *PROMPTS, missing="no prompt"), text_field(row, *extra))


def with_context(prompt: str, context: str) -> str:
    """The prompt and what it is about, a blank line between them."""
    return f"{prompt}\n\n{context}" if context.strip() else prompt
