"""`fettle show`."""

import argparse

from flows import terminal
from flows.certificate import Certificate, RowNotFoundError, certify, names_row
from flows.certificate_page import show_certificate
from flows.cli import DONE
from flows.errors import RecipeError
from flows.labelled_fates import newest_certificate
from flows.tokens_shown import show_tokens, tokens_of
from tasks.artifacts import runs
from tasks.artifacts.errors import StoreError
from tasks.artifacts.lineage import tree
from tasks.artifacts.store import Store


def show(options: argparse.Namespace) -> int:
    """Show the latest runs, one run or artifact with its lineage, or a row's whole way through a run."""
    store = Store(options.store)
    if options.what is None:
        if options.tokens:
            raise RecipeError("--tokens shows one row; name it by its id, source:line or file:line")
        return _show_runs(store, options)
    run = runs.find(store, options.what)
    is_row = run is None and names_row(options.what) and not _addresses(store, options.what)
    if options.run or options.tokens or is_row:
        return _show_row(store, options)
    if run is not None and not run.stages:
        raise StoreError(f"run {run.id} made no artifact: {run.message or run.outcome}")
    node = tree(store, run.stages[-1].address if run else address_of(store, options.what))
    if options.json:
        terminal.answer({"run": run.model_dump() if run else None, "lineage": node.model_dump(mode="json")})
        return DONE
    if run is not None:
        terminal.console.print(f"{run.recipe_name}  {run.id}  {run.outcome}  {run.message}\n", markup=False)
    terminal.show_tree(node)
    return DONE


def _show_row(store: Store, options: argparse.Namespace) -> int:
    if options.tokens:
        if newest_certificate(store, options.what, options.run):
            raise RecipeError(
                "--tokens shows which tokens of a conversation are trained; of a labelled text all are read"
            )
        row = tokens_of(store, options.what, options.run)
        if options.json:
            terminal.answer(row.model_dump(mode="json"))
        else:
            show_tokens(row)
        return DONE
    certificate = _certificate(store, options)
    if options.json:
        terminal.answer(certificate.model_dump(mode="json"))
    else:
        show_certificate(certificate)
    return DONE


def _certificate(store: Store, options: argparse.Namespace) -> Certificate:
    """Of the newest run that holds the row, of whichever kind, or of the run that is named."""
    labelled = newest_certificate(store, options.what, options.run)
    try:
        found = certify(store, options.what, options.run)
    except RowNotFoundError:
        if labelled is None:
            raise
        return labelled
    return max((found, labelled or found), key=lambda each: each.run)


def _show_runs(store: Store, options: argparse.Namespace) -> int:
    latest = runs.recent(store)[:20]
    if options.json:
        terminal.answer([run.model_dump() for run in latest])
        return DONE
    if not latest:
        terminal.console.print(f"no runs in {store.uri}", markup=False)
        return DONE
    terminal.show_table(
        [
            {
                "run": r.id,
                "recipe": r.recipe_name,
                "outcome": r.outcome,
                "seconds": r.seconds,
                "message": r.message[:80],
            }
            for r in latest
        ]
    )
    return DONE


def _addresses(store: Store, text: str) -> list[str]:
    return [each for each in store.addresses() if each.startswith(text) or each.split("/")[1].startswith(text)]


def address_of(store: Store, text: str) -> str:
    """An artifact's address from an address, or the beginning of a fingerprint or address."""
    matches = _addresses(store, text)
    if len(matches) != 1:
        begun = sum(run.id.startswith(text) for run in runs.recent(store))
        found = f"{len(matches)} artifacts" if matches else f"{begun} runs" if begun else "nothing"
        raise RecipeError(f"{text} names {found} in {store.uri}; give a run id (`fettle show`) or stage/fingerprint")
    return matches[0]
