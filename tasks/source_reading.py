"""What reading sources has in common, whatever their rows become: progress, rejects, and when there are too many."""

import os
from collections import Counter
from collections.abc import Sequence

from tasks.artifacts.resource import Resource
from tasks.artifacts.store import Attempt
from tasks.formats.row import RowError
from tasks.sources import UnreadableFileError


class TooManyRejectsError(Exception):
    """More rows are unreadable than the recipe allows."""


class Rejects:
    """Rows that cannot be read, by cause, with the place of the first of each."""

    def __init__(self) -> None:
        self.causes: Counter[str] = Counter()
        self.first: dict[str, str] = {}

    @property
    def total(self) -> int:
        """All of them."""
        return self.causes.total()

    def add(self, place: str, error: RowError) -> None:
        """Take in one row."""
        self.causes[error.cause] += 1
        self.first.setdefault(error.cause, f"{place} {error.detail}".strip())

    def merge(self, others: "Rejects") -> None:
        """Take in those of a later source."""
        self.causes += others.causes
        self.first = others.first | self.first

    def in_words(self) -> str:
        """The commonest causes with their first places."""
        commonest = self.causes.most_common(3)
        return "; ".join(f"{number:,} × {cause} (first: {self.first[cause]})" for cause, number in commonest)


def require_rows(source: Resource, read: int, rows: int, rejects: Rejects, max_reject_ratio: float) -> None:
    """A source that gives nothing fails by its name, however small it is beside the others."""
    name = source.facts["name"]
    if not read:
        raise UnreadableFileError(f"source {name}: {source.uri} holds no rows; check the address, or take it out")
    if not rows and max_reject_ratio < 1:
        raise TooManyRejectsError(
            f"source {name}: none of its {read:,} rows can be read: {rejects.in_words()}. "
            "Mend the source, map its fields, or take it out."
        )


def require_few(rejects: Rejects, read: int, max_reject_ratio: float) -> None:
    """Raise `TooManyRejectsError` where more rows are unreadable than may be."""
    if rejects.total > max_reject_ratio * read:
        raise TooManyRejectsError(
            f"{rejects.total:,} of {read:,} rows cannot be read, {rejects.total / read:.1%} where at most "
            f"{max_reject_ratio:.1%} may: {rejects.in_words()}. "
            "Mend the source, map its fields, or raise ingestion.max_reject_ratio."
        )


class Progress:
    """How much of all files has been read: in megabytes, or in files where some lie in an object store."""

    def __init__(self, out: Attempt, sources: Sequence[Resource]) -> None:
        self._out = out
        paths = [path for source in sources for path in source.paths.values()]
        self._weighed = all(os.path.isfile(path) for path in paths)
        self._sizes = {path: os.path.getsize(path) if self._weighed else 1 for path in paths}
        self._total = sum(self._sizes[path] for path in paths)
        self._done = self._within = 0

    def seen(self, size: int) -> None:
        """A piece of the current file was read."""
        self._within += size
        if self._weighed:
            self._report()

    def finish(self, path: str) -> None:
        """The current file was read to its end."""
        self._done += self._sizes[path]
        self._within = 0
        self._report()

    def _report(self) -> None:
        # A reader may take some bytes twice, as Parquet's footer.
        done = min(self._done + (self._within if self._weighed else 0), self._total)
        scale, unit = (1_000_000, "MB") if self._weighed else (1, "files")
        self._out.progress(done // scale, self._total // scale, unit)
