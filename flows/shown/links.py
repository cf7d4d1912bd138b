"""Where a run's report is read."""

import os

from tasks.artifacts.store import Store


def report_link(store: Store, run: str, publication: str) -> str:
    """Markdown that leads to the run's report: on the board where there is one, else its place in the store."""
    board = os.environ.get("FETTLE_BOARD_URL")
    if board and run:
        return f"[Report]({board.rstrip('/')}/reports/{run})"
    path = store.manifest(publication).files["report.html"].path
    return f"Report: `{store.uri}/{publication}/{path}`"
