"""Nothing is published but what the gate passed, and those very weights."""

import json
from pathlib import Path

import pytest

from tasks.artifacts import registry
from tasks.artifacts.errors import StoreError
from tasks.artifacts.manifest import Artifact, Counts, Identity
from tasks.artifacts.store import Store
from tasks.publication import GateRefusedError, PublicationConfig, register

register_now = register.fn
"""The task's function, as it runs inside a flow, but for the artifact that it leaves in the UI."""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    # The table for Prefect's UI needs a server; the flow tests look at it on a real one.
    monkeypatch.setattr("tasks.publication.create_markdown_artifact", lambda *_args, **_named: None)
    made = Store(str(tmp_path / "store"))
    made.probe()
    return made


def artifact(store: Store, stage: str, files: dict[str, bytes]) -> Artifact:
    identity = Identity(
        stage=stage, version=1, config={name: data.decode() for name, data in files.items()}, parents=()
    )
    with store.attempt(identity) as attempt:
        for name, data in files.items():
            attempt.write_file(name, data)
        attempt.counts = Counts(read=1, kept=1)
        return attempt.commit({})


def candidate(store: Store, verdict: str, name: str = "w", weights: str | None = None) -> tuple[Artifact, ...]:
    trained = artifact(store, "training", {"model/model.safetensors": f"{name} {verdict}".encode()})
    gates = {"verdict": verdict, "reason": "because", "weights": weights or trained.content, "scores": []}
    evaluated = artifact(store, "evaluation", {"gates.json": json.dumps(gates).encode()})
    publication = artifact(store, "publication", {"README.md": f"{name} {verdict}".encode()})
    return publication, evaluated, trained


def test_passed_weights_become_a_version_with_its_alias(store: Store) -> None:
    version = register_now(store, PublicationConfig(), "m", *candidate(store, "pass"))
    assert version.version == 1
    assert registry.aliases(store, "m") == {"production": 1}
    assert store.files.read(f"{version.folder}/model.safetensors") == b"w pass"


@pytest.mark.parametrize("verdict", ["fail", "underpowered", "investigate"])
def test_anything_else_is_refused(store: Store, verdict: str) -> None:
    with pytest.raises(GateRefusedError, match=f"the gate says {verdict}. because"):
        register_now(store, PublicationConfig(), "m", *candidate(store, verdict))
    assert registry.versions(store) == []


def test_a_drop_to_look_at_is_published_only_where_the_recipe_says_so(store: Store) -> None:
    lenient = PublicationConfig(accept_investigate=True)
    assert register_now(store, lenient, "m", *candidate(store, "investigate")).verdict == "investigate"
    with pytest.raises(GateRefusedError):
        register_now(store, lenient, "m", *candidate(store, "fail"))


def test_a_verdict_on_other_weights_publishes_nothing(store: Store) -> None:
    with pytest.raises(StoreError, match="the gate judged the weights 0123456789abcdef, not"):
        register_now(store, PublicationConfig(), "m", *candidate(store, "pass", weights="0123456789abcdef" * 4))
    assert registry.versions(store) == []


def test_registering_again_neither_repeats_nor_overrules_a_rollback(store: Store) -> None:
    first, second = candidate(store, "pass", "one"), candidate(store, "pass", "second")
    config = PublicationConfig()
    register_now(store, config, "m", *first)
    assert register_now(store, config, "m", *second).version == 2
    assert registry.aliases(store, "m") == {"production": 2}
    registry.point(store, "m", "production", 1)
    assert register_now(store, config, "m", *second).version == 2
    assert registry.aliases(store, "m") == {"production": 1}
    assert len(registry.versions(store)) == 2


def test_an_alias_that_a_crash_left_out_comes_with_the_next_run(store: Store) -> None:
    made = candidate(store, "pass")
    register_now(store, PublicationConfig(alias=None), "m", *made)
    assert registry.aliases(store, "m") == {}
    register_now(store, PublicationConfig(alias="staging"), "m", *made)
    assert registry.aliases(store, "m") == {"staging": 1}
