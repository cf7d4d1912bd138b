"""What changed since the model that is published: files of the sources, settings, and rows that enter or leave."""

from typing import Any

from prefect.artifacts import create_markdown_artifact

from flows.recipe import Inputs, Recipe
from flows.row_changes import row_changes
from flows.shown.naming import filled
from tasks.artifacts import aliases, runs
from tasks.artifacts.errors import StoreError
from tasks.artifacts.lineage import changed_fields
from tasks.artifacts.manifest import Artifact, Identity
from tasks.artifacts.store import Store
from tasks.caching import Stage, logger
from tasks.reporting.tables import markdown_table

_MOST_ROWS = 100
Row = dict[str, object]


def published_run(store: Store, recipe: Recipe) -> runs.Run | None:
    """The run whose version the recipe's alias points to, or its latest one that was published."""
    alias = recipe.publication.alias
    number = aliases.aliases(store, recipe.name).get(alias) if alias else None
    published = [run for run in runs.recent(store, recipe.name) if run.version is not None]
    return next((run for run in published if run.version == number), published[0] if published else None)


def file_changes(store: Store, before: runs.Run, recipe: Recipe, inputs: Inputs) -> list[Row]:
    """The files of the sources that are new, gone or other than in a run."""
    address = next((record.address for record in before.stages if record.stage == "ingestion"), None)
    manifest = store.find_manifest(address) if address else None
    if manifest is None:
        return []
    # Sources are known to the stage by their place, and to people by their name.
    names = [source["name"] for source in before.recipe["sources"]]
    was = dict(zip(names, (dict(parent.files) for parent in manifest.identity.parents), strict=False))
    now = {source.name: found.files for source, found in zip(recipe.sources, inputs.sources, strict=True)}
    return [
        {"source": name, "file": change.place, "change": _kind(change.before, change.after)}
        for name in [*now, *(each for each in was if each not in now)]
        for change in changed_fields(was.get(name, {}), now.get(name, {}))
    ]


def _kind(before: Any, after: Any) -> str:
    return "new" if before is None else "gone" if after is None else "changed"


def setting_changes(before: runs.Run, recipe: Recipe) -> list[Row]:
    """The recipe's fields that differ from those of a run."""
    changes = changed_fields(_by_name(filled(before.recipe)), _by_name(recipe.model_dump(mode="json")))
    return [{"field": change.place, "before": change.before, "now": change.after} for change in changes]


def _by_name(setting: Any) -> Any:
    """Settings with their sources and benchmarks by name, and without their places, which decide nothing."""
    if isinstance(setting, dict):
        return {name: _by_name(value) for name, value in setting.items() if name != "uri"}
    if isinstance(setting, list) and setting and all(isinstance(each, dict) and "name" in each for each in setting):
        return {each["name"]: _by_name(each) for each in setting}
    return setting


def tell_changes(before: runs.Run, files: list[Row], settings: list[Row], reasons: list[str]) -> None:
    """What changed, as a page in Prefect's UI."""
    text = f"Since version {before.version}, published by run {before.id}."
    for title, rows in (("Files of the sources", files), ("Settings", settings)):
        if rows:
            more = f"\n\nand {len(rows) - _MOST_ROWS:,} more" if len(rows) > _MOST_ROWS else ""
            text += f"\n\n## {title}\n\n{markdown_table(rows[:_MOST_ROWS])}{more}"
    if not files and not settings:
        text += "\n\n" + "\n".join(f"- {reason}" for reason in reasons)
    create_markdown_artifact(text, key="changes", description="What changed since the published model")


class RowTeller:
    """Watches a run and tells, once its data stages are done, which rows enter and leave training, by source."""

    def __init__(self, store: Store, before: runs.Run) -> None:
        self.store, self.before = store, before
        self._stages: list[runs.StageRecord] = []

    def began(self, stage: Stage[Any], identity: Identity) -> None:
        """Nothing."""

    def moved(self, stage: Stage[Any], done: int, total: int | None, unit: str) -> None:
        """Nothing."""

    def ended(self, stage: Stage[Any], artifact: Artifact, *, cached: bool, seconds: float) -> None:
        """Note where the stage's artifact lies; after the last data stage, compare."""
        record = runs.StageRecord(
            stage=stage.name, verb=stage.verb, address=artifact.address, cached=cached, seconds=seconds
        )
        self._stages.append(record)
        if stage.name == "tokenization":
            try:
                self._tell()
            except StoreError as error:
                # What was published may have been swept; that is no reason not to train.
                logger().warning("cannot tell which rows changed since version %s: %s", self.before.version, error)

    def _tell(self) -> None:
        now = self.before.model_copy(update={"id": "now", "stages": tuple(self._stages)})
        changes = row_changes(self.store, self.before, now, most_rows=0)
        told = f"{changes.entered:,} rows enter training and {changes.left:,} leave since version {self.before.version}"
        rows: list[Row] = [
            {name: getattr(group, name) for name in ("direction", "source", "rows", "stage", "reason")}
            for group in changes.groups
        ]
        create_markdown_artifact(f"{told}.\n\n{markdown_table(rows)}", key="row-changes", description=told)
        logger().info(told)
