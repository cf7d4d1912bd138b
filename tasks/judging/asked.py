"""Requests to a judge and its replies, whichever judge it is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

from tasks.artifacts.fingerprint import digest
from tasks.judging.prompts import Question, read_grade, read_verdict

Outcome = Literal["answered", "unparsed", "failed", "not asked"]

_CHARACTERS_PER_TOKEN = 2
"""Fewer than any usual tokenizer needs for a token of running text, so that a reservation errs to the dear side."""


@dataclass(frozen=True)
class Request:
    """One question with all that decides its answer; equal requests have equal keys and are asked once."""

    question: Question
    max_tokens: int

    @cached_property
    def key(self) -> str:
        """Digest of everything that decides the answer, the judge aside."""
        question = self.question
        return digest({"system": question.system, "user": question.user, "max_tokens": self.max_tokens})

    def is_readable(self, text: str) -> bool:
        """Whether a judge's answer holds what was asked for."""
        read = read_verdict if self.question.form == "verdict" else read_grade
        return read(text) is not None

    @property
    def most_input_tokens(self) -> int:
        """More than the question can have."""
        return (len(self.question.system) + len(self.question.user)) // _CHARACTERS_PER_TOKEN + 64


@dataclass(frozen=True)
class Reply:
    """What came of a request."""

    key: str
    outcome: Outcome
    text: str = ""
    """The judge's answer."""
    fault: str = ""
    """Why there is none."""
    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0
    """From the first try to the answer, pauses included."""
    tries: int = 0


Hear = Callable[[Reply], bool]
"""Takes each reply as it comes; tells whether to go on."""


class Judge(Protocol):
    """Answers questions; a question that it cannot answer is a reply, too."""

    def ask(self, requests: Sequence[Request], hear: Hear) -> None:
        """Put the requests; each one's reply is heard once, in any order, until `hear` has had enough."""
        ...
