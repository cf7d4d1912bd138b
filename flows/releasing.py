"""Publish and rollback: one run moves an alias, and refuses as the commands do."""

from typing import Annotated

from prefect import flow
from pydantic import Field

from tasks.artifacts.aliases import Move
from tasks.artifacts.store import DEFAULT_STORE, Store
from tasks.promotion import promote
from tasks.promotion import rollback as roll_back


@flow(name="publish", flow_run_name="{alias} of {model} to version {version}")
def publish(
    model: str,
    version: Annotated[int, Field(ge=1)],
    by: str,
    alias: str = "production",
    why: str = "promoted by hand",
    store_uri: str = DEFAULT_STORE,
) -> Move:
    """Let an alias point to a version that passed the gate and, where its recipe asks for it, was approved.

    Args:
        model: The name that the model is published under.
        version: Its number.
        by: Who moves it.
        alias: What is to point to it.
        why: Kept in the alias's history.
        store_uri: Folder or s3://bucket/prefix of the artifacts.
    """
    return promote(Store(store_uri), model, version, alias, by=by, why=why)


@flow(name="rollback", flow_run_name="{alias} of {model} one version back")
def rollback(
    model: str,
    by: str,
    alias: str = "production",
    why: str = "rolled back by hand",
    store_uri: str = DEFAULT_STORE,
) -> Move:
    """Let an alias point again to the version before; again and again, back to its first one.

    Args:
        model: The name that the model is published under.
        by: Who moves it.
        alias: What is to point there.
        why: Kept in the alias's history.
        store_uri: Folder or s3://bucket/prefix of the artifacts.
    """
    return roll_back(Store(store_uri), model, alias, by=by, why=why)
