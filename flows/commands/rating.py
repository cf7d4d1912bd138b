"""`fettle rate`: people's ratings of a run's answers, from 1 to 5, on a sheet that hides who answered."""

import argparse
from pathlib import Path

from flows import terminal
from flows.cli import DONE
from flows.commands.reporting import named
from flows.errors import RecipeError
from tasks import ratings
from tasks.artifacts.store import Store


def rate(options: argparse.Namespace) -> int:
    """Write an empty sheet, or enter one that was filled in."""
    store = Store(options.store)
    run = named(store, options.run)
    address = next((stage.address for stage in reversed(run.stages) if stage.verb == "evaluate"), None)
    if address is None:
        raise RecipeError(f"run {run.id} came to no evaluation, so there is nothing to rate; {run.message}")
    samples = list(store.rows(store.manifest(address).artifact, "samples"))
    fingerprint = store.manifest(address).fingerprint
    if options.rater is None:
        path = options.sheet or Path(f"ratings-{run.id}.csv")
        if path.exists():
            raise RecipeError(f"{path} is there already, and may hold ratings; enter it with --rater, or name another")
        with path.open("x", encoding="utf-8", newline="") as sheet:
            sheet.write(ratings.write_sheet(samples))
        terminal.console.print(f"sheet    {path}", markup=False)
        terminal.console.print(f"then     fettle rate {run.id} --sheet {path} --rater NAME", markup=False)
        return DONE
    if options.sheet is None:
        raise RecipeError("--rater enters a sheet that was filled in; give it with --sheet")
    try:
        text = options.sheet.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"cannot read the sheet {options.sheet}: {error}; save it as CSV in UTF-8") from None
    given = ratings.read_sheet(text, samples)
    ratings.enter(store, fingerprint, options.rater, given)
    told = ratings.summary(ratings.entered(store, fingerprint))
    if options.json:
        terminal.answer({"rated": len(given), "summary": told.model_dump(mode="json") if told else None})
    else:
        terminal.console.print(f"rated    {len(given)} of {len(samples)} prompts by {options.rater}", markup=False)
        terminal.console.print(f"report   fettle report {run.id}", markup=False)
    return DONE
