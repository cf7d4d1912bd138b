"""`fettle history`: all runs with what they came to; `fettle board` serves the same, with metrics."""

import argparse
from typing import Any

from flows import terminal
from flows.cli import DONE
from flows.errors import RecipeError
from flows.runs_over_time import run_facts
from tasks.artifacts import runs
from tasks.artifacts.store import Store
from tasks.reporting.over_time import RunFacts, render_over_time


def history(options: argparse.Namespace) -> int:
    """List the runs, the newest first, or write them as one self-contained page."""
    store = Store(options.store)
    found = runs.recent(store)
    if not found:
        raise RecipeError(f"no runs in {store.uri}; `fettle run RECIPE` makes one")
    facts = run_facts(store, found)
    if options.html is not None:
        options.html.parent.mkdir(parents=True, exist_ok=True)
        options.html.write_text(render_over_time(facts), encoding="utf-8")
    if options.json:
        terminal.answer([each.model_dump(mode="json") for each in facts])
    elif options.html is not None:
        terminal.console.print(f"history   {options.html}", markup=False)
    else:
        terminal.show_table([_row(each) for each in facts])
    return DONE


def _row(facts: RunFacts) -> dict[str, Any]:
    return {
        "run": facts.run,
        "recipe": facts.recipe,
        "began (UTC)": facts.at_utc,
        "outcome": facts.outcome,
        "gate": facts.verdict or "–",
        "version": " ".join([str(facts.version), *facts.aliases]) if facts.version is not None else "–",
        "seconds": facts.seconds,
        "changed": "; ".join(f"{name} {change}" for name, change in facts.changed.items()),
    }


def board(options: argparse.Namespace) -> int:
    """Serve metrics, history and reports of a store until Ctrl-C."""
    from flows.board.serving import serve

    return serve(options.store, options.host, options.port)
