"""What Fettle wants of a Prefect server: work pools, deployments and their schedules; nothing is asked or changed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect.client.schemas.schedules import CronSchedule
from pydantic import Field, field_validator, model_validator

from flows.presets import preset_file, preset_names, with_preset
from flows.recipe import CLASSIFICATION, Recipe
from tasks.config import Config

TAG = "fettle"
"""On every deployment, and so on its runs: automations look at runs with this tag only."""
CPU_POOL, GPU_POOL = "fettle-cpu", "fettle-gpu"
GC_CRON = "30 4 * * *"
"""When garbage is collected, each day."""


class Wanted(Config):
    """What `fettle up` and `fettle deploy` ask for. Where a field is None, what the server has stays as it is."""

    store_uri: str = Field(min_length=1)
    """Folder or s3://bucket/prefix of the artifacts, as the workers see it."""
    recipes: tuple[Recipe, ...] = ()
    """Recipes that get a `retrain` of their own. Those of an earlier call are removed, unless none is given now."""
    cron: str | None = None
    """When the recipes are looked at again, as five cron fields; only events and people start them if not set."""
    timezone: str = "UTC"
    """Where schedules are told, such as Europe/Berlin."""
    webhook: bool | None = None
    """Whether failures and late schedules are told to the webhook in FETTLE_WEBHOOK_URL."""
    gpu_slots: int | None = Field(None, ge=1)
    """Most runs at once that train or measure; 1 in a new pool."""
    cpu_slots: int | None = Field(None, ge=1)
    """Most runs at once that need no accelerator; 4 in a new pool."""
    silent_seconds: int = Field(90, ge=10)
    """A run that gave no sign of life for so long has crashed; runs give one every 30 seconds."""
    pending_seconds: int = Field(1800, ge=10)
    """A run that a worker took and that has not begun after so long has crashed."""
    late_seconds: int = Field(60, ge=10)
    """A scheduled run that is late and has not begun after so long is told to the webhook."""

    @field_validator("store_uri")
    @classmethod
    def _absolute(cls, uri: str) -> str:
        # Each run has a working folder of its own.
        return uri if "://" in uri else str(Path(uri).expanduser().resolve())

    @model_validator(mode="after")
    def _schedule_is_one(self) -> "Wanted":
        CronSchedule(cron=self.cron or GC_CRON, timezone=self.timezone)
        if self.cron is not None and not self.recipes:
            raise ValueError(f"cron is {self.cron!r}, and there is no recipe to retrain then; give one")
        return self

    @model_validator(mode="after")
    def _recipes_differ(self) -> "Wanted":
        names = [recipe.name for recipe in self.recipes]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two recipes are called {', '.join(twice)}; names must differ")
        if "retrain" in names:
            raise ValueError("a recipe is called retrain, as the deployment without a recipe is; give it another name")
        return self


class Pool(Config):
    """A work pool: where runs wait for a worker."""

    name: str
    description: str
    slots: int | None
    """Most runs at once."""
    slots_when_new: int


class Deployment(Config):
    """A flow that people, schedules and events can start."""

    flow: str
    name: str
    entrypoint: str
    pool: str
    remark: str = ""
    """What sets it apart from the flow's other deployments."""
    parameters: dict[str, Any]
    """Defaults in its form."""
    cron: str | None = None
    timezone: str = "UTC"
    slots: int | None = None
    """Most runs of it at once; others wait."""

    @property
    def full_name(self) -> str:
        return f"{self.flow}/{self.name}"


def pools(wanted: Wanted) -> list[Pool]:
    """Both pools. Their slots are the limit of what runs at once: a run has its pool's resources to its end."""
    return [
        Pool(
            name=CPU_POOL,
            description="Fettle's runs that need no accelerator.",
            slots=wanted.cpu_slots,
            slots_when_new=4,
        ),
        Pool(
            name=GPU_POOL,
            description="Fettle's runs that train or measure a model.",
            slots=wanted.gpu_slots,
            slots_when_new=1,
        ),
    ]


FLOWS = {
    "finetune": ("flows.finetune.finetune", GPU_POOL),
    "retrain": ("flows.retraining.retrain", GPU_POOL),
    "classify": ("flows.classifying.classify", GPU_POOL),
    "evaluate": ("flows.measuring.evaluate", GPU_POOL),
    "data": ("flows.preparing.data", CPU_POOL),
    "publish": ("flows.releasing.publish", CPU_POOL),
    "rollback": ("flows.releasing.rollback", CPU_POOL),
    "gc": ("flows.collecting.gc", CPU_POOL),
}
"""Where each flow lies, dotted: a path to a file would put `flows/` itself on the import path."""


def deployments(wanted: Wanted, demo: Recipe) -> list[Deployment]:
    """All of them: one a flow, once more for each preset and the demo, and `retrain` for each recipe."""
    return [
        *(_deployment(wanted, flow, flow) for flow in FLOWS if flow != "gc"),
        _deployment(wanted, "gc", "gc", cron=GC_CRON),
        *(_with_preset(wanted, "finetune", name) for name in preset_names()),
        *(_with_preset(wanted, "classify", name) for name in preset_names(CLASSIFICATION)),
        _with_recipe(wanted, "finetune", "demo", demo, "A fintech assistant from made data: a minute or two, no GPU."),
        *(
            # Overlapping triggers wait for each other, and the later ones find nothing new.
            _with_recipe(wanted, "retrain", recipe.name, recipe, cron=wanted.cron, slots=1)
            for recipe in wanted.recipes
        ),
    ]


def _deployment(
    wanted: Wanted,
    flow: str,
    name: str,
    remark: str = "",
    recipe: dict[str, Any] | None = None,
    cron: str | None = None,
    slots: int | None = None,
) -> Deployment:
    entrypoint, pool = FLOWS[flow]
    parameters = {"store_uri": wanted.store_uri} | ({"recipe": recipe} if recipe is not None else {})
    return Deployment(
        flow=flow,
        name=name,
        entrypoint=entrypoint,
        pool=pool,
        remark=remark,
        parameters=parameters,
        cron=cron,
        timezone=wanted.timezone,
        slots=slots,
    )


def _with_recipe(
    wanted: Wanted,
    flow: str,
    name: str,
    recipe: Recipe,
    remark: str = "",
    cron: str | None = None,
    slots: int | None = None,
) -> Deployment:
    return _deployment(wanted, flow, name, remark, recipe.model_dump(mode="json"), cron, slots)


def _with_preset(wanted: Wanted, flow: str, name: str) -> Deployment:
    lines = preset_file(name).read_text(encoding="utf-8").splitlines()
    kind = {"kind": CLASSIFICATION} if flow == "classify" else {}
    return _deployment(wanted, flow, name, _opening_comment(lines), with_preset({"preset": name} | kind))


def _opening_comment(lines: Sequence[str]) -> str:
    remark: list[str] = []
    for line in lines:
        if not line.startswith("#"):
            break
        remark.append(line.lstrip("# "))
    return " ".join(remark)
