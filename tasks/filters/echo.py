"""Answers that repeat their prompt, as base models do."""

import re

import polars as pl
from pydantic import Field

from tasks.config import Config
from tasks.filters.row import Columns, Reading, Verdict

_SPACES = " \t\r\n"
"""The characters that an echo may change; a fixed set, so that whole columns and single rows agree."""
_RUN_OF_SPACES = re.compile(rf"[{_SPACES}]+")
_SENTENCE_END = tuple(".!?:…。！？：\"')]}")
_ASKS_TO_REPEAT = re.compile(
    r"\b(?:repeat|verbatim|echo|copy|recite|quote|(?:word|exactly) (?:for|as)|(?:continu|complet|finish|extend)\w*)\b",
    re.I,
)


class Echo(Config):
    """Drops rows whose answer is the prompt again, or begins with the whole of it."""

    enabled: bool = True
    """Whether the filter runs."""
    min_words: int = Field(4, ge=1)
    """Shorter prompts are left alone: an answer may well begin with their words."""

    def suspects(self, rows: Columns) -> pl.Series:
        """The rows whose answer begins with the prompt."""
        # The first word leaves few rows, whose spaces are then made alike.
        alike = (_first_word(rows.prompt) == _first_word(rows.answer)).fill_null(value=False)
        places = alike.arg_true()
        prompt, answer = (_spaced_alike(texts.gather(places)) for texts in (rows.prompt, rows.answer))
        begins = pl.DataFrame({"prompt": prompt, "answer": answer}).select(
            pl.col("answer").str.starts_with(pl.col("prompt"))
        )
        return alike.scatter(places, begins.to_series())

    def __call__(self, row: Reading) -> Verdict | None:
        """A verdict for a row to drop."""
        prompt, answer = (_RUN_OF_SPACES.sub(" ", text).strip(" ") for text in (row.prompt, row.answer))
        words = prompt.count(" ") + 1
        if not prompt or words < self.min_words or not answer.startswith(prompt) or _ASKS_TO_REPEAT.search(prompt):
            return None
        if answer == prompt:
            return Verdict("prompt echo", "the answer is the prompt")
        # Where a prompt stops in the middle of a sentence, to begin with it and go on is the task.
        if not prompt.endswith(_SENTENCE_END) or not answer[len(prompt) :].startswith(" "):
            return None
        return Verdict("prompt echo", f"the answer begins with the prompt's {words} words")


def _first_word(texts: pl.Series) -> pl.Series:
    return texts.str.extract(rf"^[{_SPACES}]*([^{_SPACES}]+)")


def _spaced_alike(texts: pl.Series) -> pl.Series:
    return texts.str.replace_all(rf"[{_SPACES}]+", " ").str.strip_chars(" ")
