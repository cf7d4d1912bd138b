"""`fettle up`."""

import argparse
import signal
import sys
import time
from contextlib import nullcontext

from rich.text import Text

from flows import terminal
from flows.cli import DONE
from flows.commands.deploying import wanted
from flows.server import CLIENT_WORDS, SERVER_WORDS
from flows.together import Together

PENDING_SECONDS = 300
"""When a run that a worker took has crashed if it has not begun: on this machine nothing has to be brought first, and
one that was about to begin when an earlier `fettle up` ended would hold its slot."""


def up(options: argparse.Namespace) -> int:
    """Run server, workers and history page until Ctrl-C; raises `ServerError` where one of them fails."""
    began = time.monotonic()
    # A shell starts background jobs deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    together = Together(options.port, options.board_port)
    try:
        with nullcontext() if options.json else terminal.errors.status("starting"):
            asked = wanted(options).model_copy(update={"pending_seconds": PENDING_SECONDS})
            together.start(asked)
        addresses = {
            "ui": together.server.address,
            "api": together.server.client_settings["PREFECT_API_URL"],
            "history": f"{together.board_address}/history",
            "metrics": f"{together.board_address}/metrics",
            "store": asked.store_uri,
        }
        seconds = time.monotonic() - began
        if options.json:
            terminal.answer({**addresses, "seconds": seconds})
            sys.stdout.flush()  # to whoever waits for it
        else:
            _show(addresses, seconds, has_words=CLIENT_WORDS in together.server.client_settings)
        together.watch()
    except KeyboardInterrupt:
        return DONE
    finally:
        together.stop()


def _show(addresses: dict[str, str], seconds: float, *, has_words: bool) -> None:
    lines = {
        "Prefect UI": (addresses["ui"], "deployments, runs, schedules, approvals"),
        "history": (addresses["history"], "every run with its scores and its report"),
        "metrics": (addresses["metrics"], "for Prometheus"),
        "store": (addresses["store"], ""),
        "first run": ("Deployments, demo, Run, Quick run", "a model from made data, in minutes"),
        "in a shell": (f"export PREFECT_API_URL={addresses['api']}", ""),
    }
    if has_words:
        lines["sign in"] = (f"with what {SERVER_WORDS} says", "")
    width = max(len(what) for what, remark in lines.values() if remark)
    terminal.console.print(
        Text.assemble(("Fettle is up", "bold green"), f" after {seconds:.0f} s. Ctrl-C ends it all.")
    )
    for name, (what, remark) in lines.items():
        told = Text.assemble((f"  {name:<12}", "dim"), f"{what:<{width}}", (f"  {remark}", "dim"))
        told.rstrip()
        terminal.console.print(told)
