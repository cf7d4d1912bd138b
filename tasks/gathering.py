"""All that a report tells, read from an evaluation and everything that led to it."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow.compute as pc
import yaml

from tasks.artifacts.errors import CorruptArtifactError
from tasks.artifacts.lineage import Node, ancestors, tree
from tasks.artifacts.manifest import Artifact, Manifest
from tasks.artifacts.store import Store
from tasks.config import Config, flat
from tasks.gate_record import GATES
from tasks.ratings import entered, summary
from tasks.reporting.advice import advice
from tasks.reporting.audit import audit_facts
from tasks.reporting.facts import (
    CurvePoint,
    DiagnosisFacts,
    Facts,
    LengthBand,
    LicenceFacts,
    LineageFacts,
    Marks,
    Outcome,
    StageFacts,
    TrainingFacts,
    WarningFacts,
)
from tasks.reporting.gathered import (
    forgotten_facts,
    instruction_facts,
    judge_facts,
    sample_facts,
    score_facts,
    subject_facts,
)
from tasks.reporting.masks import excerpts
from tasks.reporting.source_facts import SourceFacts
from tasks.reporting.training_facts import length_bands

_NEEDED = ("ingestion", "curation", "deduplication", "mixing", "tokenization", "training")
"""Without the artifacts of these stages there is nothing to tell."""


class About(Config):
    """What a report calls things."""

    name: str
    base_model: str
    licences: tuple[LicenceFacts, ...] = ()
    """Terms of the base model and of the sources, where the recipe tells them."""
    recipe: str = ""
    """The recipe as YAML, where it is at hand."""

    def identity(self) -> dict[str, Any]:
        """Names and terms: where the base model lies is a path, and what the recipe decides stands in the parents."""
        return {"name": self.name, "licences": [each.model_dump(mode="json") for each in self.licences]}


def gather(store: Store, about: About, trained: Artifact, evaluated: Artifact, judged: Artifact | None = None) -> Facts:
    """Everything that a report shows, from the manifests and tables of an evaluation and all that led to it."""
    manifests = in_order(store, evaluated, judged)
    by_stage = {manifest.identity.stage: manifest for manifest in manifests}
    if missing := [stage for stage in _NEEDED if stage not in by_stage]:
        raise CorruptArtifactError(
            f"store {store.uri}: what {evaluated.address} came from is no longer all there: no {missing[0]}; "
            "`fettle gc` keeps it only for the newest runs. Run the recipe again for a new report."
        )
    sides = {parent.address: parent.name for parent in by_stage["evaluation"].identity.parents}
    artifacts = {manifest.identity.address: manifest.artifact for manifest in manifests}
    measured = {side: artifacts[address] for address, side in sides.items() if address in artifacts}
    gates = json.loads(store.read_file(evaluated, GATES))
    tokenized = by_stage["tokenization"].artifact
    facts = Facts(
        title=about.name,
        outcome=Outcome(verdict=gates["verdict"], reason=gates["reason"]),
        made_at=datetime.now(UTC),
        base_model=about.base_model,
        seconds=sum(manifest.provenance.get("seconds", 0.0) for manifest in manifests),
        stages=tuple(stage_facts(store, manifest, sides.get(manifest.identity.address)) for manifest in manifests),
        scores=score_facts(gates["scores"]),
        marks=Marks(investigate=gates["limits"]["investigate"], fail=gates["limits"]["fail"]),
        subjects=subject_facts(store.rows(evaluated, "subjects")),
        instructions=instruction_facts(
            *(store.rows(measured[side], "answers", ["benchmark", "followed"]) for side in ("base", "tuned"))
        ),
        judge=judge_facts(store.manifest(judged).facts) if judged else (),
        ratings=summary(entered(store, store.manifest(evaluated).fingerprint)),
        training=_training(store, trained),
        sources=tuple(source_facts(store, by_stage)),
        audits=audit_facts(by_stage["ingestion"].facts),
        warnings=warning_facts(manifests),
        masks=_masks(by_stage["tokenization"].facts["masks"]),
        mask_samples=excerpts(store.rows(tokenized, "mask_samples")),
        lengths=_lengths(store, tokenized),
        samples=sample_facts(store.rows(evaluated, "samples")),
        forgotten=forgotten_facts(store.rows(evaluated, "forgotten")),
        lineage=lineage_facts(tree(store, evaluated.address), set()),
        recipe=about.recipe or _settings(by_stage),
        command=f"fettle run {about.name}.yaml --store {store.uri}",
        decide=f"fettle evaluate {about.name}.yaml --store {store.uri} --until-decided",
        limits=_limits(gates, by_stage),
        licences=about.licences,
    )
    return facts.model_copy(update={"advice": advice(facts)})


def in_order(store: Store, evaluated: Artifact, judged: Artifact | None) -> list[Manifest]:
    """Everything that led here, what was made first at the front.

    Of the model in production only its measurement: how it was made is the story of an earlier run.
    """
    found = ancestors(store, evaluated.address)
    ordered: dict[str, Manifest] = {}

    def visit(address: str | None, *, is_rival: bool = False) -> None:
        if address is None or address not in found or address in ordered:
            return
        manifest = found[address]
        # Training comes before all that is measured, so the tuned model's way goes first.
        for parent in sorted(manifest.identity.parents, key=lambda each: each.name != "tuned"):
            if not (is_rival and parent.name == "model"):
                visit(parent.address, is_rival=parent.name == "production")
        ordered[address] = manifest

    visit(evaluated.address)
    return [*ordered.values(), *([store.manifest(judged)] if judged else [])]


def warning_facts(manifests: Sequence[Manifest]) -> tuple[WarningFacts, ...]:
    """What the stages warned of, in their order."""
    return tuple(
        WarningFacts(stage=manifest.identity.stage, sentence=sentence)
        for manifest in manifests
        for sentence in manifest.warnings
    )


def _lengths(store: Store, tokenized: Artifact) -> tuple[LengthBand, ...]:
    tables = store.tables(tokenized, "sequences", ["seq_lengths"])
    return length_bands(pc.list_flatten(table["seq_lengths"].combine_chunks()).to_numpy() for table in tables)


def _masks(figures: list[dict[str, Any]]) -> str:
    turns, proven = (sum(each[name] for each in figures) for name in ("turns", "proven"))
    return f"The masks of {proven:,} of {turns:,} answers are proven: just what the assistant says is trained."


def stage_facts(store: Store, manifest: Manifest, side: str | None) -> StageFacts:
    """One stage as its manifest tells it; `side` is which of several models it is of."""
    return StageFacts(
        name=f"{manifest.identity.stage} of {side}" if side else manifest.identity.stage,
        fingerprint=manifest.fingerprint,
        address=f"{store.uri}/{manifest.identity.address}",
        seconds=manifest.provenance.get("seconds", 0.0),
        rows_read=manifest.counts.read,
        rows_kept=manifest.counts.kept,
        dropped=manifest.counts.dropped,
    )


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


def source_facts(store: Store, by_stage: dict[str, Manifest]) -> list[SourceFacts]:
    """Each source's rows by fate: what was read, rejected, held out, dropped by any stage, and shown.

    What was kept is counted where it was mixed, never as the remainder: a row that got lost must show.
    """
    dropped: dict[str, dict[str, int]] = {}
    unproven: dict[str, int] = {}
    for name in ("curation", "deduplication", "mixing", "tokenization"):
        for table in store.tables(by_stage[name].artifact, "dropped", ["source", "split", "reason"]):
            counts = table.group_by(["source", "split", "reason"], use_threads=False).aggregate([([], "count_all")])
            for row in counts.to_pylist():
                if row["split"] == "train":
                    reasons = dropped.setdefault(row["source"], {})
                    reasons[row["reason"]] = reasons.get(row["reason"], 0) + row["count_all"]
                    if name == "tokenization":
                        unproven[row["source"]] = unproven.get(row["source"], 0) + row["count_all"]
    shares = {row["source"]: row for row in by_stage["mixing"].facts["shares"]}
    trained = by_stage["training"]
    passes = trained.identity.config["epochs"] * trained.facts["steps"] / (trained.facts["planned_steps"] or 1)
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
                kept=max(share.get("rows", 0) - unproven.get(audit["source"], 0), 0),
                dropped=lost,
                epochs=round(share.get("copies", 0.0) * passes, 3),
                requested_share=share.get("requested"),
                achieved_share=share.get("achieved", 0.0),
                trainable_tokens=share.get("tokens", 0),
            )
        )
    return made


def lineage_facts(node: Node, told: set[str]) -> LineageFacts:
    """What an artifact came from; what has several heirs is unfolded below the first of them only."""
    if node.parents and node.label in told:
        return LineageFacts(label=node.name, address=f"{node.label}, as above")
    told.add(node.label)
    return LineageFacts(
        label=node.name,
        address=node.label,
        counts={"read": node.counts.read, "kept": node.counts.kept} if node.counts else {},
        children=tuple(lineage_facts(parent, told) for parent in node.parents),
    )


def _settings(by_stage: dict[str, Manifest]) -> str:
    configs = {name: manifest.identity.config for name, manifest in by_stage.items() if manifest.identity.config}
    settings = yaml.safe_dump(configs, sort_keys=False, allow_unicode=True, width=100)
    return f"# The settings of each stage; the recipe that says so is not at hand.\n{settings}"


def _limits(gates: dict[str, Any], by_stage: dict[str, Manifest]) -> tuple[str, ...]:
    figures = by_stage["tokenization"].facts
    limits = [
        f"Trained on texts of at most {figures['max_length']} tokens; "
        f"{figures['rows_cut']} longer ones were cut or split."
    ]
    gated = [s for s in gates["scores"] if s["verdict"] and s["group"] == "benchmark" and s["low"] <= 0]
    blind = dict.fromkeys(s["name"] for s in gated if (s["smallest_visible"] or 0) > gates["limits"]["investigate"])
    if blind:
        limits.append(
            f"Drops of {gates['limits']['investigate']:g} points stay unseen on {', '.join(blind)}: too few items, or "
            "too many changed answers."
        )
    limits.append(
        "Nothing beyond the measures listed here was tested: no safety evaluation, no other language, no tools."
    )
    return tuple(limits)
