"""A second machine that joins a training, as a person starts it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks.artifacts.store import Store
from tests.flows.conftest import Fettle
from tests.trainer.test_nodes import free_endpoint

pytestmark = pytest.mark.xdist_group("flows-joining")  # one worker, as a server is started for each


def joined(endpoint: str) -> list[str]:
    return ["--set", "training.nodes=2", "--set", f"training.rendezvous={endpoint}"]


def test_nothing_is_left_to_join_once_it_is_trained(fettle: Fettle, store: Path) -> None:
    opened = Store(str(store))
    before = opened.files.sizes("")
    (trained,) = [address for address in opened.addresses() if address.startswith("training/")]
    answer = fettle(
        "join", "recipe.yaml", "--node-rank", "1", "--store", str(store), "--json", *joined("127.0.0.1:29500")
    )
    assert answer.code == 0, answer.err
    assert answer.json == {"training": trained}
    assert opened.files.sizes("") == before


@pytest.mark.parametrize(
    ("rank", "settings", "words"),
    [
        ("1", [], "training.nodes is 1, so there is no machine 1"),
        ("2", joined("127.0.0.1:29500"), "training.nodes is 2, so there is no machine 2"),
        ("0", joined("127.0.0.1:29500"), "0 is the machine with `fettle run`"),
        ("1", ["--set", "training.nodes=2"], "rendezvous is not set"),
    ],
)
def test_a_machine_that_is_not_one_of_them_is_refused(
    fettle: Fettle, store: Path, rank: str, settings: list[str], words: str
) -> None:
    answer = fettle("join", "recipe.yaml", "--node-rank", rank, "--store", str(store), *settings)
    assert answer.code == 2
    assert words in answer.err


@pytest.mark.soak
def test_two_machines_make_one_model(fettle: Fettle, store: Path) -> None:
    told = ["recipe.yaml", "--store", str(store), "--json", "--set", "training.seed=1", *joined(free_endpoint())]
    with ThreadPoolExecutor(1) as beside:
        running = beside.submit(fettle, "run", *told)
        answer = fettle("join", *told, "--node-rank", "1")
        ran = running.result()
    assert answer.code == 0, answer.err
    assert ran.code == 0, ran.err
    assert "machine 1 (the first is 0) of 2 machines at 127.0.0.1" in answer.err
    facts = Store(str(store)).manifest(answer.json["training"]).facts
    assert facts["processes"] == 2
    assert f"step {facts['steps']} of {facts['steps']}" in answer.err
