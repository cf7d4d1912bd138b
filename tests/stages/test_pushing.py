"""A version that passed goes to the places that its recipe names, once; one that they refuse stays published."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.artifacts import aliases, registry
from tasks.artifacts.store import Store
from tasks.gate_record import GateRefusedError
from tasks.promotion import PublicationConfig, Published, approve, publish_passed, rollback
from tasks.pushing import MlflowTarget
from tests.servers.hub import HubServer
from tests.stages.candidates import candidate

HUB = PublicationConfig(push_to_hub="org/assistant")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(str(tmp_path / "store"))
    made.probe()
    return made


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        yield server


def publish(store: Store, config: PublicationConfig, verdict: str = "pass") -> Published:
    return publish_passed(store, config, "m", *candidate(store, verdict))


def test_the_files_of_a_version_go_to_a_private_repository_once(store: Store, hub: HubServer) -> None:
    published = publish(store, HUB)
    assert published.remarks == (f"pushed to {hub.endpoint}/org/assistant/commit/1",)
    assert hub.created == [{"name": "assistant", "organization": "org", "visibility": "private"}]
    assert hub.commits == [("Version 1 of m", {"README.md": b"w", "model.safetensors": b"w pass"})]
    assert hub.tokens == {"Bearer hf_secret"}
    assert publish(store, HUB).remarks == published.remarks
    assert len(hub.commits) == 1
    publish(store, HUB.model_copy(update={"push_to_hub": "org/other", "hub_private": False}))
    assert hub.created[-1] == {"name": "other", "organization": "org", "visibility": "public"}


def test_what_the_hub_refuses_stays_published_and_goes_with_the_next_run(store: Store, hub: HubServer) -> None:
    hub.refuse = True
    published = publish(store, HUB)
    assert (published.version, published.aliases) == (1, ("production",))
    assert "org/assistant on the Hub did not take it: " in published.remarks[0]
    assert "403" in published.remarks[0]
    assert published.remarks[0].endswith("run again to push it once more")
    hub.refuse = False
    assert publish(store, HUB).remarks == (f"pushed to {hub.endpoint}/org/assistant/commit/1",)
    assert [commit[0] for commit in hub.commits] == ["Version 1 of m"]


def test_a_token_comes_from_the_environment_alone(
    store: Store, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    published = publish(store, HUB)
    assert "HF_TOKEN is not set; set it and run again" in published.remarks[0]
    assert hub.tokens == set()
    assert published.aliases == ("production",)


def test_nothing_is_pushed_that_was_refused_or_waits(store: Store, hub: HubServer) -> None:
    with pytest.raises(GateRefusedError):
        publish(store, HUB, "fail")
    waiting = publish(store, HUB.model_copy(update={"approval": "person"}))
    assert waiting.waiting
    assert hub.created == []
    _, published = approve(store, "m", 1, by="Ada", note="")
    assert published.remarks == (f"pushed to {hub.endpoint}/org/assistant/commit/1",)
    assert aliases.aliases(store, "m") == {"production": 1}


def test_mlflow_that_is_not_installed_is_told(store: Store) -> None:
    if importlib.util.find_spec("mlflow") is not None:
        pytest.skip("MLflow is installed")
    published = publish(store, PublicationConfig(mlflow=MlflowTarget(tracking_uri="http://127.0.0.1:9")))
    assert "publication.mlflow needs MLflow, which is not installed; pip install mlflow" in published.remarks[0]
    assert published.aliases == ("production",)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_version_becomes_one_in_mlflows_registry_once(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    # Its runs' files go below the working folder unless a server says otherwise.
    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    config = PublicationConfig(mlflow=MlflowTarget(tracking_uri=uri, name="ours"))
    published = publish(store, config)
    assert published.remarks == (f"registered as models:/ours/1 in MLflow at {uri}",)
    store.files.delete("models/m/pushes")
    assert publish(store, config) == published
    (made,) = mlflow.MlflowClient(uri, uri).search_model_versions("name = 'ours'")
    assert (made.tags["fettle.version"], made.tags["fettle.verdict"]) == ("1", "pass")
    assert (Path(made.source.removeprefix("file://")) / "model.safetensors").read_bytes() == b"w pass"


def test_an_mlflow_that_does_not_answer_is_told(store: Store, tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    (tmp_path / "blocked").write_text("no folder")
    uri = f"sqlite:///{tmp_path}/blocked/mlflow.db"
    published = publish(store, PublicationConfig(mlflow=MlflowTarget(tracking_uri=uri)))
    assert published.remarks[0].startswith("m in MLflow did not take it: ")
    assert published.aliases == ("production",)


def test_a_token_that_cannot_be_sent_is_not_shown(
    store: Store, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret\nmore")
    (remark,) = publish(store, HUB).remarks
    assert "org/assistant on the Hub did not take it: " in remark
    assert "hf_secret" not in remark
    monkeypatch.setenv("HF_TOKEN", "hf_secret\n")
    assert publish(store, HUB).remarks[0].startswith("pushed to ")
    assert hub.tokens == {"Bearer hf_secret"}


def test_a_version_that_was_rolled_back_is_not_pushed_by_its_recipes_next_run(store: Store, hub: HubServer) -> None:
    publish_passed(store, PublicationConfig(), "m", *candidate(store, name="before"))
    hub.refuse = True
    assert "did not take it" in publish(store, HUB).remarks[0]
    rollback(store, "m", "production", by="Ada", why="it swears")
    hub.refuse = False
    (remark,) = publish(store, HUB).remarks
    assert remark.startswith("production points to version 1, as Ada wished")
    assert hub.commits == []


def test_weights_that_were_altered_with_their_record_are_not_pushed(store: Store, hub: HubServer) -> None:
    hub.refuse = True
    version = registry.version(store, "m", publish(store, HUB).version or 0)
    other = store.manifest(candidate(store, name="two").trained).files["model/model.safetensors"]
    store.files.replace(f"{version.folder}/model.safetensors", b"two pass")
    files = {**version.files, "model.safetensors": other.model_copy(update={"path": "model.safetensors"})}
    edited = version.model_copy(update={"files": files})
    store.files.replace(f"{version.folder}/{registry.RECORD}", edited.model_dump_json().encode())
    hub.refuse = False
    with pytest.raises(GateRefusedError, match="it was edited"):
        publish(store, HUB)
    assert hub.commits == []
