"""A machine that lends its devices to a training which another machine runs: `fettle join`."""

import time
from collections.abc import Callable

from flows.errors import RecipeError
from flows.planning import Step, foretell
from flows.recipe import Inputs, Recipe, find_inputs
from tasks.artifacts.errors import StoreError
from tasks.artifacts.store import MARKER, Store
from tasks.trainer.launch import TrainerFailed
from tasks.training import take_part

SECONDS_BETWEEN_LOOKS = 5.0
SECONDS_BETWEEN_LINES = 60.0

LONGEST_WAIT_SECONDS = 24 * 3600.0
"""How long the first machine may take to compute the rows to train on."""


def take_part_in(recipe: Recipe, store: Store, node: int, tell: Callable[[str], None]) -> str:
    """Train with the other machines until it is done; gives the address of what was trained.

    Ends where the first machine ends for good; what may yet go on over there, it waits for. Writes nothing to the
    store. Raises `RecipeError` for a recipe that trains on one machine, or on fewer than `node` says.
    """
    if not 1 <= node < recipe.training.nodes:
        raise RecipeError(
            f"training.nodes is {recipe.training.nodes}, so there is no machine {node} beside the first, which is 0; "
            "set training.nodes and training.rendezvous alike on all machines"
        )
    inputs = find_inputs(recipe)
    while True:
        rows, training = _wait(recipe, inputs, store, tell)
        if training.status == "cached":
            return training.address
        tokenized = store.manifest(rows.address).artifact
        try:
            take_part(
                store, training.address, node, recipe.training, tokenized, inputs.base_model, inputs.adapter, tell
            )
        except TrainerFailed as failed:
            if not failed.transient:
                raise
            tell(f"{failed.message} Joining again.")
            time.sleep(SECONDS_BETWEEN_LOOKS)
        else:
            return training.address


def _wait(recipe: Recipe, inputs: Inputs, store: Store, tell: Callable[[str], None]) -> tuple[Step, Step]:
    """The steps that make the rows and that train on them, once the rows are there."""
    began, told = time.monotonic(), -SECONDS_BETWEEN_LINES
    while time.monotonic() - began < LONGEST_WAIT_SECONDS:
        # Before the first run there is no store, of which nothing could be asked.
        steps = {step.verb: step for step in foretell(recipe, inputs, store)} if store.files.read(MARKER) else {}
        if steps and steps["tokenize"].status == "cached":
            return steps["tokenize"], steps["train"]
        if time.monotonic() - told >= SECONDS_BETWEEN_LINES:
            told = time.monotonic()
            tell(f"waiting for the rows to train on in {store.uri}; start `fettle run` on the first machine")
        time.sleep(SECONDS_BETWEEN_LOOKS)
    raise StoreError(f"store {store.uri}: no rows to train on came in {LONGEST_WAIT_SECONDS / 3600:g} hours")
