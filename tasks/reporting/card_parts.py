"""Sections that all model cards share: settings, licences, provenance."""

from collections.abc import Iterator, Sequence

from tasks.reporting import wording
from tasks.reporting.card_header import terms_differ
from tasks.reporting.facts import LicenceFacts, LineageFacts, StageFacts
from tasks.reporting.tables import code_block, escape_markdown, markdown_table, paragraph
from tasks.reporting.training_facts import TrainingFacts

VERDICTS = {
    "pass": "passed",
    "investigate": "asks for a look",
    "fail": "failed",
    "underpowered": "had too few items to tell",
}
"""What an evaluation did, by its verdict."""


def settings(training: TrainingFacts, seconds: float, cost: str) -> str:
    """How the weights were trained, as a table."""
    told = {
        "method": training.method,
        "device": training.device,
        "parameters": training.parameters,
        "trained parameters": training.trainable_parameters,
        "tokens seen": training.tokens,
        "tokens a second": training.tokens_per_second,
        **{wording.words(name): item for name, item in training.settings.items()},
        "time of the whole run": wording.duration(seconds),
        "cost": cost or None,
    }
    return markdown_table([{"Setting": name, "Value": wording.value(item)} for name, item in told.items()])


def known_limits(limits: Sequence[str]) -> str:
    """The known limits as a list, or that there are none."""
    return "\n".join(f"- {paragraph(limit)}" for limit in limits) or "None are written down."


def terms(licences: Sequence[LicenceFacts]) -> str:
    """The licences as a table, and that they differ where they do."""
    rows = [{"Model or source": x.name, "Licence": x.licence, "From": x.origin} for x in licences]
    if not rows:
        return ""
    differ = "\n\nThese terms differ; whoever uses the model has to keep them all."
    return markdown_table(rows) + (differ if terms_differ(licences) else "")


def provenance(stages: Sequence[StageFacts], lineage: LineageFacts | None, command: str, recipe: str) -> str:
    """From which artifacts a model was made, and how to make it again."""
    parts = []
    if stages:
        rows = [{"Stage": s.name, "Artifact": s.address, "Fingerprint": s.fingerprint} for s in stages]
        parts.append(markdown_table(rows))
    if lineage:
        parts.append("\n".join(_branches(lineage)))
    if command:
        parts.append(f"To make it again:\n\n{code_block(command, 'bash')}")
    if recipe:
        parts.append(f"The recipe:\n\n{code_block(recipe, 'yaml')}")
    return "\n\n".join(parts)


def _branches(node: LineageFacts, depth: int = 0) -> Iterator[str]:
    """The lineage as a nested list."""
    counts = ", ".join(f"{count:,} {escape_markdown(wording.words(name))}" for name, count in node.counts.items())
    address = f" · {escape_markdown(node.address)}" if node.address else ""
    yield f"{'  ' * depth}- {paragraph(node.label)}{f' ({counts})' if counts else ''}{address}"
    for child in node.children:
        yield from _branches(child, depth + 1)
