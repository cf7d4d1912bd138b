"""`fettle diff`: what does the same is compared, and what is no run is named."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from flows.commands.comparing import diff
from flows.errors import RecipeError
from tasks.artifacts import runs
from tasks.artifacts.manifest import Artifact, Counts, Identity
from tasks.artifacts.store import Store


def made(store: Store, stage: str, **config: Any) -> Artifact:
    with store.attempt(Identity(stage=stage, version=1, config=config, parents=())) as attempt:
        attempt.write_file("config", json.dumps(config).encode())
        attempt.counts = Counts(read=1, kept=1)
        return attempt.commit({})


def recorded(store: Store, run_id: str, **stages: list[Artifact]) -> None:
    told = [
        runs.StageRecord(stage=verb, verb=verb, address=artifact.address, cached=False, seconds=1)
        for verb, artifacts in stages.items()
        for artifact in artifacts
    ]
    started = "2026-01-01T00:00:00+00:00"
    runs.save(store, runs.Run(id=run_id, recipe_name="m", recipe={}, started=started, stages=tuple(told)))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A first run, and one that met a model in production."""
    store = Store(str(tmp_path / "store"))
    base, first, second = (made(store, "measurement", of=name) for name in ("base", "first", "second"))
    recorded(store, "one", measure=[base, first], evaluate=[made(store, "evaluation", fail=5)])
    recorded(store, "two", measure=[base, second, first], evaluate=[made(store, "evaluation", fail=4)])
    return store


def options(store: Store, before: str, after: str) -> argparse.Namespace:
    return argparse.Namespace(store=store.uri, before=before, after=after, rows=0, json=True)


def test_stages_that_do_the_same_are_compared(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    diff(options(store, "one", "two"))
    fields = json.loads(capsys.readouterr().out)["fields"]
    assert {(each["stage"], each["field"]) for each in fields} == {
        ("measure 2", "config.of"),
        ("measure 2", "content"),
        ("evaluate", "config.fail"),
        ("evaluate", "content"),
    }


@pytest.mark.parametrize(("before", "after"), [("one", "evaluation/0"), ("tw0", "two")])
def test_a_run_is_compared_with_a_run(store: Store, before: str, after: str) -> None:
    wrong = after if before == "one" else before
    with pytest.raises(RecipeError, match=f"^{wrong} is no run in .*, and the other is one; give two runs or two art"):
        diff(options(store, before, after))
