"""`fettle diff`."""

import argparse
import json
from collections import Counter
from typing import Any

from flows import terminal
from flows.certificate_page import show_row_changes
from flows.cli import DONE
from flows.commands.showing import address_of
from flows.errors import RecipeError
from flows.labelled_fates import is_labelled, labelled_row_changes
from flows.row_changes import row_changes
from tasks.artifacts import runs
from tasks.artifacts.lineage import differences
from tasks.artifacts.store import Store


def diff(options: argparse.Namespace) -> int:
    """Compare two runs stage by stage and row by row, or two artifacts."""
    store = Store(options.store)
    fields: list[dict[str, Any]] = []
    for stage, before, after in _pairs(store, options.before, options.after):
        fields += [
            {"stage": stage, "field": change.place, "before": change.before, "after": change.after}
            for change in differences(store.manifest(before), store.manifest(after))
        ]
    was, now = runs.find(store, options.before), runs.find(store, options.after)
    tell = labelled_row_changes if was and now and is_labelled(was) and is_labelled(now) else row_changes
    rows = tell(store, was, now, options.rows) if was and now else None
    if options.json:
        terminal.answer({"fields": fields, "rows": rows.model_dump(mode="json") if rows else None})
        return DONE
    if fields:
        terminal.show_table([{key: _short(value) for key, value in row.items()} for row in fields])
    else:
        terminal.console.print("no difference")
    if rows and fields:
        show_row_changes(rows)
    return DONE


def _pairs(store: Store, before: str, after: str) -> list[tuple[str, str, str]]:
    """Stages of two runs that do the same, or two artifacts; a stage that one run lacks has nothing to be held to."""
    left, right = runs.find(store, before), runs.find(store, after)
    if left is None and right is None:
        return [("", address_of(store, before), address_of(store, after))]
    for name, found in ((before, left), (after, right)):
        if found is None:
            raise RecipeError(f"{name} is no run in {store.uri}, and the other is one; give two runs or two artifacts")
    addresses = [_by_part(run) for run in (left, right) if run is not None]
    return [(part, address, addresses[1][part]) for part, address in addresses[0].items() if part in addresses[1]]


def _by_part(run: runs.Run) -> dict[str, str]:
    """Addresses by what a stage does, and the how manieth that does it: models are measured one after another."""
    counted = Counter[str]()
    parts = {}
    for stage in run.stages:
        counted[stage.verb] += 1
        parts[f"{stage.verb} {counted[stage.verb]}" if counted[stage.verb] > 1 else stage.verb] = stage.address
    return parts


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:197]}…"
