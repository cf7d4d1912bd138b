"""What every benchmark gives: items with an id, a cluster, a question, and what a right answer is."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tasks.artifacts.fingerprint import digest
from tasks.artifacts.resource import Resource
from tasks.config import Config
from tasks.formats.row import RowError
from tasks.sources import UnreadableFileError, read_rows


class BenchmarkError(Exception):
    """A benchmark that cannot be read, or holds no items. Never passed over: a gate that measures nothing lies."""


class Item(Config):
    """One question of a benchmark."""

    item_id: str
    cluster: str
    """Items that share a subject or passage, and so their errors."""
    question: str
    choices: tuple[str, ...] = ()
    """The answers to choose from; none for a generated answer."""
    gold: int = -1
    """Index of the right choice."""
    answer: str = ""
    """The right answer, for a generated one."""


def rows_of(benchmark: Resource) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """A benchmark's rows with the place of each; a row that cannot be read is an error."""
    for file in benchmark.files:
        try:
            # All at once: that the file changed is told before what is wrong with it.
            for number, row, _raw in list(read_rows(benchmark, file)):
                if isinstance(row, RowError):
                    raise BenchmarkError(f"benchmark {benchmark.uri}: {file}:{number}: {row}")
                yield f"{file}:{number}", row
        except UnreadableFileError as error:
            raise BenchmarkError(f"benchmark {benchmark.uri}: {error}") from error


def required(row: Mapping[str, Any], place: str, *names: str) -> Any:
    """The first of the named fields that the row has."""
    for name in names:
        if row.get(name) is not None:
            return row[name]
    raise BenchmarkError(f"{place}: no {' or '.join(names)}; the row has {', '.join(sorted(map(str, row)))}")


def drawn(items: Sequence[Item], most: int | None) -> list[Item]:
    """Items in their order, or `most` of them chosen by a hash of their ids: never the first ones of a file."""
    if most is None or len(items) <= most:
        return list(items)
    chosen = {item.item_id for item in sorted(items, key=lambda item: digest(item.item_id))[:most]}
    return [item for item in items if item.item_id in chosen]
