"""Alpaca rows: `instruction`, an optional `input`, `output` (or `response`); LLaMA-Factory's `system` and `history`."""

from collections.abc import Collection

from tasks.formats.calls import read_tools
from tasks.formats.checks import conversation
from tasks.formats.history import earlier
from tasks.formats.pairs import with_context
from tasks.formats.row import Conversation, Row, assistant, has, system_turn, text_field, user

NAME = "alpaca"
ANSWERS = ("response", "output")


def recognises(fields: Collection[str]) -> bool:
    """True for a row with an instruction and a place for its answer."""
    return "instruction" in fields and has(fields, *ANSWERS)


def read(row: Row) -> Conversation:
    """Instruction and input (Dolly: `context`), joined by a blank line, after the system's text and earlier turns."""
    prompt = with_context(text_field(row, "instruction", missing="no prompt"), text_field(row, "input", "context"))
    turns = [user(prompt), assistant(text_field(row, *ANSWERS, missing="no answer"))]
    return conversation([*system_turn(row), *earlier(row.get("history")), *turns], read_tools(row))
