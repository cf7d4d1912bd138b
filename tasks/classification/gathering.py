"""All that a classifier's report tells, read from an evaluation and everything that led to it."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import yaml

from tasks.artifacts.errors import CorruptArtifactError
from tasks.artifacts.lineage import ancestors, tree
from tasks.artifacts.manifest import Artifact, Manifest
from tasks.artifacts.store import Store
from tasks.classification.curation import CONTRADICTION
from tasks.classification.deduplication import COPY_OF, EXACT
from tasks.classification.mixing import UNSEEN
from tasks.classification.reading import NO_LABEL, NO_TEXT
from tasks.config import Config, flat
from tasks.gate_record import GATES
from tasks.gathering import About, lineage_facts, stage_facts, warning_facts
from tasks.labelled_text import SIDES
from tasks.reporting.classifier_advice import advice
from tasks.reporting.classifier_facts import (
    BinFacts,
    CalibrationFacts,
    ClassifierFacts,
    ConfusionFacts,
    CurvePoint,
    DistributionFacts,
    ErrorFacts,
    LabelFacts,
    LabelledAuditFacts,
    MeasureFacts,
    ModelFacts,
    Outcome,
    PretrainingFacts,
    SliceFacts,
    SourceFacts,
    SuspectFacts,
    TrainingFacts,
    ValidationPoint,
)
from tasks.reporting.gathered import score_facts
from tasks.reporting.training_facts import length_bands

INGESTION, CURATION, DEDUPLICATION = "labelled-ingestion", "labelled-curation", "labelled-deduplication"
MIXING, TOKENIZATION, TRAINING = "labelled-mixing", "labelled-tokenization", "classifier-training"
_NEEDED = (INGESTION, CURATION, DEDUPLICATION, MIXING, TOKENIZATION, TRAINING)
MODEL_NAMES = {
    "tuned": "tuned",
    "majority": "majority class",
    "tfidf": "TF-IDF + logistic regression",
    "frozen": "frozen backbone",
    "production": "production",
}
"""What the models are called on pages, in their order."""
_MOST_ROWS = 40

Row = Mapping[str, Any]
AnyFacts = TypeVar("AnyFacts", bound=Config)


def gather(store: Store, about: About, trained: Artifact, evaluated: Artifact) -> ClassifierFacts:
    """Everything that a report shows, from the manifests and tables of an evaluation and all that led to it."""
    manifests = _in_order(store, evaluated)
    by_stage = {manifest.identity.stage: manifest for manifest in manifests}
    if missing := [stage for stage in _NEEDED if stage not in by_stage]:
        raise CorruptArtifactError(
            f"store {store.uri}: what {evaluated.address} came from is no longer all there: no {missing[0]}; "
            "`fettle gc` keeps it only for the newest runs. Run the recipe again for a new report."
        )
    gates = json.loads(store.read_file(evaluated, GATES))
    mixed, tokenized = by_stage[MIXING], by_stage[TOKENIZATION]
    facts = store.manifest(evaluated).facts
    told = ClassifierFacts(
        title=about.name,
        outcome=Outcome(verdict=gates["verdict"], reason=gates["reason"]),
        made_at=datetime.now(UTC),
        base_model="" if "encoder" in by_stage else about.base_model,
        seconds=sum(manifest.provenance.get("seconds", 0.0) for manifest in manifests),
        labels=tuple(row["name"] for row in store.rows(mixed.artifact, "labels")),
        multi_label=bool(by_stage[TRAINING].identity.config["multi_label"]),
        text_pairs=any(row["text_pair"] for row in store.rows(mixed.artifact, "test", ["text_pair"])),
        max_length=tokenized.facts["max_length"],
        models=_models(store.rows(evaluated, "models"), len(store.table(mixed.artifact, "test", ["id"]))),
        scores=score_facts(gates["scores"]),
        per_label=tuple(LabelFacts(**row) for row in store.rows(evaluated, "labels")),
        confusion=_confusion(store, evaluated, mixed.artifact),
        calibration=_calibration(store, evaluated, facts),
        slices=tuple(SliceFacts(**row) for row in store.rows(evaluated, "slices")),
        errors=tuple(_error(row) for row in _first(store.rows(evaluated, "errors"))),
        wrong=facts["wrong"],
        suspects=tuple(_suspect(row) for row in _first(store.rows(mixed.artifact, "suspects"))),
        suspected=mixed.facts["suspicious"],
        distribution=tuple(DistributionFacts(**row) for row in mixed.facts["labels"]),
        lengths=length_bands([store.table(tokenized.artifact, "lengths")["tokens"].to_numpy()]),
        audits=tuple(_audits(store, by_stage)),
        sources=tuple(_sources(store, by_stage)),
        pretraining=_pretraining(by_stage.get("encoder")),
        training=_training(store, by_stage[TRAINING]),
        validation=tuple(_validation(store.rows(trained, "metrics"))),
        stages=tuple(_plain(stage_facts(store, manifest, None), "name") for manifest in manifests),
        warnings=tuple(_plain(each, "stage") for each in warning_facts(manifests)),
        lineage=lineage_facts(tree(store, evaluated.address), set()),
        recipe=about.recipe or _settings(by_stage),
        command=f"fettle run {about.name}.yaml --store {store.uri}",
        limits=tuple(_limits(mixed.facts["labels"], tokenized.facts)),
        licences=about.licences,
    )
    return told.model_copy(update={"advice": advice(told)})


def _in_order(store: Store, evaluated: Artifact) -> list[Manifest]:
    """Everything that led here, what was made first at the front; of the model in production only its measurement."""
    found = ancestors(store, evaluated.address)
    ordered: dict[str, Manifest] = {}

    def visit(address: str | None, *, is_rival: bool = False) -> None:
        if address is None or address not in found or address in ordered:
            return
        manifest = found[address]
        for parent in manifest.identity.parents:
            if not (is_rival and parent.name == "model"):
                visit(parent.address, is_rival=parent.name == "production")
        ordered[address] = manifest

    visit(evaluated.address)
    return list(ordered.values())


def _plain(facts: AnyFacts, field: str) -> AnyFacts:
    """With the stage as people call it: that its rows are labelled texts goes without saying here."""
    name = getattr(facts, field).removeprefix("labelled-").removeprefix("classifier-")
    return facts.model_copy(update={field: name})


def _first(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row, _ in zip(rows, range(_MOST_ROWS), strict=False)]


def _models(rows: Iterable[Row], asked: int) -> tuple[ModelFacts, ...]:
    found: dict[str, dict[str, MeasureFacts]] = {}
    for row in rows:
        if row["split"] == "test":
            measure = MeasureFacts(**{name: min(max(row[name], 0.0), 1.0) for name in ("value", "low", "high")})
            found.setdefault(row["model"], {})[row["metric"]] = measure
    return tuple(
        ModelFacts(name=told, rows=asked, **found[name]) for name, told in MODEL_NAMES.items() if name in found
    )


def _confusion(store: Store, evaluated: Artifact, mixed: Artifact) -> ConfusionFacts | None:
    cells = list(store.rows(evaluated, "confusion"))
    if not cells:
        return None
    labels = [row["name"] for row in store.rows(mixed, "labels")]
    counted = {(row["expected"], row["predicted"]): row["rows"] for row in cells}
    counts = tuple(tuple(counted.get((row, column), 0) for column in labels) for row in labels)
    return ConfusionFacts(labels=tuple(labels), counts=counts)


def _calibration(store: Store, evaluated: Artifact, facts: Row) -> CalibrationFacts:
    sides: dict[bool, list[BinFacts]] = {False: [], True: []}
    for row in store.rows(evaluated, "calibration"):
        told = {name: value for name, value in row.items() if name != "calibrated"}
        sides[row["calibrated"]].append(BinFacts(**told))
    return CalibrationFacts(
        temperature=facts["temperature"],
        ece_before=facts["ece_before"],
        ece_after=facts["ece_after"],
        before=tuple(sides[False]),
        after=tuple(sides[True]),
    )


def _error(row: dict[str, Any]) -> ErrorFacts:
    told = {name: row[name] for name in ("text", "text_pair", "expected", "predicted", "probability", "source")}
    return ErrorFacts(**told, place=f"{row['file']}:{row['line']}")


def _suspect(row: dict[str, Any]) -> SuspectFacts:
    told = {name: row[name] for name in ("text", "text_pair", "given", "suggested", "confidence", "source")}
    return SuspectFacts(**told, place=f"{row['file']}:{row['line']}")


def _dropped(store: Store, by_stage: Mapping[str, Manifest]) -> dict[str, Counter[str]]:
    """Rows that the data stages dropped, by source and reason."""
    found: dict[str, Counter[str]] = {}
    for name in (CURATION, DEDUPLICATION, MIXING):
        for row in store.rows(by_stage[name].artifact, "dropped", ["source", "reason"]):
            found.setdefault(row["source"], Counter())[row["reason"]] += 1
    return found


def _audits(store: Store, by_stage: Mapping[str, Manifest]) -> Iterable[LabelledAuditFacts]:
    dropped = _dropped(store, by_stage)
    rejected = Counter(
        row["source"]
        for row in store.rows(by_stage[INGESTION].artifact, "rejected", ["source", "cause"])
        if row["cause"] in (NO_TEXT, NO_LABEL)
    )
    cut = {row["source"]: row["rows"] for row in by_stage[TOKENIZATION].facts["cut_by_source"]}
    for audit in by_stage[INGESTION].facts["audit"]:
        lost = dropped.get(audit["source"], Counter())
        yield LabelledAuditFacts(
            source=audit["source"],
            rows=audit["rows"],
            missing=rejected[audit["source"]],
            contradictions=lost[CONTRADICTION],
            duplicates=lost[EXACT],
            leaks=sum(lost[reason] for reason in COPY_OF.values()),
            truncated=cut.get(audit["source"], 0),
            unseen_labels=lost[UNSEEN],
        )


def _sources(store: Store, by_stage: Mapping[str, Manifest]) -> Iterable[SourceFacts]:
    """Each source's rows by fate; what was kept is counted where it is learnt from: a row that got lost must show."""
    dropped, mixed, trained = _dropped(store, by_stage), by_stage[MIXING].artifact, by_stage[TRAINING]
    on_side = {side: Counter(row["source"] for row in store.rows(mixed, side, ["source"])) for side in SIDES}
    learnt = on_side["train"].total() or 1
    passes = trained.facts["steps"] / trained.facts["steps_per_epoch"]
    for audit in by_stage[INGESTION].facts["audit"]:
        name = audit["source"]
        yield SourceFacts(
            name=name,
            role="",
            files=audit["files"],
            read=audit["read"],
            rejected=audit["rejected"],
            heldout=on_side["validation"][name] + on_side["test"][name],
            kept=on_side["train"][name],
            dropped=dict(dropped.get(name, {})),
            epochs=round(passes, 3) if on_side["train"][name] else 0.0,
            achieved_share=on_side["train"][name] / learnt,
            trainable_tokens=0,
        )


def _pretraining(manifest: Manifest | None) -> PretrainingFacts | None:
    if manifest is None:
        return None
    told = {name: manifest.facts.get(name) for name in ("parameters", "vocabulary", "tokens", "seconds")}
    losses = {"loss_first": manifest.facts.get("first_loss"), "loss_last": manifest.facts.get("last_loss")}
    return PretrainingFacts(**told, **losses, settings=flat(manifest.identity.config))


def _training(store: Store, manifest: Manifest) -> TrainingFacts:
    facts, settings = manifest.facts, dict(manifest.identity.config)
    method = settings.pop("method")
    # What the recipe left open stands as it was chosen.
    settings |= {name: facts[name] for name, value in settings.items() if value is None and name in facts}
    named = ("device", "parameters", "trainable_parameters", "tokens", "tokens_per_second", "seconds", "steps")
    curve = [
        CurvePoint(step=row["step"], loss=row["loss"], heldout_loss=row["heldout_loss"])
        for row in store.rows(manifest.artifact, "metrics")
        if row["loss"] is not None
    ]
    return TrainingFacts(
        method=method["kind"],
        **{name: facts[name] for name in (*named, "planned_steps", "best_step")},
        settings=flat({"method": {name: value for name, value in method.items() if name != "kind"}, **settings}),
        curve=tuple(curve),
    )


def _validation(rows: Iterable[Row]) -> Iterable[ValidationPoint]:
    for row in rows:
        if row["macro_f1"] is not None:
            named = {name: row[name] for name in ("step", "epoch", "macro_f1", "accuracy")}
            yield ValidationPoint(**named, loss=row["heldout_loss"])


def _settings(by_stage: Mapping[str, Manifest]) -> str:
    configs = {name: manifest.identity.config for name, manifest in by_stage.items() if manifest.identity.config}
    settings = yaml.safe_dump(configs, sort_keys=False, allow_unicode=True, width=100)
    return f"# The settings of each stage; the recipe that says so is not at hand.\n{settings}"


def _limits(labels: Sequence[Row], tokenized: Row) -> Iterable[str]:
    yield (
        f"Of a text the first {tokenized['max_length']} tokens are read; {tokenized['cut']:,} of the texts that were "
        "learnt from are longer."
    )
    unmeasured = [str(row["label"]) for row in labels if not row["test"]]
    if unmeasured:
        yield f"Nothing is known of {len(unmeasured)} labels without test rows, such as {unmeasured[0]}."
    yield "Texts unlike the sources' get one of these labels, too; other languages and fields were not tested."
