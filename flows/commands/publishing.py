"""`fettle models`."""

import argparse

from flows import terminal
from flows.cli import DONE
from tasks.artifacts import registry
from tasks.artifacts.store import Store


def models(options: argparse.Namespace) -> int:
    """List published models with their versions and aliases."""
    store = Store(options.store)
    rows = []
    for version in registry.versions(store, options.name):
        names = [alias for alias, number in registry.aliases(store, version.model).items() if number == version.version]
        rows.append(
            {
                "model": version.model,
                "version": version.version,
                "alias": ", ".join(sorted(names)),
                "verdict": version.verdict,
                "published": version.at,
                "folder": f"{store.uri}/{version.folder}",
            }
        )
    if options.json:
        terminal.answer(rows)
    elif rows:
        terminal.show_table(rows)
    else:
        terminal.console.print(f"no published model in {store.uri}", markup=False)
    return DONE
