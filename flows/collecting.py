"""Garbage collection: what crashed runs left, and what nothing needs any more."""

from typing import Annotated

from prefect import flow
from prefect.artifacts import create_table_artifact
from pydantic import Field

from tasks.artifacts.store import DEFAULT_STORE, Store
from tasks.artifacts.sweeping import find_garbage, remove
from tasks.caching import logger


@flow(name="gc")
def gc(
    keep_runs: Annotated[int, Field(ge=0)] = 10,
    older_than_hours: Annotated[float, Field(ge=0)] | None = None,
    dry_run: bool = False,
    store_uri: str = DEFAULT_STORE,
) -> int:
    """Remove garbage from the store, or only list it; gives the bytes freed, or that would be.

    Args:
        keep_runs: Newest runs of each recipe whose artifacts stay.
        older_than_hours: Leave alone what is younger; 6, and 168 for checkpoints of unfinished trainings, if not set.
        dry_run: Only list it.
        store_uri: Folder or s3://bucket/prefix of the artifacts.
    """
    store = Store(store_uri)
    older_than_seconds = None if older_than_hours is None else 3600 * older_than_hours
    garbage = find_garbage(store, keep_runs=keep_runs, older_than_seconds=older_than_seconds)
    freed = sum(item.bytes for item in garbage) if dry_run else remove(store, garbage)
    verb = "would free" if dry_run else "freed"
    told = f"{verb} {freed:,} bytes in {len(garbage)} places"
    rows = [{"path": item.path, "bytes": item.bytes, "why": item.why} for item in garbage]
    create_table_artifact(rows, key="garbage", description=told)
    logger().info(told)
    return freed
