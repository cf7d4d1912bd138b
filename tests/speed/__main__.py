"""`python -m tests.speed [PREFIX]`. Exit codes: 0 all measured, 1 a figure's check failed, 2 bad usage."""

import argparse
import sys
from pathlib import Path

from tests.speed import (
    data_half,
    dedup,
    evaluating,
    filters,
    overhead,
    packing,
    rerun,
    token_counts,
    tokenizing,
    training,
)
from tests.speed.bench import run
from tests.speed.figure import figures_of

MODULES = (rerun, overhead, dedup, filters, token_counts, tokenizing, packing, data_half, training, evaluating)
"""Every module with figures, in the order in which they are measured."""
LEDGER = Path(__file__).resolve().parents[2] / "build" / "bench.json"


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.speed", description="Side-by-side measurements.")
    parser.add_argument("prefix", nargs="?", default="", help="only figures whose name begins with this")
    return run(figures_of(MODULES), parser.parse_args().prefix, LEDGER)


if __name__ == "__main__":
    sys.exit(main())
