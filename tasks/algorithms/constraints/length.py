"""How long an answer is: words, sentences, paragraphs."""

import re
from typing import Annotated

from pydantic import Field

from tasks.algorithms.constraints.counting import (
    Count,
    Relation,
    count_sentences,
    count_words,
    divided_paragraphs,
    holds,
    spaced_paragraphs,
)
from tasks.algorithms.constraints.keywords import Word

_FIRST_WORD = re.compile(r"[\"'“‘«]*([\w-]+)")


def number_words(text: str, *, num_words: Count, relation: Relation) -> bool:
    """There are so many words."""
    return holds(count_words(text), relation, num_words)


def number_sentences(text: str, *, num_sentences: Count, relation: Relation) -> bool:
    """There are so many sentences."""
    return holds(count_sentences(text), relation, num_sentences)


def number_paragraphs(text: str, *, num_paragraphs: Count) -> bool:
    """There are exactly so many paragraphs, divided by `***`; none of them is empty."""
    paragraphs = divided_paragraphs(text)
    # A divider before the first or behind the last paragraph divides nothing.
    blank = [place for place, paragraph in enumerate(paragraphs) if not paragraph.strip()]
    return all(place in (0, len(paragraphs) - 1) for place in blank) and len(paragraphs) - len(blank) == num_paragraphs


def nth_paragraph_first_word(
    text: str, *, num_paragraphs: Count, nth_paragraph: Annotated[int, Field(ge=1)], first_word: Word
) -> bool:
    """There are exactly so many paragraphs, divided by empty lines, and the n-th (from 1) begins with a word."""
    paragraphs = spaced_paragraphs(text)
    if len(paragraphs) != num_paragraphs or nth_paragraph > num_paragraphs:
        return False
    first = _FIRST_WORD.match(paragraphs[nth_paragraph - 1])
    return first is not None and first[1].lower() == first_word.lower()
