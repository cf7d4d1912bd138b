"""Data: from sources to token ids, on a machine without an accelerator, so that training finds it cached."""

from prefect import flow

from flows.pipeline import prepare
from flows.recipe import Recipe, find_inputs
from flows.shown.naming import run_name
from tasks.artifacts.store import DEFAULT_STORE, Store


@flow(name="data", flow_run_name=run_name)
def data(recipe: Recipe, store_uri: str = DEFAULT_STORE) -> str:
    """Ingest, curate, deduplicate, mix and tokenize; gives the address of the token ids.

    Args:
        recipe: The same as for training; only its data stages run.
        store_uri: Folder or s3://bucket/prefix of the artifacts.
    """
    store = Store(store_uri)
    store.probe()
    return prepare(recipe, find_inputs(recipe, to_run=False), store).tokenized.address
