"""The demo: make the data, run the recipe, and tell what was found and what the model learned."""

import argparse
import shutil
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from flows import terminal
from flows.cli import DONE, REFUSED
from flows.commands.running import execute, print_outcome, report_location, score_rows
from flows.demo.corpus import Fault, Place, write_corpus
from flows.demo.tickets import write_tickets
from flows.errors import Result
from flows.presets import preset_file
from flows.recipe import load_recipe
from tasks.artifacts import runs
from tasks.artifacts.store import Store

Origin = tuple[str, str, int]
"""Source, file name and line of a row."""

EXPECTED = {
    "exact_duplicate": {"exact duplicate", "held-out overlap"},
    "near_duplicate": {"near duplicate", "held-out overlap"},
    "benchmark_leak": {"benchmark overlap", "held out"},
    "truncated": {"truncated"},
    "repetitive": {"repetitive"},
    "empty": {"empty answer", "empty prompt", "rejected"},
    "malformed": {"rejected"},
    "refusal": {"flagged"},
}
"""What must become of a planted row. An empty CSV field is a missing one, and so rejected."""
_NO_FAULT = {"flagged", "held out", "held-out overlap"}
"""What may become of a clean row; some say a held-out prompt and more."""


def tell(options: argparse.Namespace) -> int:
    """Write the data, run the preset, print the story; gives the exit code."""
    folder: Path = options.folder
    plan = write_corpus(folder)
    write_tickets(folder)
    recipe_path = lay_out(folder, options.preset)
    if not options.json:
        terminal.errors.print(f"{sum(plan.rows.values()):,} rows with {len(plan.faults):,} planted faults in {folder}")
    recipe = load_recipe(recipe_path)
    result, refusal = execute(recipe, options)
    store = Store(options.store)
    fates = row_fates(store, result)
    read = {source.name for source in recipe.sources}
    faults = fault_rows([fault for fault in plan.faults if fault.source in read], fates)
    scores = score_rows(store, result.evaluation)
    if options.json:
        report = report_location(store, result)
        terminal.answer(
            {**result.model_dump(), "faults": faults, "scores": scores, "refused": refusal, "report": report}
        )
    else:
        terminal.console.print()
        terminal.show_table(faults)
        terminal.console.print()
        terminal.show_table(scores)
        terminal.console.print()
        print_outcome(recipe, store, result, refusal)
        terminal.console.print("watch    make up, then http://127.0.0.1:4200", markup=False)
    return REFUSED if refusal else DONE


def lay_out(folder: Path, preset: str) -> Path:
    """Put the base model and the preset beside the data; gives the recipe's path."""
    here = Path(str(resources.files("flows.demo")))
    shutil.copytree(here / "base_model", folder / "base_model", dirs_exist_ok=True)
    target = folder / f"{preset}.yaml"
    shutil.copyfile(preset_file(preset), target)
    return target


def row_fates(store: Store, result: Result) -> dict[Origin, str]:
    """What became of every row that is not plainly trained on: `rejected`, `flagged` for refusals, `held out`, or the
    reason of its drop."""
    run = runs.find(store, result.run)
    stages = {record.stage: store.manifest(record.address).artifact for record in (run.stages if run else ())}
    fates: dict[Origin, str] = {}
    for row in store.rows(stages["curation"], "conversations"):
        if row["refusal"] or row["split"] == "heldout":
            fates[_origin(row)] = "flagged" if row["refusal"] else "held out"
    for row in store.rows(stages["ingestion"], "rejected"):
        fates[_origin(row)] = "rejected"
    for stage in ("curation", "deduplication"):
        for row in store.rows(stages[stage], "dropped"):
            fates[_origin(row)] = row["reason"]
    return fates


def _origin(row: Mapping[str, Any]) -> Origin:
    return row["source"], row["file"], row["line"]


def _place(place: Fault | Place) -> Origin:
    return place.source, Path(place.file).name, place.line


def fault_rows(faults: Sequence[Fault], fates: Mapping[Origin, str]) -> list[dict[str, object]]:
    """Planted against found, a row a kind; then the clean rows that were dropped, which should be none."""
    rows: list[dict[str, object]] = []
    touched: set[Origin] = set()
    for kind, expected in EXPECTED.items():
        planted = [fault for fault in faults if fault.kind == kind]
        found = sum(_was_found(fault, expected, fates) for fault in planted)
        touched |= {_place(fault) for fault in planted} | {_place(f.of) for f in planted if f.of}
        rows.append({"planted fault": kind.replace("_", " "), "planted": len(planted), "found": found})
    clean = sum(fate not in _NO_FAULT and origin not in touched for origin, fate in fates.items())
    rows.append({"planted fault": "clean rows dropped", "planted": 0, "found": clean})
    return rows


def _was_found(fault: Fault, expected: set[str], fates: Mapping[Origin, str]) -> bool:
    if fates.get(_place(fault)) in expected:
        return True
    # Of two copies one goes: the second, unless it is the one that the held-out side keeps.
    is_copy = fault.kind in ("exact_duplicate", "near_duplicate") and fault.of is not None
    return is_copy and fault.of is not None and fates.get(_place(fault.of)) in expected
