"""The shelf of filters. A new one is a module with a config class that judges a row, and a field here."""

from collections.abc import Iterator

from tasks.config import Config
from tasks.filters.empty import Empty
from tasks.filters.length import Length
from tasks.filters.repetition import Repetition
from tasks.filters.row import Reading, Verdict
from tasks.filters.truncation import Truncation


class CurationConfig(Config):
    """The filters, in the order in which they judge; the first to object gives the reason."""

    empty: Empty = Empty()
    """Rows in which somebody says nothing."""
    repetition: Repetition = Repetition()
    """Answers that say the same thing again and again."""
    truncation: Truncation = Truncation()
    """Answers that stop in the middle."""
    length: Length = Length()
    """Rows too short or too long, in tokens."""

    def judge(self, row: Reading) -> Verdict | None:
        """The first objection to a row, or none."""
        for each in self._enabled():
            verdict = each(row)
            if verdict is not None:
                return verdict
        return None

    def _enabled(self) -> Iterator[Empty | Repetition | Truncation | Length]:
        for each in (self.empty, self.repetition, self.truncation, self.length):
            if each.enabled:
                yield each
