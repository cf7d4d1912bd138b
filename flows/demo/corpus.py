"""Write the demo's data: four dirty sources, two benchmarks and a list of every planted fault.

Run it as `python -m flows.demo.corpus FOLDER`.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from flows.demo.domain import domain_rows
from flows.demo.faults import (
    COPIES_ACROSS_SOURCES,
    PLANTED,
    Entry,
    figure_leaks,
    knowledge_leaks,
    near_duplicates,
    spoilt_entries,
)
from flows.demo.knowledge import general_rows
from flows.demo.layouts import FILES, WRITERS
from flows.demo.questions import Choice, Exact, exact_figures, general_knowledge
from flows.demo.rows import Apart, Row
from flows.demo.safety import safety_rows
from flows.demo.snippets import code_rows

SEED = 7
_OWN_FAULTS = ("empty", "malformed", "truncated", "repetitive", "refusal")


@dataclass(frozen=True)
class Place:
    """Where a record lies: `line` counts from 1, in data rows where the format has no lines."""

    source: str
    file: str
    line: int


@dataclass(frozen=True)
class Fault:
    """One planted fault, and what it copies or gives away, if anything."""

    kind: str
    source: str
    file: str
    line: int
    of: Place | None = None


@dataclass(frozen=True)
class Plan:
    """What was written where."""

    folder: Path
    rows: dict[str, int]
    faults: tuple[Fault, ...]


def clean_rows(random: Random, apart: Apart) -> dict[str, list[Row]]:
    """The good rows of every source, no two of them alike."""
    return {
        "domain": domain_rows(random, apart),
        "general": general_rows(random, apart),
        "code": code_rows(random, apart),
        "safety": safety_rows(random, apart),
    }


def with_copies(random: Random, clean: dict[str, list[Entry]], apart: Apart) -> dict[str, list[Entry]]:
    """Exact and near duplicates for every source; no row is copied twice."""
    spare = {source: random.sample(entries, len(entries)) for source, entries in clean.items()}
    copies: dict[str, list[Entry]] = {}
    for source in clean:
        exact = PLANTED["exact_duplicate"][source]
        originals = [spare[source].pop() for _ in range(exact - COPIES_ACROSS_SOURCES * (source == "general"))]
        if source == "general":
            single_turn = [entry for entry in spare["domain"] if len(entry.row.turns) == 1]
            originals += single_turn[:COPIES_ACROSS_SOURCES]
            spare["domain"] = [entry for entry in spare["domain"] if entry not in originals]
        copies[source] = [Entry(entry.row, "exact_duplicate", original=entry) for entry in originals]
    for source in clean:
        copies[source] += near_duplicates(random, source, spare[source], PLANTED["near_duplicate"][source], apart)
    return copies


def entries_by_source(random: Random, knowledge: list[Choice], figures: list[Exact]) -> dict[str, list[Entry]]:
    """Every record of every source, shuffled."""
    apart = Apart()
    clean = {source: [Entry(row) for row in rows] for source, rows in clean_rows(random, apart).items()}
    entries = {source: clean[source] + copies for source, copies in with_copies(random, clean, apart).items()}
    for kind in _OWN_FAULTS:
        for source, count in PLANTED[kind].items():
            entries[source] += spoilt_entries(random, kind, source, count, apart)
    entries["domain"] += figure_leaks(random, figures, PLANTED["benchmark_leak"]["domain"])
    entries["general"] += knowledge_leaks(random, knowledge, PLANTED["benchmark_leak"]["general"])
    for listing in entries.values():
        random.shuffle(listing)
    return entries


def planted_faults(entries: dict[str, list[Entry]], benchmarks: dict[str, Sequence[Choice | Exact]]) -> list[Fault]:
    """Where every fault came to lie."""
    places = {
        entry: Place(source, FILES[source], line)
        for source, listing in entries.items()
        for line, entry in enumerate(listing, start=1)
    }
    items = {
        item.id: Place(name, f"benchmarks/{name}.jsonl", line)
        for name, listing in benchmarks.items()
        for line, item in enumerate(listing, start=1)
    }
    return [
        Fault(entry.kind, **asdict(place), of=places[entry.original] if entry.original else items.get(entry.leaks))
        for entry, place in places.items()
        if entry.kind
    ]


def write_lines(path: Path, records: Sequence[Any]) -> None:
    """One dataclass instance a line."""
    lines = (json.dumps(asdict(record), ensure_ascii=False) + "\n" for record in records)
    path.write_text("".join(lines), encoding="utf-8", newline="\n")


def write_corpus(folder: Path, seed: int = SEED) -> Plan:
    """Write sources, benchmarks and `planted.jsonl` under `folder`, byte for byte the same for the same seed."""
    random = Random(seed)  # noqa: S311 - a corpus, not a secret
    knowledge, figures = general_knowledge(random), exact_figures()
    benchmarks: dict[str, Sequence[Choice | Exact]] = {"general_knowledge": knowledge, "exact_figures": figures}
    entries = entries_by_source(random, knowledge, figures)
    faults = planted_faults(entries, benchmarks)
    for name in ("sources", "benchmarks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for source, listing in entries.items():
        WRITERS[source](folder / FILES[source], listing)
    for name, items in benchmarks.items():
        write_lines(folder / "benchmarks" / f"{name}.jsonl", items)
    write_lines(folder / "planted.jsonl", faults)
    return Plan(folder, {source: len(listing) for source, listing in entries.items()}, tuple(faults))


if __name__ == "__main__":
    plan = write_corpus(Path(sys.argv[1]))
    sys.stdout.write(f"{plan.rows} rows and {len(plan.faults)} planted faults in {plan.folder}\n")
