"""Which language and which case an answer is written in."""

from typing import Annotated

from pydantic import AfterValidator

from tasks.algorithms.constraints.counting import Count, Relation, holds, spaced_words
from tasks.algorithms.languages import identifier

MAY_WELL_BE = 0.05
"""Least probability of the language asked for, where another one is likelier."""


def _known(code: str) -> str:
    if code not in identifier().nb_classes:
        raise ValueError(f"{code!r} is no language that can be told; give a code such as en, hi or zh")
    return code


Language = Annotated[str, AfterValidator(_known)]


def response_language(text: str, *, language: Language) -> bool:
    """The answer as a whole is in a language, given by its ISO 639-1 code."""
    return _is_in(text, language)


def english_capital(text: str) -> bool:
    """All letters are capitals, and the language is English."""
    return text.isupper() and _is_in(text.lower(), "en")


def english_lowercase(text: str) -> bool:
    """No letter is a capital, and the language is English."""
    return text.islower() and _is_in(text, "en")


def capital_word_frequency(text: str, *, capital_frequency: Count, capital_relation: Relation) -> bool:
    """There are so many words in capitals; "I" and "A" are such words, and one with a hyphen is one word."""
    return holds(sum(map(str.isupper, spaced_words(text))), capital_relation, capital_frequency)


def _is_in(text: str, language: str) -> bool:
    """Whether a text is in a language or may well be, as a few words are in many; figures alone are in every one."""
    if not any(map(str.isalpha, text)):
        return True
    found = dict(identifier().rank(text))
    return bool(found.get(language, 0.0) >= min(MAY_WELL_BE, max(found.values())))
