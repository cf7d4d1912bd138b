"""Rows too short to teach or too long to fit."""

import polars as pl
from pydantic import model_validator

from tasks.config import Config
from tasks.filters.row import Columns, Reading, Verdict


class Length(Config):
    """Drops rows whose prompt or answers have too few or too many tokens of the model's own tokenizer."""

    enabled: bool = True
    """Whether the filter runs."""
    prompt_tokens: tuple[int, int] = (5, 512)
    """Fewest and most tokens of the first prompt."""
    answer_tokens: tuple[int, int] = (20, 2048)
    """Fewest and most tokens of all answers together."""

    @model_validator(mode="after")
    def _ordered(self) -> "Length":
        for name, (fewest, most) in (("prompt_tokens", self.prompt_tokens), ("answer_tokens", self.answer_tokens)):
            if not 0 <= fewest <= most:
                raise ValueError(f"{name} is [{fewest}, {most}]; give the fewest and the most, in that order")
        return self

    def suspects(self, rows: Columns) -> pl.Series:
        """The rows outside the limits."""
        return ~(
            rows.prompt_tokens.is_between(*self.prompt_tokens) & rows.answer_tokens.is_between(*self.answer_tokens)
        )

    def __call__(self, row: Reading) -> Verdict | None:
        """A verdict for a row to drop."""
        for what, tokens, (fewest, most) in (
            ("prompt", row.prompt_tokens, self.prompt_tokens),
            ("answer", row.answer_tokens, self.answer_tokens),
        ):
            if tokens < fewest:
                return Verdict(f"{what} too short", f"{tokens} tokens")
            if tokens > most:
                return Verdict(f"{what} too long", f"{tokens} tokens")
        return None
