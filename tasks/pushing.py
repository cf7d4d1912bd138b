"""Push: a published version to places outside of the store. What was pushed is recorded, and not pushed again."""

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import Field

from tasks.artifacts.fingerprint import digest
from tasks.artifacts.registry import FOLDER, Version, local_version, read_record
from tasks.artifacts.store import Store
from tasks.config import Config


class PushError(Exception):
    """A place outside of the store did not take the version; in the store it is published all the same."""


class MlflowTarget(Config):
    """A model in MLflow's registry."""

    tracking_uri: str = Field(pattern=r"^[^@]+$")
    """Where MLflow is, such as http://mlflow:5000; who one is there, the environment tells (MLFLOW_TRACKING_TOKEN)."""
    name: str | None = None
    """What the model is called there; its name in the recipe when not set."""


class Push(Config):
    """What was pushed where."""

    to: str
    url: str
    at: str


def push_to_hub(store: Store, version: Version, repository: str, *, private: bool) -> Push:
    """Upload a version's files to a repository on the Hub, made if it is not there. Raises `PushError`."""
    to = f"hub:{repository}"
    known = _known(store, version, to)
    if known is not None:
        return known
    token = os.environ.get("HF_TOKEN", "").strip()
    if not token:
        raise PushError(f"{repository} on the Hub was not pushed to: HF_TOKEN is not set; set it and run again")
    with local_version(store, version) as folder, _told(f"{repository} on the Hub"):
        from huggingface_hub import HfApi

        api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=token)
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            allow_patterns=sorted(version.files),
            commit_message=f"Version {version.version} of {version.model}",
        )
    return _record(store, version, to, str(commit.commit_url))


def push_to_mlflow(store: Store, version: Version, target: MlflowTarget) -> Push:
    """Log a version's files as a run's artifacts, and register them in MLflow. Raises `PushError`."""
    name = target.name or version.model
    to = f"mlflow:{target.tracking_uri}:{name}"
    known = _known(store, version, to)
    if known is not None:
        return known
    try:
        mlflow: Any = importlib.import_module("mlflow")
    except ImportError:
        raise PushError(
            "publication.mlflow needs MLflow, which is not installed; pip install mlflow, or take it out"
        ) from None
    with local_version(store, version) as folder, _told(f"{name} in MLflow"):
        client = mlflow.MlflowClient(target.tracking_uri, target.tracking_uri)
        # One that was made before its record could be written is taken up instead of made twice.
        made = _registered(client, name, version) or _register(client, name, version, folder)
    return _record(store, version, to, f"models:/{name}/{made.version}")


def _registered(client: Any, name: str, version: Version) -> Any:
    found = client.search_model_versions(f"name = '{name}'")
    return next((each for each in found if each.tags.get("fettle.publication") == version.publication), None)


def _register(client: Any, name: str, version: Version, folder: Path) -> Any:
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    experiment = client.get_experiment_by_name("fettle")
    experiment_id = experiment.experiment_id if experiment else client.create_experiment("fettle")
    run = client.create_run(experiment_id, run_name=f"{version.model} {version.version}")
    for file in version.files:
        client.log_artifact(run.info.run_id, str(folder / file), str(Path("model", file).parent))
    client.set_terminated(run.info.run_id)
    tags = {
        "fettle.publication": version.publication,
        "fettle.version": str(version.version),
        "fettle.verdict": version.verdict,
        "fettle.weights": version.weights,
    }
    return client.create_model_version(name, f"{run.info.artifact_uri}/model", run.info.run_id, tags)


_SECRETS = ("HF_TOKEN", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD")


@contextmanager
def _told(place: str) -> Iterator[None]:
    """Whatever a client raises, as one error in words."""
    try:
        yield
    except Exception as error:
        words = _without_secrets(" ".join(str(error).split()) or type(error).__name__)
        raise PushError(f"{place} did not take it: {words[:400]}; run again to push it once more") from error


def _without_secrets(words: str) -> str:
    """Clients repeat a header that they cannot send, and the secret in it."""
    # By its pieces: what cannot be sent in it, such as the end of a line, is spelt otherwise there.
    pieces = {piece for name in _SECRETS for piece in os.environ.get(name, "").split()}
    for piece in sorted(pieces, key=len, reverse=True):
        words = words.replace(piece, "***")
    return words


def _path(version: Version, to: str) -> str:
    return f"{FOLDER}/{version.model}/pushes/{version.version:04d}-{digest(to)[:16]}.json"


def _known(store: Store, version: Version, to: str) -> Push | None:
    return read_record(store, Push, _path(version, to), "to push again")


def _record(store: Store, version: Version, to: str, url: str) -> Push:
    made = Push(to=to, url=url, at=datetime.now(UTC).isoformat(timespec="seconds"))
    store.files.replace(_path(version, to), made.model_dump_json(indent=1).encode())
    return made
