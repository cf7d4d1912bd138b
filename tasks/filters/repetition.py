"""Answers that say the same thing again and again."""

from pydantic import Field

from tasks.config import Config
from tasks.conversation import words
from tasks.filters.row import Reading, Verdict

RUN_WORDS = 3
"""Words of a run. Single words repeat in every long text; runs repeat where a text goes round in circles."""


class Repetition(Config):
    """Drops rows whose answer has too few different runs of three words for its length."""

    enabled: bool = True
    """Whether the filter runs."""
    min_unique_ratio: float = Field(0.3, ge=0, le=1)
    """Least number of different runs of three words for each word of the answer."""
    min_words: int = Field(20, ge=1)
    """Answers with fewer words are left alone: their share says little."""

    def __call__(self, row: Reading) -> Verdict | None:
        """A verdict for a row to drop."""
        found = words(row.answer)
        if len(found) < self.min_words:
            return None
        runs = set(zip(*(found[start:] for start in range(RUN_WORDS)), strict=False))
        ratio = len(runs) / len(found)
        if ratio >= self.min_unique_ratio:
            return None
        return Verdict("repetitive", f"{ratio:.2f} different runs of {RUN_WORDS} words a word")
