"""Trainings that go on from their last checkpoint, and results that a store takes at last."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.artifacts.checkpoints import Checkpoints, Mirror
from tasks.artifacts.errors import StoreError
from tasks.artifacts.store import Attempt
from tasks.caching import RETRY_DELAYS_SECONDS, logger


@contextmanager
def resumed(out: Attempt, folder: Path) -> Iterator[tuple[Mirror, Path | None]]:
    """What stores the checkpoints of a training while the block runs, and the one in `folder` that it goes on from.

    They are removed once the artifact is there.
    """
    checkpoints, log = Checkpoints(out.store, out.identity.address), logger()
    resume_from = checkpoints.restore(folder, log.warning)
    if resume_from is not None:
        log.info("going on from %s in %s/%s", resume_from.name, out.store.uri, checkpoints.where)
    mirror = Mirror(checkpoints, log.warning)
    finished = False
    try:
        yield mirror, resume_from
        finished = True
    finally:
        mirror.close(needed=not finished)
        if mirror.stored is not None and not finished:
            log.warning("%s is in %s; a retry and the same recipe go on from it", mirror.stored.name, out.store.uri)
    if mirror.failures:
        out.warn(
            f"{mirror.failures} checkpoints of this training could not be stored; had its machine been lost, more of "
            "it would have been computed again. The run's log tells why."
        )
    out.after_commit(checkpoints.remove)


def patiently(write: Callable[[], None]) -> None:
    """Write what a training left: one that is done is not lost to a store that fails for a moment."""
    for pause_seconds in RETRY_DELAYS_SECONDS:
        try:
            return write()
        except StoreError as error:
            if not error.transient:
                raise
            logger().warning("the trained model is not stored yet; trying again in %g s: %s", pause_seconds, error)
            time.sleep(pause_seconds)
    return write()
