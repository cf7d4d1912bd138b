"""A store with hundreds of runs, each with an evaluation and a published version of its own, without running them."""

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from tasks.artifacts.fingerprint import digest
from tasks.artifacts.manifest import Identity, Manifest, Part, content_of
from tasks.artifacts.registry import RECORD, Version, version_folder
from tasks.artifacts.runs import Run, StageRecord
from tasks.artifacts.store import MANIFEST, Store

VERDICTS = ("pass", "pass", "fail", "investigate")


def add_runs(folder: Path, count: int, recipes: int) -> None:
    """Add runs to a store that has one: copies of it at other times, with artifacts that differ."""
    store = Store(str(folder))
    (path,) = (folder / "runs").rglob("*.json")
    run = Run.model_validate_json(path.read_bytes())
    began = datetime.fromisoformat(run.started)
    for number in range(count):
        name = f"recipe-{number % recipes}"
        at = began + timedelta(hours=number + 1)
        stages = tuple(_other(store, stage, number) if stage.verb == "evaluate" else stage for stage in run.stages)
        made = run.model_copy(
            update={
                "id": f"{at:%Y%m%d-%H%M%S}-{number:04x}",
                "recipe_name": name,
                "recipe": {**run.recipe, "name": name},
                "started": at.isoformat(timespec="seconds"),
                "stages": stages,
                "version": number // recipes + 1,
            }
        )
        _write(folder / made.path, made.model_dump_json(indent=1).encode())
        _publish(folder, made, digest(number))


def _other(store: Store, stage: StageRecord, number: int) -> StageRecord:
    """The stage's artifact again, under another address and with a verdict of its own."""
    known = store.manifest(stage.address)
    verdict = VERDICTS[number % len(VERDICTS)]
    gates = json.loads(store.read_file(stage.address, "gates.json")) | {"verdict": verdict}
    data = json.dumps(gates).encode()
    identity = Identity(
        stage=known.identity.stage, version=1, config={"number": number}, parents=known.identity.parents
    )
    files = {"gates.json": Part(path=f"{known.attempt}/gates.json", bytes=len(data), sha256=sha256(data).hexdigest())}
    manifest = Manifest(
        identity=identity,
        fingerprint=identity.fingerprint,
        content=content_of({}, files),
        attempt=known.attempt,
        files=files,
        counts=known.counts,
        facts={**known.facts, "verdict": verdict},
    )
    folder = Path(store.uri) / identity.address
    _write(folder / known.attempt / "gates.json", data)
    _write(folder / MANIFEST, manifest.dump())
    return stage.model_copy(update={"address": identity.address})


def _publish(folder: Path, run: Run, weights: str) -> None:
    by_verb = {stage.verb: stage.address for stage in run.stages}
    version = Version(
        model=run.recipe_name,
        version=run.version or 1,
        publication=by_verb["publish"],
        evaluation=by_verb["evaluate"],
        training=by_verb["train"],
        weights=weights,
        verdict="pass",
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        files={},
    )
    here = folder / version_folder(version.model, version.version)
    _write(here / RECORD, version.model_dump_json(indent=1).encode())
    for name in ("model.safetensors", "README.md"):
        _write(here / name, b"")


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
