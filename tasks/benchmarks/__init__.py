"""The shelf of benchmarks. A new kind is a module with KIND, VERSION and items, and a line here."""

from typing import Any, Literal, Protocol

from pydantic import Field

from tasks.artifacts.resource import Resource
from tasks.benchmarks import generation, multiple_choice, truthfulqa
from tasks.benchmarks.asked import asked
from tasks.benchmarks.item import BenchmarkError, Item
from tasks.config import Config

BenchmarkKind = Literal["multiple_choice", "truthfulqa_mc1", "generation"]


class BenchmarkSource(Config):
    """One benchmark of a recipe."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """What the benchmark is called in tables and reports."""
    uri: str = Field(min_length=1)
    """Its file; relative paths begin at the recipe file."""
    kind: BenchmarkKind = "multiple_choice"
    """How its rows are read and scored."""
    prompt: Literal["question", "chat"] = "question"
    """Multiple choice only: ask "Question: … Answer:" as harnesses do, or in the model's own chat template."""
    gate: bool = True
    """Whether a drop on it can keep the model from being published."""
    max_items: int | None = Field(None, ge=1)
    """Most items to ask, chosen by a stable hash; all when not set."""

    def reading(self) -> dict[str, Any]:
        """What decides the items and how they are asked; the address and the gate do not."""
        version = KINDS[self.kind].VERSION
        return {**self.model_dump(include={"name", "kind", "prompt", "max_items"}), "version": version}


class Kind(Protocol):
    """A way in which rows hold items."""

    VERSION: int

    def items(self, benchmark: Resource) -> list[Item]: ...


KINDS: dict[str, Kind] = {each.KIND: each for each in (multiple_choice, truthfulqa, generation)}


def load_items(benchmark: Resource) -> list[Item]:
    """All items of a benchmark; raises `BenchmarkError` where there are none or two share an id."""
    items = KINDS[benchmark.facts["kind"]].items(benchmark)
    if not items:
        raise BenchmarkError(f"benchmark {benchmark.facts['name']}: {benchmark.uri} holds no items")
    ids = {item.item_id for item in items}
    if len(ids) != len(items):
        raise BenchmarkError(f"benchmark {benchmark.facts['name']}: {len(items) - len(ids)} items share their id")
    blank = [item.item_id for item in items if not item.question.strip()]
    if blank:
        raise BenchmarkError(f"benchmark {benchmark.facts['name']}: {len(blank)} items ask nothing, first {blank[0]}")
    return items


def questions(benchmark: Resource) -> list[tuple[str, str]]:
    """The name and the text of every question that no training row may hold, all of them whatever `max_items` says."""
    return asked(benchmark.facts["name"], load_items(benchmark))
