"""The shelf of filters. A new one is a module with a config class that suspects and judges rows, and a field here."""

from typing import Any

from tasks.config import Config
from tasks.filters.echo import Echo
from tasks.filters.empty import Empty
from tasks.filters.format import Format
from tasks.filters.language import Language
from tasks.filters.leftovers import Leftovers
from tasks.filters.length import Length
from tasks.filters.personal import Personal
from tasks.filters.reading import Readings
from tasks.filters.repetition import Repetition
from tasks.filters.row import Columns, Filter, Reading, Verdict
from tasks.filters.truncation import Truncation
from tasks.filters.user import FilterError, User


class CurationConfig(Config):
    """The filters, in the order in which they judge; the first to object gives the reason."""

    empty: Empty = Empty()
    """Rows in which somebody says nothing."""
    leftovers: Leftovers = Leftovers()
    """Rows that show the template they were made with."""
    echo: Echo = Echo()
    """Answers that repeat their prompt."""
    repetition: Repetition = Repetition()
    """Answers that say the same thing again and again."""
    truncation: Truncation = Truncation()
    """Answers that stop in the middle."""
    format: Format = Format()
    """Answers in another form than the prompt asks for."""
    language: Language = Language()
    """Answers in another language than the data set is to hold."""
    personal: Personal = Personal()
    """Personal data and secrets: named in a column, blanked out, or a reason to drop the row."""
    length: Length = Length()
    """Rows too short or too long, in tokens."""
    user: tuple[User, ...] = ()
    """Filters of your own, by dotted name."""

    @property
    def filters(self) -> tuple[Filter, ...]:
        """Those that run, in their order."""
        first: list[Filter] = [self.empty, self.leftovers, self.echo, self.repetition, self.truncation, self.format]
        # Where personal data is flagged or blanked out, no row is dropped for it.
        drops: list[Filter] = [self.personal] if self.personal.action == "drop" else []
        every = [*first, self.language, *drops, self.length, *self.user]
        return tuple(each for each in every if each.enabled)

    def identity(self) -> dict[str, Any]:
        """As of every configuration; filters of one's own by what their code says, too."""
        return {**super().identity(), "user": [each.identity() for each in self.user]}

    def judge(self, row: Reading) -> Verdict | None:
        """The first objection to a row, or none."""
        return next((verdict for each in self.filters if (verdict := each(row)) is not None), None)

    def judge_all(self, rows: Readings, columns: Columns) -> dict[int, Verdict]:
        """The first objection to each row, by its place, where there is one; only suspects are looked at singly."""
        found: dict[int, Verdict] = {}
        for each in self.filters:
            places = [place for place in each.suspects(columns).arg_true().to_list() if place not in found]
            for place, row in zip(places, rows.rows(columns, places), strict=True):
                try:
                    verdict = each(row)
                except FilterError as error:
                    error.place = place
                    raise
                if verdict is not None:
                    found[place] = verdict
        return found
