"""`fettle up`."""

import argparse
import signal
import time

from flows import terminal
from flows.cli import DONE
from flows.server import Server, ServerError


def up(options: argparse.Namespace) -> int:
    """Serve Prefect's UI over Fettle's own database until Ctrl-C."""
    server = Server(options.port, ui=True)
    try:
        server.wait()
        terminal.console.print(f"Prefect UI   {server.address}", markup=False)
        terminal.console.print(f"watch runs   export PREFECT_API_URL={server.address}/api", markup=False)
        terminal.console.print("Ctrl-C ends it.", markup=False)
        # A shell starts background jobs deaf to Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        while not server.has_ended:
            time.sleep(0.5)
        raise ServerError(f"the server ended by itself; see {server.log}")
    except KeyboardInterrupt:
        return DONE
    finally:
        server.stop()
