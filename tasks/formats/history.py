"""Earlier turns in a `history` field: pairs, each a question and its answer."""

from typing import Any

from tasks.conversation import Message
from tasks.formats.json_text import parse
from tasks.formats.row import RowError, assistant, user


def earlier(history: Any) -> list[Message]:
    """The turns of a history, which is a list of pairs, or one as JSON text."""
    if isinstance(history, str):
        history = parse(history, "history", "wrong type") if history.strip() else None
    if not isinstance(history, list | None):
        raise RowError("wrong type", f"history is {type(history).__name__}, not a list of questions and answers")
    turns: list[Message] = []
    for pair in history or ():
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise RowError("wrong type", f"history holds {type(pair).__name__}, not pairs of question and answer")
        turns += [user(pair[0]), assistant(pair[1])]
    return turns
