"""What every benchmark gives: items with an id, a cluster, a question, and what a right answer is."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tasks.algorithms.stratified import draw_order
from tasks.artifacts.resource import Resource
from tasks.config import Config
from tasks.formats.row import RowError
from tasks.sources import UnreadableFileError, read_rows

HELDOUT_ANSWERS = "held-out answers"
"""What generations for held-out prompts go by among the benchmarks: shown to people, scored by nobody."""


class BenchmarkError(Exception):
    """A benchmark that cannot be read, or holds no items. Never passed over: a gate that measures nothing lies."""


class Item(Config):
    """One question of a benchmark, and exactly what a model is given for it."""

    item_id: str
    cluster: str
    """Items that share a subject or passage, and so their errors; the strata of a draw."""
    question: str
    """The question as people read it and as decontamination looks for it; few-shot examples are no part of it."""
    choices: tuple[str, ...] = ()
    """The answers to choose from as people read them; none for a generated answer."""
    gold: tuple[int, ...] = ()
    """Indices of the right choices; several where several are true."""
    answer: str = ""
    """The right answer of a generated one, as people read it."""
    prompt: str = ""
    """The exact text that the model continues, behind `context`."""
    context: str = ""
    """Few-shot text in front of the prompt, byte-equal for all items that share it."""
    continuations: tuple[str, ...] = ()
    """The exact texts scored behind the prompt, one for each choice."""
    stop: tuple[str, ...] = ()
    """Texts that end a generated answer."""
    max_new_tokens: int | None = None
    """The benchmark's own limit for a generated answer; the recipe's when not set."""
    details: str = ""
    """JSON that the kind's own scoring needs."""


class Response(Config):
    """What a model made of one item."""

    loglikelihoods: tuple[float, ...] = ()
    """Natural log-likelihood of each continuation, summed over its tokens."""
    text: str = ""
    """The generated text."""
    ended: bool = True
    """Whether the generated text ended by itself, not at the limit of tokens."""


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


def item_id(row: Mapping[str, Any], place: str) -> str:
    """The row's own id, or where it lies."""
    given = row.get("id")
    return place if given is None or given == "" else str(given)


def drawn(items: Sequence[Item], most: int | None) -> list[Item]:
    """Items in their order, or `most` of them, each cluster its share, chosen by a hash of their ids.

    More of them hold all of fewer, so that items can be added to those that were answered.
    """
    if most is None or len(items) <= most:
        return list(items)
    order = draw_order([item.item_id for item in items], [item.cluster for item in items])
    return [items[place] for place in sorted(order[:most])]
