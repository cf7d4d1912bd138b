"""`python -m flows.board --store URI --port N`: the board as a process of its own."""

import argparse
import os
import signal
from collections.abc import Sequence
from typing import Any

from flows.board.serving import serve


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal ends it."""
    parser = argparse.ArgumentParser(prog="python -m flows.board", description="Metrics, run history and reports.")
    parser.add_argument("--store", default=os.environ.get("FETTLE_STORE") or "fettle-store", metavar="URI")
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS")
    parser.add_argument("--port", type=int, default=4201, metavar="N", help="0 takes a free one")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    return serve(options.store, options.host, options.port)


def _interrupt(_number: int, _frame: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    raise SystemExit(main())
