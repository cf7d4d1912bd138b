"""The page of a run's loss masks: sample rows token by token, what is trained in colour; one file, no script."""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import groupby
from typing import Any

from jinja2 import Template
from pydantic import Field

from tasks.config import Config
from tasks.reporting import wording
from tasks.reporting.html import html_environment
from tasks.reporting.values import Count, Share, Text, readable

_SIGNS = {"\n": "↵", "\t": "⇥", " ": "·", "\u00a0": "⍽"}
_MOST_NAMED = 12


class TokenFacts(Config):
    """A token as training has it."""

    id: int
    text: str
    """What it adds to those before it; nothing for the later tokens of one character."""
    trained: bool
    plain: bool = False
    """Whether it spells a control token and stays text."""
    special: bool = False
    """Whether it is a control token."""


class SampleFacts(Config):
    """A row, from where it is, and all of its texts."""

    row_id: Text
    source: Text
    file: Text
    line: Count
    split: Text
    kinds: tuple[Text, ...] = ()
    texts: tuple[tuple[TokenFacts, ...], ...]
    """The first tokens of each."""
    lengths: tuple[Count, ...]
    """All tokens of each text."""
    kept: tuple[Count | None, ...]
    """Tokens that training has of each text; none where it has all."""
    note: Text = ""
    """Where the row lies among the sequences."""


class FigureFacts(Config):
    """A source's texts (turn 0), or one number of their assistant's turns."""

    source: Text
    turn: Count
    texts: Count
    turns: Count
    proven_turns: Count
    tokens: Count
    trained_tokens: Count
    trained_share: Share


class EndFacts(Config):
    """What is trained behind answers, and behind how many."""

    end: Text
    turns: Count


class MaskPage(Config):
    """All that the page shows; its fields are those of the tables that the stage writes."""

    rows: Count
    """Rows that were looked at."""
    proven: Count
    faults: tuple[Text, ...] = ()
    """What is wrong with the others."""
    figures: tuple[FigureFacts, ...] = ()
    ends: tuple[EndFacts, ...] = ()
    samples: tuple[SampleFacts, ...] = Field(())


def render(facts: MaskPage) -> str:
    """The whole page as HTML text; every value is escaped by the template."""
    page = _template().render(facts=facts, sources=sources(facts), ends=facts.ends[:_MOST_NAMED])
    return page.lstrip()


def excerpts(rows: Iterable[Mapping[str, Any]], most: int = 4, tokens: int = 240) -> tuple[SampleFacts, ...]:
    """The first row of each of so many sources, as the stage's table has them.

    Of its first text so many tokens, as far as training has it.
    """
    chosen: dict[str, SampleFacts] = {}
    for row in rows:
        if row["split"] == "train" and row["source"] not in chosen and len(chosen) < most:
            seen = tokens if row["kept"][0] is None else min(tokens, row["kept"][0])
            first = {name: row[name][:1] for name in ("lengths", "kept")} | {"texts": [row["texts"][0][:seen]]}
            chosen[row["source"]] = SampleFacts.model_validate({**row, **first})
    return tuple(chosen.values())


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = html_environment()
    environment.globals.update(pieces=pieces, classes=classes)
    environment.filters.update(number=wording.number, percentage=wording.percentage, visible=visible)
    return environment.get_template("masks.html.j2")


def sources(facts: MaskPage) -> list[tuple[FigureFacts, list[FigureFacts | None]]]:
    """For each source its totals, and its figures of the first, second, third and later turns where it has them."""
    told = []
    for _, group in groupby(sorted(facts.figures, key=lambda each: (each.source, each.turn)), lambda each: each.source):
        by_turn = {each.turn: each for each in group}
        if 0 in by_turn:
            told.append((by_turn[0], [by_turn.get(turn) for turn in (1, 2, 3, 4)]))
    return told


def classes(token: TokenFacts) -> str:
    """The style names of a token: t trained, c control token, p spells one and stays text."""
    kinds = (("t", token.trained), ("c", token.special), ("p", token.plain))
    return " ".join(name for name, there in kinds if there)


def pieces(text: str) -> Iterator[tuple[bool, str]]:
    """A token's text in parts; true for signs that stand for what has no shape of its own."""
    blank = bool(text) and not text.strip()
    for is_sign, group in groupby(text, lambda character: _is_sign(character, blank)):
        part = "".join(group)
        yield is_sign, "".join(map(_sign, part)) if is_sign else part


def visible(text: str) -> str:
    """A text in one line, with signs for white space and for all else that has no shape."""
    return "".join(_sign(each) if _is_sign(each, each != " ") else each for each in text)


def _is_sign(character: str, blank: bool) -> bool:
    """White space within words needs none; controls, direction marks and the like always do."""
    return blank if character == " " else unicodedata.category(character)[0] in "CZ"


def _sign(character: str) -> str:
    sign = _SIGNS.get(character)
    if sign is None:
        shown = str(readable(character))
        sign = shown if shown != character and shown > " " and character != "\r" else f"⟨{ord(character):X}⟩"
    # A line break breaks the line as well.
    return f"{sign}\n" if character == "\n" else sign
