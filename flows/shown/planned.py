"""The plan of a run, as a page at its start: what is cached, what runs and why, what training will take."""

from collections.abc import Callable

from prefect.artifacts import create_markdown_artifact

from flows.forecast_shown import forecast_lines
from flows.planning import Step, foretell
from flows.recipe import Inputs, Recipe
from tasks.artifacts.errors import StoreError
from tasks.artifacts.store import Store
from tasks.caching import for_people, logger
from tasks.reporting import wording
from tasks.reporting.tables import escape_markdown, markdown_table
from tasks.trainer.config import TrainingConfig


def show_plan(recipe: Recipe, inputs: Inputs, store: Store) -> None:
    """Foretell the run's stages and show them; computes nothing."""
    show_steps(lambda: foretell(recipe, inputs, store), recipe.training)


def show_steps(foretold: Callable[[], list[Step]], training: TrainingConfig | None = None) -> None:
    """Show what is foretold; `training` is what the forecast of training is told by."""
    try:
        steps = foretold()
    except StoreError as error:
        # The stages retry what the store does; a page for people is no reason to end the run.
        logger().warning("the plan cannot be shown: %s", error)
        return
    with for_people():
        create_markdown_artifact(_page(training, steps), key="plan", description=in_a_sentence(steps))


def in_a_sentence(steps: list[Step]) -> str:
    """How many stages are cached, and what runs."""
    cached = sum(step.status == "cached" for step in steps)
    if cached == len(steps):
        return f"All {cached} stages are cached"
    # Several models are measured one after the other.
    others = dict.fromkeys(step.verb for step in steps if step.status != "cached")
    return f"{cached} of {len(steps)} stages are cached; what runs or may run: {', '.join(others)}"


def _page(training: TrainingConfig | None, steps: list[Step]) -> str:
    parts = [f"{in_a_sentence(steps)}.", markdown_table([_row(step) for step in steps])]
    parts += [f"**Warning** ({step.verb}): {escape_markdown(each)}" for step in steps for each in step.warnings]
    for step in steps:
        if training is not None and step.training is not None and step.status != "cached":
            told = [{"": name, "training": text} for name, text, _style in forecast_lines(step.training, training)]
            parts.append(markdown_table(told))
    return "\n\n".join(parts)


def _row(step: Step) -> dict[str, object]:
    return {
        "stage": step.verb,
        "status": step.status,
        "why": "; ".join(step.why),
        "rows": f"{step.counts.read:,} → {step.counts.kept:,}" if step.counts else None,
        "took": wording.duration(step.seconds) if step.seconds is not None else None,
    }
