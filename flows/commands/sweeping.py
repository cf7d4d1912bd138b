"""`fettle gc`."""

import argparse

from flows import terminal
from flows.cli import DONE
from flows.errors import RecipeError
from tasks.artifacts import registry, runs
from tasks.artifacts.store import Store
from tasks.artifacts.sweeping import Garbage, find_garbage, remove


def gc(options: argparse.Namespace) -> int:
    """Remove garbage, or list it."""
    store = Store(options.store)
    if options.remove:
        garbage = [Garbage(path=options.remove.strip("/"), bytes=0, why="named on the command line")]
        if garbage[0].path.count("/") != 1 or garbage[0].path.split("/")[0] in (registry.FOLDER, runs.FOLDER):
            raise RecipeError(f"--remove {options.remove}: give one artifact as stage/fingerprint")
    else:
        older_than_seconds = None if options.older_than is None else 3600 * options.older_than
        garbage = find_garbage(store, keep_runs=options.keep_runs, older_than_seconds=older_than_seconds)
    freed = sum(item.bytes for item in garbage) if options.dry_run else remove(store, garbage)
    if options.json:
        terminal.answer({"dry_run": options.dry_run, "bytes": freed, "garbage": [g.model_dump() for g in garbage]})
        return DONE
    if garbage:
        terminal.show_table([{"path": item.path, "bytes": item.bytes, "why": item.why} for item in garbage])
    verb = "would free" if options.dry_run else "freed"
    terminal.console.print(f"{verb} {freed:,} bytes in {len(garbage)} places", markup=False)
    return DONE
