"""Answers that say the same thing again and again."""

import polars as pl
from pydantic import Field

from tasks.algorithms.repetition import different_runs, repeated_lines
from tasks.algorithms.word_hashes import word_hashes
from tasks.config import Config
from tasks.conversation import words
from tasks.filters.row import Columns, Reading, Verdict

RUN_WORDS = 3
"""Words of a run. Single words repeat in every long text; runs repeat where a text goes round in circles."""
NGRAM_WORDS = 10
_BLANK = "".join(map(chr, range(0x21)))


class Repetition(Config):
    """Drops rows whose answer has too few different runs of three words for its length, or repeats n-grams or lines."""

    enabled: bool = True
    """Whether the filter runs."""
    min_unique_ratio: float = Field(0.3, ge=0, le=1)
    """Least number of different runs of three words for each word of the answer."""
    max_repeated_ngrams: float = Field(0.5, ge=0, le=1)
    """Largest share of the words that stand in a 10-gram which stood there before (Gopher, Rae et al. 2021, has 0.1
    for web pages; tables, code and worked sums of good answers have up to a half)."""
    max_repeated_lines: float = Field(0.5, ge=0, le=1)
    """Largest share of the lines that stood there before (Gopher has 0.3 for web pages)."""
    min_words: int = Field(20, ge=1)
    """Answers with fewer words are left alone: their share says little."""

    def suspects(self, rows: Columns) -> pl.Series:
        """The rows with few different runs, which a row with many repeated n-grams has too, or with repeated lines."""
        answers = rows.answer.to_arrow()
        found = word_hashes(answers)
        total = pl.Series(found.offsets[1:] - found.offsets[:-1])
        # Of the runs in a repeated n-gram each stood there before.
        runs_per_word = (NGRAM_WORDS - RUN_WORDS + 1) / NGRAM_WORDS
        ratio = max(self.min_unique_ratio, 1 - runs_per_word * self.max_repeated_ngrams)
        few = pl.Series(different_runs(found, RUN_WORDS)) <= total * ratio
        # Of fewer lines a smaller share can be repeats: all but the first.
        fewest = next(count for count in (2, 3, 4, 5) if count == 5 or 1 - 1 / count > self.max_repeated_lines)
        lines, repeated = map(pl.Series, repeated_lines(answers, fewest))
        return (total >= self.min_words) & (few | (repeated > lines * self.max_repeated_lines))

    def __call__(self, row: Reading) -> Verdict | None:
        """A verdict for a row to drop."""
        found = words(row.answer)
        if len(found) < self.min_words:
            return None
        ratio = len(_runs(found)) / len(found)
        if ratio < self.min_unique_ratio:
            return Verdict("repetitive", f"{ratio:.2f} different runs of {RUN_WORDS} words a word")
        share = _repeated_words(found) / len(found)
        if share > self.max_repeated_ngrams:
            return Verdict("repetitive", f"{share:.2f} of the words in {NGRAM_WORDS}-grams that stood there before")
        lines = [line for line in row.answer.split("\n") if line.strip(_BLANK)]
        share = 1 - len(set(lines)) / len(lines)
        if share > self.max_repeated_lines:
            return Verdict("repetitive", f"{share:.2f} of the lines stood there before")
        return None


def _runs(found: list[str]) -> set[tuple[str, ...]]:
    return set(zip(*(found[start:] for start in range(RUN_WORDS)), strict=False))


def _repeated_words(found: list[str]) -> int:
    """Words in n-grams that stood there before; behind such a one, the next is looked for (Gopher, A.1.1)."""
    seen: set[tuple[str, ...]] = set()
    place = repeated = 0
    while place + NGRAM_WORDS <= len(found):
        ngram = tuple(found[place : place + NGRAM_WORDS])
        step = NGRAM_WORDS if ngram in seen else 1
        repeated += step if step > 1 else 0
        seen.add(ngram)
        place += step
    return repeated
