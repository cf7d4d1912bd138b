"""Rows in which somebody says nothing."""

from tasks.config import Config
from tasks.filters.row import Reading, Verdict


class Empty(Config):
    """Drops rows whose prompt or answer holds nothing but spaces."""

    enabled: bool = True
    """Whether the filter runs."""

    def __call__(self, row: Reading) -> Verdict | None:
        """A verdict for a row to drop."""
        if not row.prompt.strip():
            return Verdict("empty prompt", "")
        return None if row.answer.strip() else Verdict("empty answer", "")
