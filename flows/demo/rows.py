"""A row of the corpus before any format, and the exact similarity that keeps clean rows apart."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

SHINGLE_WORDS = 5
MAX_SIMILARITY = 0.7
"""Rows that are not planted copies stay below this, well under the 0.75 that the tests demand."""

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Turn:
    """One question and its answer."""

    user: str
    assistant: str


@dataclass(frozen=True)
class Row:
    """One conversation; `passage` is Alpaca's `input` column and belongs to the first question."""

    turns: tuple[Turn, ...]
    passage: str = ""

    @property
    def prompt(self) -> str:
        """Everything that the user says."""
        return " ".join([self.turns[0].user, self.passage, *(turn.user for turn in self.turns[1:])])

    @property
    def answer(self) -> str:
        """The last answer."""
        return self.turns[-1].assistant

    @property
    def text(self) -> str:
        """The whole conversation in reading order."""
        first, *later = self.turns
        rest = (part for turn in later for part in (turn.user, turn.assistant))
        return " ".join([first.user, self.passage, first.assistant, *rest])


def single(user: str, assistant: str) -> Row:
    """A conversation of one question and one answer."""
    return Row((Turn(user, assistant),))


def words(text: str) -> list[str]:
    """Lowercased words, punctuation dropped."""
    return _WORD.findall(text.lower())


def shingles(text: str, size: int = SHINGLE_WORDS) -> frozenset[str]:
    """All runs of `size` words; a shorter text is one shingle."""
    found = words(text)
    return frozenset(" ".join(found[start : start + size]) for start in range(max(1, len(found) - size + 1)))


def jaccard(left: frozenset[str], right: frozenset[str]) -> float:
    """Shared share of two sets, 0 to 1."""
    return len(left & right) / len(left | right)


class Apart:
    """Admits a row only while it stays unlike every row admitted before."""

    def __init__(self, max_similarity: float = MAX_SIMILARITY) -> None:
        """An empty collection."""
        self._max_similarity = max_similarity
        self._sets: list[frozenset[str]] = []
        self._holders: defaultdict[str, list[int]] = defaultdict(list)

    def nearest(self, text: str, ignore: Iterable[str] = ()) -> float:
        """Highest similarity to an admitted text, texts in `ignore` aside."""
        candidate = shingles(text)
        ignored = {shingles(other) for other in ignore}
        shared = Counter(holder for shingle in candidate for holder in self._holders.get(shingle, ()))
        return max(
            (
                count / (len(candidate) + len(self._sets[holder]) - count)
                for holder, count in shared.items()
                if self._sets[holder] not in ignored
            ),
            default=0.0,
        )

    def add(self, text: str) -> None:
        """Admit without asking."""
        candidate = shingles(text)
        for shingle in candidate:
            self._holders[shingle].append(len(self._sets))
        self._sets.append(candidate)

    def admit(self, text: str) -> bool:
        """Add the text when it is unlike all others; say whether it was."""
        if self.nearest(text) >= self._max_similarity:
            return False
        self.add(text)
        return True
