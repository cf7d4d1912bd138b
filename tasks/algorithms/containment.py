"""Whether a text holds a known question: word n-grams shared with it, and where."""

import re
from collections import Counter
from dataclasses import dataclass, field

from tasks.conversation import words

NGRAM = 8
"""Words of an n-gram. Shorter questions count as one n-gram of their own length."""
MIN_WORDS = 4
"""Questions with fewer words ("What is it?") are matched only as a whole prompt."""
SHORT_WORDS = 6
"""Questions with fewer words ("What do you do?") are matched only as a whole prompt or a whole sentence of it."""
BOILERPLATE_QUESTIONS = 10
"""N-grams that more questions share are how a benchmark asks, not what."""
MIN_CONTAINMENT = 0.5
"""Share of a question's n-grams that a text must hold to hold the question."""

Gram = tuple[str, ...]

_SENTENCE = re.compile(r"[.!?:;。！？\n\"“”]+")


@dataclass(frozen=True)
class Match:
    """A question found in a text."""

    question: str
    containment: float
    span: str
    """The first n-gram shared, as words."""


@dataclass
class QuestionIndex:
    """Questions by their n-grams, to be looked up for many texts."""

    _grams: dict[Gram, set[int]] = field(default_factory=dict)
    _sentences: dict[Gram, int] = field(default_factory=dict)
    _whole: dict[Gram, int] = field(default_factory=dict)
    _names: list[str] = field(default_factory=list)
    _sizes: Counter[int] | None = None
    """Distinctive n-grams of each question; counted when the first text comes."""

    def add(self, name: str, text: str) -> None:
        """Take in a question under the name that evidence will show."""
        found = tuple(words(text))
        if not found:
            return
        index = len(self._names)
        self._names.append(name)
        self._sizes = None
        self._whole.setdefault(found, index)
        if MIN_WORDS <= len(found) < SHORT_WORDS:
            self._sentences.setdefault(found, index)
        elif len(found) >= SHORT_WORDS:
            for gram in set(_grams(found, min(NGRAM, len(found)))):
                self._grams.setdefault(gram, set()).add(index)

    def find(self, text: str) -> Match | None:
        """The question that a text holds most of, if it holds enough of any."""
        found = tuple(words(text))
        whole = self._whole.get(found)
        if whole is not None:
            return Match(self._names[whole], 1.0, " ".join(found))
        return self._most_contained(found) or self._sentence_of(text)

    def _most_contained(self, found: Gram) -> Match | None:
        sizes = self._distinctive()
        hits: dict[int, list[Gram]] = {}
        for size in range(SHORT_WORDS, NGRAM + 1):
            for gram in dict.fromkeys(_grams(found, size)):
                holders = self._grams.get(gram, ())
                for index in holders if len(holders) <= BOILERPLATE_QUESTIONS else ():
                    hits.setdefault(index, []).append(gram)
        best = max(hits, key=lambda index: (len(hits[index]) / sizes[index], -index), default=None)
        if best is None or len(hits[best]) / sizes[best] < MIN_CONTAINMENT:
            return None
        return Match(self._names[best], len(hits[best]) / sizes[best], " ".join(hits[best][0]))

    def _sentence_of(self, text: str) -> Match | None:
        for sentence in _SENTENCE.split(text) if self._sentences else ():
            found = tuple(words(sentence))
            index = self._sentences.get(found)
            if index is not None:
                return Match(self._names[index], 1.0, " ".join(found))
        return None

    def _distinctive(self) -> Counter[int]:
        if self._sizes is None:
            shared = (holders for holders in self._grams.values() if len(holders) <= BOILERPLATE_QUESTIONS)
            self._sizes = Counter(index for holders in shared for index in holders)
        return self._sizes


def _grams(found: Gram, size: int) -> list[Gram]:
    return [found[start : start + size] for start in range(len(found) - size + 1)]
