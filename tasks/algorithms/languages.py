"""Which language a text is in, by the language model of langid (Lui and Baldwin 2012) in its faster fork."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache

MIN_LETTERS = 20
"""Texts with fewer letters are too short to tell."""
CHARACTERS_READ = 600
UNSURE = "unsure"


def language(text: str) -> str:
    """The ISO 639 code of the language that a text begins in, or "unsure" where it is too short."""
    beginning = text[:CHARACTERS_READ]
    if sum(map(str.isalpha, beginning)) < MIN_LETTERS:
        return UNSURE
    return _classifier()(beginning)[0]


def language_shares(texts: Iterable[str]) -> list[tuple[str, float]]:
    """Each language with its share of the texts, the commonest first, ties by name."""
    counts = Counter(language(text) for text in texts)
    total = counts.total()
    return [(name, count / total) for name, count in sorted(counts.items(), key=lambda each: (-each[1], each[0]))]


@cache
def _classifier() -> Callable[[str], Sequence[str]]:
    # The model takes half a second to load: only who asks for a language waits for it.
    from py3langid import classify

    found: Callable[[str], Sequence[str]] = classify
    return found
