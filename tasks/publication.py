"""Publish: report and card for every run; a numbered version only past the gate.

The report is written whatever the verdict, because a refusal needs reading most. `register` re-reads the gate's
record and the digest of the weights, and refuses when anything is missing, of other weights, or not passed.
"""

import json
from datetime import UTC, datetime
from typing import Any

import yaml
from prefect import task
from prefect.artifacts import create_markdown_artifact
from pydantic import Field

from tasks.artifacts import registry
from tasks.artifacts.errors import StoreError
from tasks.artifacts.lineage import Node, ancestors, tree
from tasks.artifacts.manifest import Artifact, Counts, Manifest
from tasks.artifacts.store import Attempt, Store
from tasks.caching import RETRY_RULE, stage
from tasks.config import Config, flat
from tasks.reporting.audit import audit_facts
from tasks.reporting.card import card
from tasks.reporting.facts import (
    AdviceFacts,
    CurvePoint,
    DiagnosisFacts,
    Facts,
    ForgottenFacts,
    LineageFacts,
    Outcome,
    SampleFacts,
    ScoreFacts,
    StageFacts,
    TrainingFacts,
    WarningFacts,
)
from tasks.reporting.page import render
from tasks.reporting.source_facts import SourceFacts
from tasks.reporting.tables import markdown_table

MOST_FORGOTTEN = 100


class PublicationConfig(Config):
    """What becomes of a model that the gate lets through."""

    alias: str | None = Field("production", pattern=r"^[a-z0-9][a-z0-9-]*$")
    """Name that points to the new version; none when null."""
    accept_investigate: bool = False
    """Whether a model is published whose drop is sure but below the failing mark."""


class About(Config):
    """What a report calls things."""

    name: str
    base_model: str

    def identity(self) -> dict[str, Any]:
        """The model's name; where its base lies is a path, and the weights are a parent already."""
        return {"name": self.name}


class GateRefusedError(Exception):
    """The gate did not let the model through; nothing was published."""


@stage("publication", version=2)
def publish(out: Attempt, about: About, trained: Artifact, evaluated: Artifact) -> None:
    """Write the report page and the model card from the artifacts that led here."""
    facts = gather(out.store, about.name, about.base_model, trained, evaluated)
    out.write_file("report.html", render(facts).encode())
    out.write_file("masks.html", _mask_page(out.store, evaluated))
    out.write_file("README.md", card(facts).encode())
    out.write_file("gates.json", out.store.read_file(evaluated, "gates.json"))
    out.counts = Counts(read=len(facts.scores), kept=len(facts.scores))
    out.facts["verdict"] = facts.outcome.verdict


@task(name="register", task_run_name="register {name}", **RETRY_RULE)
def register(
    store: Store,
    config: PublicationConfig,
    name: str,
    publication: Artifact,
    evaluated: Artifact,
    trained: Artifact,
) -> registry.Version:
    """Make the next version of the model, and point the alias to it. Raises `GateRefusedError`."""
    gates = json.loads(store.read_file(evaluated, "gates.json"))
    create_markdown_artifact(
        f"## {gates['verdict']}\n\n{gates['reason']}\n\n{markdown_table(gates['scores'])}",
        key="gate",
        description="The gate's verdict, base against tuned",
    )
    _require_passed(config, gates, trained)
    known = registry.find(store, name, publication)
    version = known or registry.register(store, name, publication, evaluated, trained, gates["verdict"])
    if config.alias is not None and _may_move(store, name, config.alias, version, is_new=known is None):
        registry.point(store, name, config.alias, version.version)
    return version


def _may_move(store: Store, name: str, alias: str, version: registry.Version, *, is_new: bool) -> bool:
    """Whether an alias may come to this version: yes for a new one, and where nobody has decided since it was made."""
    current = registry.alias(store, name, alias)
    return is_new or current is None or current.at < version.at


def _require_passed(config: PublicationConfig, gates: dict[str, Any], trained: Artifact) -> None:
    if gates["weights"] != trained.content:
        raise StoreError(
            f"the gate judged the weights {gates['weights'][:16]}, not {trained.content[:16]}, which were to be "
            "published; evaluate these weights"
        )
    accepted = ("pass", "investigate") if config.accept_investigate else ("pass",)
    if gates["verdict"] not in accepted:
        raise GateRefusedError(f"not published, the gate says {gates['verdict']}. {gates['reason']}")


def gather(store: Store, name: str, base_model: str, trained: Artifact, evaluated: Artifact) -> Facts:
    """Everything the report shows, from the manifests and tables of an evaluation and all that led to it."""
    manifests = ancestors(store, evaluated.address)
    by_stage = {manifest.identity.stage: manifest for manifest in reversed(manifests.values())}
    gates = json.loads(store.read_file(evaluated, "gates.json"))
    return Facts(
        title=name,
        outcome=Outcome(verdict=gates["verdict"], reason=gates["reason"]),
        made_at=datetime.now(UTC),
        base_model=base_model,
        seconds=sum(manifest.provenance.get("seconds", 0.0) for manifest in manifests.values()),
        stages=tuple(_stage(store, manifest) for manifest in reversed(manifests.values())),
        scores=tuple(_score(score) for score in gates["scores"]),
        training=_training(store, trained),
        sources=tuple(_sources(store, by_stage)),
        audits=audit_facts(by_stage["ingestion"].facts),
        warnings=tuple(
            WarningFacts(stage=manifest.identity.stage, sentence=sentence)
            for manifest in reversed(manifests.values())
            for sentence in manifest.warnings
        ),
        masks=_masks(by_stage["tokenization"].facts["masks"]),
        samples=tuple(_sample(row) for row in store.rows(evaluated, "samples")),
        forgotten=tuple(_forgotten(row) for row in store.rows(evaluated, "forgotten"))[:MOST_FORGOTTEN],
        lineage=_lineage(tree(store, evaluated.address)),
        recipe=_settings(by_stage),
        command=f"fettle run {name}.yaml --store {store.uri}",
        limits=_limits(gates, by_stage),
        advice=tuple(_advice(gates)),
    )


def _mask_page(store: Store, evaluated: Artifact) -> bytes:
    manifests = ancestors(store, evaluated.address).values()
    return store.read_file(next(m.artifact for m in manifests if m.identity.stage == "tokenization"), "masks.html")


def _masks(figures: list[dict[str, Any]]) -> str:
    turns, proven = (sum(each[name] for each in figures) for name in ("turns", "proven"))
    return f"The masks of {proven:,} of {turns:,} answers are proven: just what the assistant says is trained."


def _stage(store: Store, manifest: Manifest) -> StageFacts:
    return StageFacts(
        name=manifest.identity.stage,
        fingerprint=manifest.fingerprint,
        address=f"{store.uri}/{manifest.identity.address}",
        seconds=manifest.provenance.get("seconds", 0.0),
        rows_read=manifest.counts.read,
        rows_kept=manifest.counts.kept,
        dropped=manifest.counts.dropped,
    )


def _score(score: dict[str, Any]) -> ScoreFacts:
    visible = score["smallest_visible"]
    # Beside a sure gain the smallest visible drop is of no interest.
    note = (
        f"Could have seen a drop of {visible:.1f} points." if visible and score["low"] <= 0 and score["verdict"] else ""
    )
    fields = {key: value for key, value in score.items() if key != "smallest_visible"}
    return ScoreFacts(**fields, note=note)


def _training(store: Store, trained: Artifact) -> TrainingFacts:
    manifest = store.manifest(trained)
    facts, settings = manifest.facts, dict(manifest.identity.config)
    method = settings.pop("method")
    curve = [
        CurvePoint(step=row["step"], loss=row["loss"], heldout_loss=row["heldout_loss"])
        for row in store.rows(trained, "metrics")
        if row["loss"] is not None
    ]
    return TrainingFacts(
        method=method["kind"],
        device=str(facts["device"]),
        parameters=facts["parameters"],
        trainable_parameters=facts["trainable_parameters"],
        tokens=facts["tokens"],
        tokens_per_second=facts["tokens_per_second"],
        settings=flat({"method": {k: v for k, v in method.items() if k != "kind"}, **settings}),
        curve=tuple(curve),
        seconds=facts["seconds"],
        steps=facts["steps"],
        planned_steps=facts["planned_steps"],
        best_step=facts["best_step"],
        diagnoses=tuple(
            DiagnosisFacts(name=each["name"], sentence=each["sentence"], advice=each["advice"])
            for each in facts["diagnoses"]
        ),
    )


def _sources(store: Store, by_stage: dict[str, Manifest]) -> list[SourceFacts]:
    """Each source's rows by fate: what was read, rejected, held out, dropped by any stage, and shown."""
    dropped: dict[str, dict[str, int]] = {}
    for name in ("curation", "deduplication", "mixing", "tokenization"):
        for table in store.tables(by_stage[name].artifact, "dropped", ["source", "split", "reason"]):
            counts = table.group_by(["source", "split", "reason"], use_threads=False).aggregate([([], "count_all")])
            for row in counts.to_pylist():
                if row["split"] == "train":
                    reasons = dropped.setdefault(row["source"], {})
                    reasons[row["reason"]] = reasons.get(row["reason"], 0) + row["count_all"]
    shares = {row["source"]: row for row in by_stage["mixing"].facts["shares"]}
    made = []
    for audit in by_stage["ingestion"].facts["audit"]:
        share = shares.get(audit["source"], {})
        lost = dropped.get(audit["source"], {})
        made.append(
            SourceFacts(
                name=audit["source"],
                role=audit["role"],
                files=audit["files"],
                read=audit["read"],
                rejected=audit["rejected"],
                heldout=audit["heldout"],
                kept=audit["read"] - audit["rejected"] - audit["heldout"] - sum(lost.values()),
                dropped=lost,
                epochs=share.get("copies", 0.0) * by_stage["training"].identity.config["epochs"],
                requested_share=share.get("requested"),
                achieved_share=share.get("achieved", 0.0),
                trainable_tokens=share.get("tokens", 0),
            )
        )
    return made


def _sample(row: dict[str, Any]) -> SampleFacts:
    same = row["base_right"] is None or row["base_right"] == row["tuned_right"]
    return SampleFacts(
        prompt=row["question"],
        expected=row["expected"],
        base=row["base"],
        tuned=row["tuned"],
        benchmark=row["benchmark"],
        improved=None if same else bool(row["tuned_right"]),
    )


def _forgotten(row: dict[str, Any]) -> ForgottenFacts:
    return ForgottenFacts(
        benchmark=row["benchmark"],
        subject=row["subject"],
        prompt=row["question"],
        expected=row["expected"],
        base=row["base"],
        tuned=row["tuned"],
    )


def _lineage(node: Node) -> LineageFacts:
    counts = {"read": node.counts.read, "kept": node.counts.kept} if node.counts else {}
    return LineageFacts(
        label=node.name,
        address=node.label,
        counts=counts,
        children=tuple(_lineage(parent) for parent in node.parents),
    )


def _settings(by_stage: dict[str, Manifest]) -> str:
    configs = {name: manifest.identity.config for name, manifest in by_stage.items() if manifest.identity.config}
    return yaml.safe_dump(configs, sort_keys=False, allow_unicode=True, width=100)


def _limits(gates: dict[str, Any], by_stage: dict[str, Manifest]) -> tuple[str, ...]:
    figures = by_stage["tokenization"].facts
    limits = [
        f"Trained on texts of at most {figures['max_length']} tokens; "
        f"{figures['rows_cut']} longer ones were cut or split."
    ]
    gated = [s for s in gates["scores"] if s["verdict"] and s["low"] <= 0]
    blind = [s["name"] for s in gated if (s["smallest_visible"] or 0) > 2]
    if blind:
        limits.append(
            f"Drops of two points stay unseen on {', '.join(blind)}: too few items, or too many changed answers."
        )
    limits.append(
        "Nothing beyond the measures listed here was tested: no safety evaluation, no other language, no tools."
    )
    return tuple(limits)


def _advice(gates: dict[str, Any]) -> list[AdviceFacts]:
    advice = []
    for score in gates["scores"]:
        change = f"{score['name']}: {score['base']:.1f} → {score['tuned']:.1f} {score['unit']}"
        if score["verdict"] == "underpowered":
            advice.append(AdviceFacts(what=f"Ask more items of {score['name']}.", evidence=change))
        elif score["verdict"] in ("fail", "investigate") and score["unit"] == "%":
            what = "Add general rows to the mixture, lower the learning rate or the epochs, or train an adapter."
            advice.append(AdviceFacts(what=what, evidence=change))
        elif score["verdict"] == "fail":
            advice.append(AdviceFacts(what="Lower the learning rate or the epochs.", evidence=change))
    return advice
