"""Structured lines from a trainer process to its parent: a marker and one JSON object."""

import json
import os
import sys
from typing import Any

MARKER = "\x1efettle "
"""ASCII record separator and the name: no library prints this by accident."""


def emit(event: str, **fields: Any) -> None:
    """Print one event line at once. Fields must be JSON values; NaN and infinity raise.

    Of several processes of one run the first speaks; any may tell that it failed.
    """
    if os.environ.get("RANK", "0") != "0" and event != "failed":
        return
    line = json.dumps({"event": event, **fields}, allow_nan=False)
    # A library may have left the cursor in the middle of a line; the newline in front keeps the marker at the start.
    # In one write, which print does not do, as several processes may speak into one pipe.
    sys.stdout.write(f"\n{MARKER}{line}\n")
    sys.stdout.flush()


def parse(line: str) -> dict[str, Any] | None:
    """The event of a line, or None when the line is ordinary text."""
    if not line.startswith(MARKER):
        return None
    try:
        event = json.loads(line[len(MARKER) :])
    except ValueError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None
