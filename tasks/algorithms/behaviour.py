"""What can be told from a generated answer without a judge."""

import re
from typing import NamedTuple

from tasks.algorithms.leftovers import LEFTOVERS
from tasks.algorithms.refusal import is_refusal
from tasks.conversation import words

ECHOED_WORDS = 8
"""So many of the prompt's first words are a copy of it; fewer are how people take up a question."""
LEAST_ECHOED_WORDS = 4
"""A shorter prompt is copied when the whole of it is; one of fewer words than this never is."""

LOOPED_CHARACTERS = 60
LOOPED_TIMES = 3
"""A text loops when its last characters, so many or more, are one piece so many times in a row."""
LOOPED_RUN = 3
LOOPED_LEAST_WORDS = 20
LOOPED_SHARE = 0.3
"""A text loops, too, when it has fewer different runs of three words than this, for each of its words."""

_APOLOGY = re.compile(
    r"\b(sorry|apolog(?:y|ies|i[sz]e[sd]?|i[sz]ing)|unfortunately|regret(?:s|fully|tably)?|forgive me)\b", re.I
)
_ASKS_TO_COPY = re.compile(r"\b(?:repeat|verbatim|echo|copy|recite|quote|(?:word|exactly) (?:for|as))", re.I)
_NEXT_TURN = re.compile(r"\n[ \t]*(?:\*\*)?(?:User|Human|USER|HUMAN) ?:")
_ASKS_FOR_TURNS = re.compile(r"dialog|conversation|\bchat|\bscript|role-?play|interview|transcript", re.I)
_SPEAKER = re.compile(r"[ \t]*(?:Human|Assistant|USER|ASSISTANT) ?:")


class Behaviour(NamedTuple):
    """How a model answered, whatever it said."""

    apology: bool
    """Says sorry."""
    refusal: bool
    """Declines the request in its opening."""
    echo: bool
    """Begins with a copy of the prompt."""
    loop: bool
    """Goes round in circles."""
    template_leak: bool
    """Shows control tokens or headings of a chat template, or writes the user's next turn."""
    not_ended: bool
    """Was cut at the limit of new tokens."""
    words: int
    distinct_2: float
    """Share of its pairs of neighbouring words that are different."""


def behaviour_of(prompt: str, text: str, ended: bool) -> Behaviour:
    """What an answer shows; the prompt is what the user said, without the template's words."""
    return Behaviour(
        apology=apologises(text),
        refusal=is_refusal(text),
        echo=echoes_prompt(prompt, text),
        loop=loops(text),
        template_leak=leaks_template(prompt, text),
        not_ended=not ended,
        words=len(words(text)),
        distinct_2=distinct_ngrams(text, 2),
    )


def apologises(text: str) -> bool:
    """True where an answer says sorry."""
    return _APOLOGY.search(text) is not None


def echoes_prompt(prompt: str, text: str) -> bool:
    """True where an answer begins with the prompt's first eight words, or with the whole of a shorter prompt (four
    words or more), and the prompt does not ask for that.

    Only the prompt's beginning: to correct or continue a text further down means to copy some of it.
    """
    asked = words(prompt)[:ECHOED_WORDS]
    if len(asked) < LEAST_ECHOED_WORDS or _ASKS_TO_COPY.search(prompt):
        return False
    return words(text)[: len(asked)] == asked


def loops(text: str) -> bool:
    """True where a text ends in one piece over and over, or has few different runs of three words for its length.

    Figures are none of these words: a numbered list of one and the same sentence is a loop.
    """
    if _tail_in_circles(text.rstrip()):
        return True
    found = [word for word in words(text) if not word.isdigit()]
    if len(found) < LOOPED_LEAST_WORDS:
        return False
    runs = set(zip(*(found[start:] for start in range(LOOPED_RUN)), strict=False))
    return len(runs) < LOOPED_SHARE * len(found)


def _tail_in_circles(text: str) -> bool:
    """Whether a text's end of 60 characters or more is one piece three times or more; the first may be incomplete.

    From the end on, the longest border of each beginning gives its shortest period (Knuth, Morris and Pratt 1977).
    """
    backwards = text[::-1]
    borders = [0] * len(backwards)
    border = 0
    for place in range(1, len(backwards)):
        while border and backwards[place] != backwards[border]:
            border = borders[border - 1]
        border += backwards[place] == backwards[border]
        borders[place] = border
        length = place + 1
        if length >= LOOPED_CHARACTERS and LOOPED_TIMES * (length - border) <= length:
            return True
    return False


def leaks_template(prompt: str, text: str) -> bool:
    """True where an answer shows its template: control tokens, role headings, or a next turn of the user's.

    Speakers' names are none where the prompt asks for a dialogue.
    """
    dialogue = _ASKS_FOR_TURNS.search(prompt) is not None
    if any(not (dialogue and _SPEAKER.match(found[0])) for found in LEFTOVERS.finditer(text)):
        return True
    return not dialogue and _NEXT_TURN.search(text) is not None


def distinct_ngrams(text: str, length: int) -> float:
    """Share of the n-grams of words that are different (distinct-n, Li et al. 2016, arXiv 1510.03055); 1 of none."""
    found = words(text)
    ngrams = list(zip(*(found[start:] for start in range(length)), strict=False))
    return len(set(ngrams)) / len(ngrams) if ngrams else 1.0


def holds_answer(text: str, answer: str) -> bool:
    """True where a text holds the answer as a whole figure or phrase.

    `$4` is not in `$4.50`, nor `12` in `312`, `-12`, `1,200` or `12 %`.
    """
    pattern = re.escape(" ".join(answer.casefold().split()))
    before = r"(?<![\w.,])(?<!\s-)(?<!^-)" if answer[:1].isalnum() else r"(?<!\w)"
    return re.search(rf"{before}{pattern}(?!\w|\s?%|[.,]\d)", " ".join(text.casefold().split())) is not None
