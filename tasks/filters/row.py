"""What every filter sees."""

from typing import NamedTuple


class Reading(NamedTuple):
    """A conversation as filters see it: its first prompt, its answers joined, and their token counts."""

    prompt: str
    answer: str
    prompt_tokens: int
    answer_tokens: int


class Verdict(NamedTuple):
    """Why a row is dropped, and the figure or text that shows it."""

    reason: str
    evidence: str
