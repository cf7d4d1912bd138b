"""Strings that a tokenizer reads as control tokens: where they stand in messages, and where they may come to stand."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import polars as pl
import pyarrow as pa

from tasks.algorithms.chat.layouts import LaidText
from tasks.algorithms.chat.symbolic_text import Piece
from tasks.algorithms.tokens.arrays import Flags

_MARKS = ("\ufdd0", "\ufdd1")
"""Noncharacters. A conversation that holds nearly all of them may be refused, but not if it is written as a column."""


@dataclass(frozen=True, eq=False)
class ControlTokens:
    """A set of spelled tokens, none of them empty."""

    spelled: tuple[str, ...]
    _borders: dict[tuple[str, str], tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=dict, repr=False)

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The leftmost, and of those the longest, as tokenizers find them."""
        return re.compile("|".join(map(re.escape, sorted(self.spelled, key=len, reverse=True))) or r"(?!)")

    def held_by(self, texts: pa.Array) -> Flags:
        """Which texts of a column hold one, or what rendering may use as a mark."""
        held = pl.Series(pl.from_arrow(texts)).str.contains_any([*self.spelled, *_MARKS])
        return held.fill_null(False).to_numpy()

    def opened_by(self, text: str) -> int:
        """How many characters at the end of a text may be the beginning of a token that ends behind it."""
        tail = text[-self._longest :] if self._longest else ""
        if not any(character in tail for character in self._openings):
            return 0
        return next((n for n in range(len(tail), 0, -1) if tail[-n:] in self._beginnings), 0)

    def closed_by(self, text: str) -> int:
        """How many characters at the beginning of a text may be the end of a token that begins before it."""
        head = text[: self._longest]
        if not any(character in head for character in self._closings):
            return 0
        return next((n for n in range(len(head), 0, -1) if head[:n] in self._ends), 0)

    def borders(self, before: str, behind: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What a text between two literals must not begin with, and not end with, lest it makes a token with them."""
        if (before, behind) not in self._borders:
            halves = list(self._halves())
            begins = {end[0] for begin, end in halves if before.endswith(begin)}
            ends = {begin for begin, end in halves if behind.startswith(end) or (behind and end.startswith(behind))}
            self._borders[before, behind] = tuple(sorted(begins)), tuple(sorted(ends))
        return self._borders[before, behind]

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self.spelled), default=1) - 1

    @cached_property
    def _beginnings(self) -> frozenset[str]:
        return frozenset(begin for begin, _ in self._halves())

    @cached_property
    def _ends(self) -> frozenset[str]:
        return frozenset(end for _, end in self._halves())

    @cached_property
    def _openings(self) -> frozenset[str]:
        return frozenset(token[0] for token in self.spelled if len(token) > 1)

    @cached_property
    def _closings(self) -> frozenset[str]:
        return frozenset(token[-1] for token in self.spelled if len(token) > 1)

    def _halves(self) -> Iterator[tuple[str, str]]:
        return ((token[:place], token[place:]) for token in self.spelled for place in range(1, len(token)))


@dataclass(frozen=True)
class ControlTokensOfRoles:
    """The assistant writes some tokens itself that nobody else may."""

    assistant: ControlTokens
    others: ControlTokens

    def of(self, role: str | None) -> ControlTokens:
        """The tokens that must not come from this role's texts."""
        return self.assistant if role == "assistant" else self.others


def control_tokens(special: Sequence[str], added: Sequence[str], template: str) -> ControlTokensOfRoles:
    """Special tokens for all; and for all but the assistant the added ones that the template's source writes."""
    always = dict.fromkeys(filter(None, special))
    written = dict.fromkeys(token for token in added if token and token in template)
    return ControlTokensOfRoles(ControlTokens((*always,)), ControlTokens((*(always | written),)))


def borders(laid: LaidText, roles: Sequence[str], tokens: ControlTokensOfRoles) -> list[tuple[Piece, str, str]] | None:
    """Beginnings (`startswith`) and ends (`endswith`) that the pieces of a text must not have; none if too much may
    happen because nothing stands between two pieces."""
    if not all(laid.literals[1:-1]):
        return None
    found = []
    for number, piece in enumerate(laid.pieces):
        begins, ends = tokens.of(roles[piece.field.message]).borders(*laid.literals[number : number + 2])
        found += [(piece, "starts_with", each) for each in begins] + [(piece, "ends_with", each) for each in ends]
    return found
