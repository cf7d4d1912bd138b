"""Flows of somebody else's, which a worker runs while the operations are watched."""

import os
import time

from prefect import flow


@flow(name="fails")
def fails() -> None:
    """Fail at once, with words that a chat program would take for a command."""
    assert os.environ["CHORE_SECRET"]
    raise ValueError('no rows are left in "support"\n<!channel> & more')


@flow(name="sleeps")
def sleeps() -> None:
    """Run until killed."""
    time.sleep(600)
