"""Which language a text is in, by the language model of langid (Lui and Baldwin 2012) in its faster fork."""

from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

MIN_LETTERS = 20
"""Texts with fewer letters are too short to tell."""
CHARACTERS_READ = 600
UNSURE = "unsure"


def language(text: str) -> str:
    """The ISO 639 code of the language that a text begins in, or "unsure" where it is too short."""
    beginning = text[:CHARACTERS_READ]
    if sum(map(str.isalpha, beginning)) < MIN_LETTERS:
        return UNSURE
    found: str = identifier().classify(beginning)[0]
    return found


def language_shares(texts: Iterable[str]) -> list[tuple[str, float]]:
    """Each language with its share of the texts, the commonest first, ties by name."""
    counts = Counter(language(text) for text in texts)
    total = counts.total()
    return [(name, count / total) for name, count in sorted(counts.items(), key=lambda each: (-each[1], each[0]))]


@cache
def identifier() -> "LanguageIdentifier":
    """The model, which gives a text's likeliest language and its probability."""
    # Half a second, paid only where languages are asked for.
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
