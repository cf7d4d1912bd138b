"""Every question once: from the book where it was answered before, else from the judge; stored as answers come."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa

from tasks.artifacts.answer_book import AnswerBook
from tasks.judging.asked import Judge, Outcome, Reply, Request

KEPT = pa.schema(
    [
        ("key", pa.string()),
        ("text", pa.string()),
        ("input_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
        ("seconds", pa.float64()),
        ("tries", pa.int64()),
    ]
)
"""What is kept of an answer. Faults and what nobody can read are not kept: who asks again may have more luck."""
ANSWERS_PER_PART = 256
SECONDS_PER_PART = 20.0
VOID_ALREADY = "too many questions had gone unanswered by then"

Progress = Callable[[int, int | None, str], None]


@dataclass
class Asking:
    """The replies to some requests, as far as they have come."""

    requests: Mapping[str, Request]
    """By key."""
    book: AnswerBook
    max_unparsed: float
    progress: Progress
    replies: dict[str, Reply] = field(default_factory=dict)
    cached: int = 0
    _fresh: list[Reply] = field(default_factory=list)
    _stored_at: float = field(default_factory=time.monotonic)

    def recall(self) -> None:
        """Take what the book knows."""
        for key, row in self.book.known(self.requests).items():
            if self.requests[key].is_readable(row["text"]):
                self.replies[key] = Reply(key, "answered", **row)
        self.cached = len(self.replies)

    def ask(self, judge: Judge) -> None:
        """Ask the judge for the rest, until too many stay without an answer for the run to count."""
        missing = [request for key, request in self.requests.items() if key not in self.replies]
        try:
            if not self.is_void:
                judge.ask(missing, self._hear)
        finally:
            self._store()
        for request in missing:
            if request.key not in self.replies:
                self.replies[request.key] = Reply(request.key, "not asked", fault=VOID_ALREADY)

    @property
    def is_complete(self) -> bool:
        """Whether nobody needs to be asked any more."""
        return len(self.replies) == len(self.requests)

    def count(self, *outcomes: Outcome) -> int:
        """How many requests came to one of these."""
        return sum(reply.outcome in outcomes for reply in self.replies.values())

    @property
    def is_void(self) -> bool:
        """Whether too many are lost, whatever the others bring."""
        return self.count("unparsed", "failed") > self.max_unparsed * len(self.requests)

    def _take(self, reply: Reply) -> None:
        readable = reply.outcome != "answered" or self.requests[reply.key].is_readable(reply.text)
        self.replies[reply.key] = reply if readable else replace(reply, outcome="unparsed")

    def _hear(self, reply: Reply) -> bool:
        self._take(reply)
        if self.replies[reply.key].outcome == "answered":
            self._fresh.append(reply)
        if len(self._fresh) >= ANSWERS_PER_PART or time.monotonic() > self._stored_at + SECONDS_PER_PART:
            self._store()
        self.progress(len(self.replies), len(self.requests), "questions")
        return not self.is_void

    def _store(self) -> None:
        if self._fresh:
            rows = [{name: getattr(reply, name) for name in KEPT.names} for reply in self._fresh]
            self.book.add(pa.Table.from_pylist(rows, KEPT))
            self._fresh = []
        self._stored_at = time.monotonic()


def by_key(requests: Sequence[Request]) -> dict[str, Request]:
    """The requests, equal ones once, in their order."""
    return {request.key: request for request in requests}
