"""What each `fettle` command does: results go to standard output, progress to standard error.

Only the module of the command that was asked for is imported: Prefect alone takes seconds.
"""

import argparse
from collections.abc import Callable
from importlib import import_module

MODULES = {
    "run": "running",
    "demo": "running",
    "classify": "classifying",
    "join": "joining",
    "plan": "planning",
    "evaluate": "evaluating",
    "report": "reporting",
    "rate": "rating",
    "show": "showing",
    "diff": "comparing",
    "models": "publishing",
    "gc": "sweeping",
    "up": "serving",
    "deploy": "deploying",
    "history": "history",
    "board": "history",
    "schema": "describing",
}
"""Where each command's function lies; it bears the command's name."""


def command(name: str) -> Callable[[argparse.Namespace], int]:
    """The function of a command; gives the exit code."""
    found: Callable[[argparse.Namespace], int] = getattr(import_module(f"flows.commands.{MODULES[name]}"), name)
    return found
