"""What a run would do, stage by stage, and why: told before anything is computed.

A stage whose parents are all known is cached or will run. One that hangs on a stage that will run first depends on
what that gives: equal rows leave it cached. The reasons come from the manifest of the stage's latest earlier run.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from flows.forecast import Forecast, forecast
from flows.pipeline import pipeline
from flows.recipe import Inputs, Recipe
from tasks.artifacts import runs
from tasks.artifacts.errors import CorruptArtifactError
from tasks.artifacts.lineage import changed_fields
from tasks.artifacts.manifest import Artifact, Counts, Identity, Manifest, Parent
from tasks.artifacts.store import Store
from tasks.caching import Stage, foretold_by
from tasks.config import Config

_NOUNS = ("ingestion", "curation", "deduplication", "mixing", "tokenization")
DATA_STAGES = (*_NOUNS, *(f"labelled-{noun}" for noun in _NOUNS))
"""Stages that need no accelerator; an exact plan computes them."""

Status = Literal["cached", "will run", "depends"]

_UNKNOWN = "unknown:"


class Step(Config):
    """What one stage would do."""

    stage: str
    verb: str
    status: Status
    why: tuple[str, ...]
    address: str
    seconds: float | None = None
    """How long it took the last time."""
    done_now: bool = False
    """Computed for the plan, so that a run finds it cached."""
    counts: Counts | None = None
    """Rows read, kept and dropped, where the artifact is there."""
    warnings: tuple[str, ...] = ()
    """What people should know of the artifact."""
    training: Forecast | None = None
    """What training would take: its memory, time and cost; of the stage that trains only."""


class _Pending(Artifact):
    """Stands for an artifact that is not there yet; all its tables are thought to be there."""

    def only(self, *_names: str) -> Artifact:
        return self


class Forecaster:
    """Foretells stages from the store and the records of earlier runs."""

    def __init__(self, store: Store, recipe_name: str, *, exact: bool) -> None:
        self.store, self.exact = store, exact
        self.steps: list[Step] = []
        self._earlier = runs.recent(store, recipe_name)

    def foresee(self, stage: Stage[Any], identity: Identity, compute: Callable[[], Artifact]) -> Artifact:
        """Note what the stage would do; give its artifact, or a stand-in for it."""
        position = sum(step.verb == stage.verb for step in self.steps)
        address, before = self._last(stage.verb, position)
        seconds = before.provenance.get("seconds") if before else None
        waiting = _waiting_for(identity)
        found = self.store.find(identity.address) if not waiting else None
        if found is not None:
            self._note(stage, identity, "cached", (), seconds)
            return self._told(found)
        why = _reasons(identity, address, before)
        if waiting and (not why or self._was_made(stage.verb, identity)):
            after = (
                f"cached if {' and '.join(sorted(waiting))} give{'s' if len(waiting) == 1 else ''} the same as before"
            )
            self._note(stage, identity, "depends", (after,), seconds)
            return _stand_in(identity)
        done_now = self.exact and not waiting and stage.name in DATA_STAGES
        self._note(stage, identity, "will run", tuple(why), seconds, done_now)
        return self._told(compute()) if done_now else _stand_in(identity)

    def _told(self, artifact: Artifact) -> Artifact:
        """The artifact, which the latest step now tells of."""
        told = {"counts": artifact.counts, "warnings": artifact.warnings}
        self.steps[-1] = self.steps[-1].model_copy(update=told)
        return artifact

    def _note(
        self,
        stage: Stage[Any],
        identity: Identity,
        status: Status,
        why: tuple[str, ...],
        seconds: float | None,
        done_now: bool = False,
    ) -> None:
        step = Step(
            stage=stage.name,
            verb=stage.verb,
            status=status,
            why=why,
            address=identity.address if not _waiting_for(identity) else "",
            seconds=seconds,
            done_now=done_now,
        )
        self.steps.append(step)

    def _was_made(self, verb: str, identity: Identity) -> bool:
        """Whether some earlier run made this stage with this version and configuration, if not the latest."""
        addresses = {record.address for run in self._earlier for record in run.stages if record.verb == verb}
        for address in addresses:
            manifest = self.store.find_manifest(address)
            if manifest is not None and not _reasons(identity, address, manifest):
                return True
        return False

    def _last(self, verb: str, position: int) -> tuple[str | None, Manifest | None]:
        """Address and manifest of what the latest run of this recipe gave at this place."""
        for run in self._earlier:
            records = [record for record in run.stages if record.verb == verb]
            if len(records) > position:
                address = records[position].address
                try:
                    return address, self.store.find_manifest(address)
                except CorruptArtifactError:
                    return address, None
        return None, None


def foretell(recipe: Recipe, inputs: Inputs, store: Store, *, exact: bool = False) -> list[Step]:
    """The steps that a run of the recipe would take now. An exact plan computes the data stages that would run."""
    steps = foretold(store, recipe.name, lambda: pipeline(recipe, inputs, store), exact=exact)
    rows = next(step for step in steps if step.verb == "tokenize")
    told = forecast(recipe, inputs, store, rows.address if rows.status == "cached" or rows.done_now else None)
    return [step.model_copy(update={"training": told}) if step.verb == "train" else step for step in steps]


def foretold(store: Store, name: str, stages: Callable[[], object], *, exact: bool = False) -> list[Step]:
    """The steps that calling the stages of a recipe of that name would take now."""
    forecaster = Forecaster(store, name, exact=exact)
    with foretold_by(forecaster):
        stages()
    return forecaster.steps


def _waiting_for(identity: Identity) -> set[str]:
    return {p.content.removeprefix(_UNKNOWN) for p in identity.parents if p.content.startswith(_UNKNOWN)}


def _stand_in(identity: Identity) -> Artifact:
    return _Pending(
        stage=identity.stage,
        fingerprint=_UNKNOWN,
        address="",
        content=f"{_UNKNOWN}{identity.stage}",
        counts=Counts(read=0, kept=0),
    )


def _reasons(identity: Identity, address: str | None, before: Manifest | None) -> list[str]:
    """In what a stage differs from its last run, in words; nothing where only unknown parents might differ."""
    if address is None:
        return ["no earlier run of this recipe came here"]
    if before is None:
        same = address == identity.address or _waiting_for(identity)
        return ["its artifact was deleted"] if same else ["its input changed, and the earlier artifact was deleted"]
    reasons = []
    if before.identity.version != identity.version:
        reasons.append(f"stage version {before.identity.version} → {identity.version}")
    reasons += [
        f"{identity.stage}.{change.place}: {_shown(change.before)} → {_shown(change.after)}"
        for change in changed_fields(before.identity.config, identity.config)
    ]
    earlier = {parent.name: parent for parent in before.identity.parents}
    for parent in identity.parents:
        reasons += _parent_reasons(parent, earlier.get(parent.name))
    names = {parent.name for parent in identity.parents}
    reasons += [f"{name} is no longer given" for name in earlier if name not in names]
    return reasons


def _parent_reasons(parent: Parent, before: Parent | None) -> list[str]:
    if before is None:
        return [f"{parent.name} is new"]
    if parent.content == before.content or parent.content.startswith(_UNKNOWN):
        return []
    if not parent.files:
        return [f"{parent.name} has other content"]
    return _file_reasons(parent.files, before.files) or [f"{parent.uri} is read in another way"]


def _file_reasons(after: Mapping[str, str], before: Mapping[str, str]) -> list[str]:
    reasons = [f"{name} changed" for name in after if name in before and after[name] != before[name]]
    reasons += [f"{name} is new" for name in after if name not in before]
    return reasons + [f"{name} is gone" for name in before if name not in after]


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
