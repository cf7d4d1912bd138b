"""Rows in which somebody says nothing."""

import polars as pl

from tasks.config import Config
from tasks.filters.row import SPACES, Columns, Reading, Verdict


class Empty(Config):
    """Drops rows whose prompt or answer holds nothing but spaces."""

    enabled: bool = True
    """Whether the filter runs."""

    def suspects(self, rows: Columns) -> pl.Series:
        """The rows whose prompt or answer holds nothing but spaces."""
        return _is_blank(rows.prompt) | _is_blank(rows.answer)

    def __call__(self, row: Reading) -> Verdict | None:
        """A verdict for a row to drop."""
        if not row.prompt.strip():
            return Verdict("empty prompt", "")
        return None if row.answer.strip() else Verdict("empty answer", "")


def _is_blank(texts: pl.Series) -> pl.Series:
    return texts.str.strip_chars_start(SPACES) == ""
