"""Words and letters that an answer must hold, must not hold, or must hold so many times.

Words are looked for as they stand, in either case. As in the reference, those that must be there may be a part of a
longer word ("cat" in "category"); those that must not, may not be words of their own.
"""

import re
from typing import Annotated

from pydantic import Field

from tasks.algorithms.constraints.counting import Count, Relation, holds

Word = Annotated[str, Field(min_length=1, pattern=r"\S")]
Letter = Annotated[str, Field(min_length=1, max_length=1)]
Words = Annotated[list[Word], Field(min_length=1)]


def existence(text: str, *, keywords: Words) -> bool:
    """Every keyword is there."""
    return all(_times(keyword, text) for keyword in keywords)


def frequency(text: str, *, keyword: Word, frequency: Count, relation: Relation) -> bool:
    """A keyword is there so many times."""
    return holds(_times(keyword.strip(), text), relation, frequency)


def forbidden_words(text: str, *, forbidden_words: Words) -> bool:
    """No forbidden word is there as a word of its own."""
    return not any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) for word in forbidden_words)


def letter_frequency(
    text: str,
    *,
    letter: Annotated[str, Field(min_length=1, max_length=1)],
    let_frequency: Count,
    let_relation: Relation,
) -> bool:
    """A letter, in either case, is there so many times; so is any other character that is asked for."""
    return holds(text.lower().count(letter.lower()), let_relation, let_frequency)


def _times(keyword: str, text: str) -> int:
    return len(re.findall(re.escape(keyword), text, re.IGNORECASE))
