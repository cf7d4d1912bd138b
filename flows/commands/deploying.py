"""`fettle deploy`."""

import argparse
import os
from collections import Counter
from typing import TYPE_CHECKING

from flows import terminal
from flows.cli import DONE
from flows.errors import RecipeError
from flows.server import ServerError, require_answer

if TYPE_CHECKING:  # Prefect takes seconds to import
    from deployments.catalogue import Wanted
    from deployments.changes import Change


def deploy(options: argparse.Namespace) -> int:
    """Set up a server; a second time changes nothing."""
    require_server()
    from prefect.exceptions import PrefectHTTPStatusError

    from deployments.applying import apply

    try:
        changes = apply(wanted(options))
    except PrefectHTTPStatusError as error:
        if error.response.status_code not in (401, 403):
            raise
        raise ServerError(
            f"{os.environ['PREFECT_API_URL']} answers {error.response.status_code}: it wants other credentials. "
            "Set PREFECT_API_AUTH_STRING to its user:password, or PREFECT_API_KEY for Prefect Cloud."
        ) from None
    if options.json:
        terminal.answer([change.model_dump() for change in changes])
    else:
        show(changes)
    return DONE


def require_server() -> None:
    """Raise `ServerError` where no server is named or the one that is does not answer."""
    api_url = os.environ.get("PREFECT_API_URL")
    if not api_url:
        raise ServerError(
            "PREFECT_API_URL is not set; give it the address of the Prefect API to set up, such as "
            "https://prefect.example.org/api, or run `fettle up` for a server on this machine"
        )
    require_answer(api_url)


def wanted(options: argparse.Namespace) -> "Wanted":
    """What the command line asks for; raises `RecipeError` for what cannot be had."""
    from pydantic import ValidationError

    from deployments.catalogue import Wanted
    from flows.recipe import load_recipe

    recipes = tuple(load_recipe(path) for path in options.recipes)
    # What `fettle up` has no option for.
    more = {name: getattr(options, name, None) for name in ("cron", "webhook", "gpu_slots", "cpu_slots")}
    if more["webhook"] is None and os.environ.get("FETTLE_WEBHOOK_URL"):
        more["webhook"] = True
    try:
        return Wanted(store_uri=options.store, recipes=recipes, timezone=getattr(options, "timezone", "UTC"), **more)
    except ValidationError as error:
        raise RecipeError("; ".join(each["msg"].removeprefix("Value error, ") for each in error.errors())) from None


def show(changes: "list[Change]") -> None:
    """What was changed, a line each, and how much was not."""
    done = [change for change in changes if change.action != "unchanged"]
    if done:
        terminal.show_table([{"": change.action, "what": change.what, "name": change.name} for change in done])
        terminal.console.print()
    counts = Counter(change.action for change in changes)
    terminal.console.print(", ".join(f"{number} {action}" for action, number in counts.items()), markup=False)
