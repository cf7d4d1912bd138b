"""Template leftovers: control tokens, headings and turns of a chat template, and placeholders nobody filled."""

import re
from collections.abc import Iterator
from functools import reduce

import polars as pl

from tasks.algorithms.leftovers import LEFTOVERS
from tasks.config import Config
from tasks.filters.row import Columns, Reading, Verdict

_EACH_HOLDS_ONE = (
    r"<[|｜]|_of_turn>|[be]os>|INST\]|SYS>>|</s>",
    r"## ?[A-Z][a-z]+ ?:|\{\{",
    r"Human ?:|Assistant ?:|USER ?:|ASSISTANT ?:",
    r"Below is an instruction that",
)
"""What leftovers hold, in Rust's syntax. A few literals at a time: its scan for many is three times as slow."""
_SPEAKER = re.compile(r"^[ \t]*(?:Human|Assistant|USER|ASSISTANT) ?:")
_ANY_SPEAKER = re.compile(r"^[ \t]*[A-Z][\w .'-]{0,30}:", re.M)
_ASKS_FOR_TURNS = re.compile(r"dialog|conversation|\bchat|\bscript|role-?play|interview|transcript|classif|label", re.I)
_PLACEHOLDER = re.compile(r"\{\{ ?[A-Za-z_][A-Za-z_ .]{0,40} ?\}\}")
_HOLDS_CODE = re.compile(r"[`<>;$]|\{%|templat|jinja|angular|vue|svelte|handlebar|mustache|placeholder|LaTeX", re.I)
_SHOWN_CHARACTERS = 30


class Leftovers(Config):
    """Drops rows that show their template: <|im_end|>, [INST], ### Response:, a next "Human:" turn, {{name}}."""

    enabled: bool = True
    """Whether the filter runs."""
    placeholders: bool = True
    """Also drop rows with an unfilled {{placeholder}}, unless they are about code or templates."""

    def suspects(self, rows: Columns) -> pl.Series:
        """The rows that may hold a leftover."""
        return reduce(pl.Series.__or__, (rows.text.str.contains(each) for each in _EACH_HOLDS_ONE))

    def __call__(self, row: Reading) -> Verdict | None:
        """A verdict for a row to drop."""
        for text in (row.prompt, row.answer, *_later_turns(row)):
            for found in LEFTOVERS.finditer(text):
                if _is_left(text, found, row):
                    return Verdict("template leftover", _around(text, found))
        if self.placeholders and not _HOLDS_CODE.search(row.prompt + row.answer):
            for text in (row.prompt, row.answer):
                if open_place := _PLACEHOLDER.search(text):
                    return Verdict("unfilled placeholder", _around(text, open_place))
        return None


def _later_turns(row: Reading) -> Iterator[str]:
    # One by one: some leftovers show only at the very end of a turn.
    return (message["content"] for message in row.messages if message["role"] in ("user", "assistant"))


def _is_left(text: str, found: re.Match[str], row: Reading) -> bool:
    if found[0].startswith("</s>"):
        # Struck-through text in HTML has a beginning.
        return "<s>" not in text[1 : found.start()]
    return not _SPEAKER.match(found[0]) or _is_run_on(text, found.start(), row)


def _is_run_on(text: str, start: int, row: Reading) -> bool:
    """Whether an answer runs on into the next turn, and is no dialogue that the prompt asked for."""
    if text is row.prompt or _ASKS_FOR_TURNS.search(row.prompt) or _ANY_SPEAKER.search(text, 0, start):
        return False
    return bool(text[:start].strip())


def _around(text: str, found: re.Match[str]) -> str:
    return text[max(0, found.start() - _SHOWN_CHARACTERS) : found.end() + _SHOWN_CHARACTERS]
