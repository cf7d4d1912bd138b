"""How many sentences, words and paragraphs a text has, and whether that is as many as asked for."""

import re
from typing import Annotated, Literal
from unicodedata import category

from pydantic import Field

Relation = Literal["at least", "less than"]
Count = Annotated[int, Field(ge=0)]

_WORD = re.compile(r"\w+")
_SPACED_WORD = re.compile(r"\w+(?:[-'’./&]+\w+)*")
_DIVIDER = re.compile(r"\s?\*\*\*\s?")

_TITLE = re.compile(
    r"m(?:rs?|s|x|essrs)|dr|prof|rev|hon|st|gen|col|capt|cmdr|lt|sgt|maj|gov|sen|rep|pres|mt|ft|vs?|viz|cf|e\.?g|i\.?e"
)
"""Words whose point ends no sentence, since more always follows."""
_BEFORE_FIGURES = re.compile(
    r"nos?|figs?|eqs?|vols?|ch|sec|art|pp?|ca|approx|est|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec"
)
"""Words whose point ends no sentence where figures follow."""
_MAY_END = re.compile(r"etc|al|inc|ltd|co|corp|llc|bros|jr|sr|dept|univ|ph\.d")
"""Words whose point ends a sentence where a capital follows."""
_LETTERS = re.compile(r"[^\W\d_](?:\.[^\W\d_])+")
"""U.S., p.m.: their point ends a sentence where a word follows that many sentences begin with."""
_OPENER = re.compile(
    r"[\"'“‘«(\[*_]*(?:A|An|The|It|He|She|They|We|I|You|This|That|These|Those|There|In|On|At|But|And|So|As|If|For"
    r"|When|While|After|Before|However|Its|His|Her|Our|Their|My|Your|What|Who|How|Why|Where|Is|Are|Do|Not|No|Yes)\b"
)
_SENTENCE_END = re.compile(r"(?:(?<![.!?…])[.!?…]+(?=[\"'”’»)\]}*_]*(?:\s|$))|[。！？｡।॥؟۔]+)[\"'”’»)\]}*_」』]*")
_BEGINS_LIKE_A_SENTENCE = re.compile(r"[\"'“‘«(\[*_#\s-]*[^\W_a-z]")
_ITEM_NUMBER = re.compile(r"(?:^|\n)[\s*_#>-]*\(?(?:\d{1,3}|[A-Za-z]|[ivxlcIVXLC]{1,5})$")
_WINDOW = 20
"""Characters that are read before and behind a point."""


def holds(count: int, relation: Relation, threshold: int) -> bool:
    """Whether a count is "at least" the threshold, or "less than" it."""
    return count >= threshold if relation == "at least" else count < threshold


def count_words(text: str) -> int:
    """Runs of letters, digits and underscores: "don't" and "well-known" are two each, as the reference counts.

    The vowel signs of Hindi, Thai and their like belong to the word that they stand in.
    """
    if not text.isascii():
        text = "".join(character for character in text if not category(character).startswith("M"))
    return len(_WORD.findall(text))


def spaced_words(text: str) -> list[str]:
    """Words as people see them: "don't", "well-known" and "U.S.A" are one each."""
    return _SPACED_WORD.findall(text)


def divided_paragraphs(text: str) -> list[str]:
    """Paragraphs divided by `***`, blank ones included."""
    return _DIVIDER.split(text)


def spaced_paragraphs(text: str) -> list[str]:
    """Paragraphs divided by an empty line, blank ones left out."""
    return [paragraph.strip() for paragraph in text.split("\n\n") if paragraph.strip()]


def count_sentences(text: str) -> int:
    """Sentences end with a full stop, exclamation or question mark, and the last one with the text.

    Line breaks end none, nor do points of abbreviations, initials, decimals and item numbers. An ellipsis or the point
    of "etc." ends one where a capital follows. The reference asks NLTK's Punkt model of English instead, to which
    "1." is a sentence.
    """
    count, begin = 0, 0
    for found in _SENTENCE_END.finditer(text):
        if _WORD.search(text, begin, found.start()) and _ends_sentence(text, found):
            count, begin = count + 1, found.end()
    return count + (_WORD.search(text, begin) is not None)


def _ends_sentence(text: str, found: re.Match[str]) -> bool:
    mark = found[0].rstrip("\"'”’»)]}*_」』")
    behind = text[found.end() : found.end() + _WINDOW].lstrip()
    if mark.strip(".…") or not behind:
        return True
    before = text[max(0, found.start() - _WINDOW) : found.start()]
    more_begins = _BEGINS_LIKE_A_SENTENCE.match(behind) is not None
    if mark != ".":
        return more_begins
    spelled = before.split()[-1].lstrip("\"'“‘«([{*_-—") if before.split() else ""
    word = spelled.casefold()
    if _MAY_END.fullmatch(word):
        return more_begins
    if _TITLE.fullmatch(word) or _ITEM_NUMBER.search(before):
        return False
    if _BEFORE_FIGURES.fullmatch(word):
        return not behind[:1].isdigit()
    if _LETTERS.fullmatch(word):
        return _OPENER.match(behind) is not None
    # A single capital is an initial, but for the word I.
    return spelled == "I" or not (len(spelled) == 1 and spelled.isupper())
