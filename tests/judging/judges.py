"""Judges of several characters, as the chat-completions server plays them, and questions for them."""

import re
from collections.abc import Callable, Mapping

from tests.servers.chat_completions import Answer

_BLOCK = re.compile(r"--- (\w+) begin: (?:answer of|conversation with) ([AB]) ---\n(.*?)\n--- \1 end:", re.DOTALL)


def shown(user: str) -> tuple[str, str]:
    """The two answers in a question, first the one that stands first."""
    found = {name: text for _mark, name, text in _BLOCK.findall(user)}
    return found["A"], found["B"]


def judge(prefers: Callable[[str, str], int]) -> Answer:
    """A judge who names A where this is positive, B where it is negative, and else a tie."""

    def answer(_system: str, user: str) -> str:
        if "begin: answer of A" not in user and "begin: conversation with A" not in user:
            return "It does what was asked.\n[[7]]"
        preference = prefers(*shown(user))
        verdict = "[[A]]" if preference > 0 else "[[B]]" if preference < 0 else "[[C]]"
        return f"I compared both answers.\n\n{verdict}"

    return answer


def right(worth: Mapping[str, float]) -> Answer:
    """Knows what each answer is worth; what it never saw is worth nothing."""
    return judge(lambda a, b: _sign(worth.get(a, 0) - worth.get(b, 0)))


def by_length(a: str, b: str) -> int:
    return _sign(len(a) - len(b))


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)
