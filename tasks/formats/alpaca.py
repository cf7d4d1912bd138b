"""Alpaca rows: `instruction`, an optional `input`, `output` (or `response`); LLaMA-Factory's `system` and `history`."""

from typing import Any

from tasks.conversation import Message
from tasks.formats.row import Row, RowError, conversation, text_field

NAME = "alpaca"


def recognises(row: Row) -> bool:
    """True for a row with an instruction and a place for its answer."""
    return "instruction" in row and ("output" in row or "response" in row)


def read(row: Row) -> list[Message]:
    """Instruction and input, joined by a blank line, as the user's turn, after the system's text and earlier turns."""
    instruction, extra = text_field(row, "instruction"), text_field(row, "input", optional=True)
    prompt = f"{instruction}\n\n{extra}" if extra.strip() else instruction
    answer = text_field(row, "response", "output")
    system = text_field(row, "system", optional=True)
    opening: list[Message] = [{"role": "system", "content": system}] if system.strip() else []
    turns: list[Message] = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    return conversation([*opening, *_earlier(row.get("history")), *turns])


def _earlier(history: Any) -> list[Message]:
    """The turns of `history`: a list of pairs, each a question and its answer."""
    if not isinstance(history, list | None):
        raise RowError("wrong type", f"history is {type(history).__name__}, not a list of questions and answers")
    turns: list[Message] = []
    for pair in history or ():
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise RowError("wrong type", f"history holds {type(pair).__name__}, not pairs of question and answer")
        turns += [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
    return turns
