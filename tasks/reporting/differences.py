"""Which words of two answers differ, for marking them side by side."""

import re
from difflib import SequenceMatcher
from typing import NamedTuple

_IDEOGRAPH = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
# Scripts without spaces go character by character; everywhere else combining marks must stay with their letter.
_WORD = re.compile(rf"\s+|[{_IDEOGRAPH}]\s*|[^\s{_IDEOGRAPH},.;:!?]+\s*|[,.;:!?]+\s*")
# Below this similarity nearly every word would be marked, which tells a reader nothing.
LEAST_SIMILARITY = 0.3


class Piece(NamedTuple):
    """A run of text, marked or not."""

    text: str
    changed: bool


def word_differences(before: str, after: str) -> tuple[list[Piece], list[Piece]]:
    """Both texts in pieces, marked where the other has other words; unmarked when they have little in common."""
    old, new = _WORD.findall(before), _WORD.findall(after)
    matcher = SequenceMatcher(None, [word.strip() for word in old], [word.strip() for word in new])
    if matcher.ratio() < LEAST_SIMILARITY:
        return [Piece(before, changed=False)], [Piece(after, changed=False)]
    left: list[Piece] = []
    right: list[Piece] = []
    for kind, i, j, k, m in matcher.get_opcodes():
        left += _pieces("".join(old[i:j]), changed=kind != "equal")
        right += _pieces("".join(new[k:m]), changed=kind != "equal")
    return left, right


def _pieces(text: str, *, changed: bool) -> list[Piece]:
    """The text as a piece, the space behind a marked one apart, so that marks end with their word."""
    if not changed or not text.strip():
        return [Piece(text, changed=False)] if text else []
    marked = text.rstrip()
    return [Piece(marked, changed=True), *_pieces(text[len(marked) :], changed=False)]
