"""Two realistic runs of a classifier, told as facts: four kinds of support mail, and the 77 intents of a bank."""

import math
import random
from collections.abc import Sequence
from datetime import UTC, datetime

from tasks.reporting.classifier_facts import (
    AdviceFacts,
    BinFacts,
    CalibrationFacts,
    ClassifierFacts,
    ConfusionFacts,
    CurvePoint,
    DistributionFacts,
    ErrorFacts,
    LabelFacts,
    LabelledAuditFacts,
    LengthBand,
    LicenceFacts,
    LineageFacts,
    MeasureFacts,
    ModelFacts,
    Outcome,
    PretrainingFacts,
    ScoreFacts,
    SliceFacts,
    SourceFacts,
    StageFacts,
    SuspectFacts,
    TrainingFacts,
    ValidationPoint,
    WarningFacts,
)

RECIPE = """\
name: support-triage
kind: classification
labels: {column: topic}
sources:
  - {name: mail, uri: data/mail/*.jsonl}
  - {name: web, uri: s3://raw/forms.parquet}
split: {validation: 0.1, test: 0.2}
training: {method: full, epochs: 8}
"""
FEW = ("billing", "refund", "technical problem", "other")
_VERBS = ("activate", "cancel", "change", "confirm", "dispute", "find", "get", "lost", "order", "pending", "top up")
_THINGS = ("my card", "physical card", "transfer", "exchange rate", "pin", "identity check", "refund")
MANY = tuple(f"{verb} {thing}".replace(" ", "_") for verb in _VERBS for thing in _THINGS)
assert len(MANY) == 77


def confused(labels: Sequence[str], rows: Sequence[int], wrong: float) -> ConfusionFacts:
    """A matrix most of whose errors lie beside the diagonal, where the labels resemble one another."""
    chance = random.Random(11)
    counts = [[0] * len(labels) for _ in labels]
    for row, count in enumerate(rows):
        hard = wrong * chance.choice((0.3, 0.7, 1.0, 2.2))
        for _ in range(count):
            beside = row + chance.choice((-1, 1, 1, 2, chance.randrange(len(labels))))
            counts[row][beside % len(labels) if chance.random() < hard else row] += 1
    return ConfusionFacts(labels=tuple(labels), counts=tuple(map(tuple, counts)))


def wilson(right: int, rows: int) -> tuple[float, float]:
    """The 95 % interval of a share."""
    if not rows:
        return 0.0, 1.0
    z, p = 1.96, right / rows
    middle, reach = p + z * z / (2 * rows), z * math.sqrt(p * (1 - p) / rows + z * z / (4 * rows * rows))
    return max(0.0, (middle - reach) / (1 + z * z / rows)), min(1.0, (middle + reach) / (1 + z * z / rows))


def per_label(confusion: ConfusionFacts) -> tuple[LabelFacts, ...]:
    """What the matrix says of each label."""
    found = []
    for place, label in enumerate(confusion.labels):
        right, rows = confusion.counts[place][place], sum(confusion.counts[place])
        predicted = sum(line[place] for line in confusion.counts)
        precision, recall = right / predicted if predicted else 0.0, right / rows if rows else 0.0
        low, high = wilson(right, rows)
        f1 = 2 * right / (rows + predicted) if rows + predicted else 0.0
        found.append(
            LabelFacts(label=label, rows=rows, predicted=predicted, precision=precision, recall=recall, f1=f1,
                       recall_low=low, recall_high=high)
        )  # fmt: skip
    return tuple(found)


def model(name: str, rows: int, accuracy: float, macro_f1: float, weighted_f1: float) -> ModelFacts:
    """A model whose intervals are as wide as so many rows make them."""
    accuracy_, macro, weighted = (
        MeasureFacts(value=value, low=max(0.0, value - reach), high=min(1.0, value + reach))
        for value in (accuracy, macro_f1, weighted_f1)
        for reach in [1.96 * math.sqrt(value * (1 - value) / rows)]
    )
    return ModelFacts(name=name, rows=rows, accuracy=accuracy_, macro_f1=macro, weighted_f1=weighted)


def against(rival: str, tuned: float, base: float, reach: float, rows: int, verdict: str | None) -> ScoreFacts:
    """Macro-F1 of the tuned model against a rival's."""
    return ScoreFacts.model_validate({
        "name": "macro-F1", "kind": "macro-F1", "better": "higher", "unit": "%", "items": rows, "against": rival,
        "group": "production" if rival == "production" else "baseline", "base": base, "tuned": tuned,
        "difference": tuned - base, "low": tuned - base - reach, "high": tuned - base + reach, "verdict": verdict,
    })  # fmt: skip


def accurate(rival: str, tuned: float, base: float, reach: float, lost: int, gained: int, p: float) -> ScoreFacts:
    """Accuracy against a rival's: told, not judged."""
    plain = against(rival, tuned, base, reach, 420, None)
    told = {"name": "accuracy", "kind": "accuracy", "lost": lost, "gained": gained, "mcnemar_p": p}
    return plain.model_copy(update=told)


def floor(label: str, recall: float, low: float, high: float, rows: int, verdict: str) -> ScoreFacts:
    """The recall of a label against the floor."""
    return ScoreFacts.model_validate({
        "name": f"recall of {label}", "kind": "recall", "better": "higher", "unit": "%", "items": rows, "base": 10.0,
        "tuned": recall, "difference": recall - 10, "low": low - 10, "high": high - 10, "verdict": verdict,
        "against": "floor", "group": "label",
    })  # fmt: skip


def bins(rows: int, hubris: float) -> tuple[BinFacts, ...]:
    """Confidence against accuracy of a model that is surer than it should be."""
    found = []
    for place in range(3, 10):
        confidence = place / 10 + 0.05
        found.append(
            BinFacts(low=place / 10, high=place / 10 + 0.1, rows=rows * (place - 2) ** 2 // 140, confidence=confidence,
                     accuracy=round(max(0.0, confidence - hubris * math.sin(math.pi * (confidence - 0.2))), 3))
        )  # fmt: skip
    return tuple(found)


def curve(steps: int, last: float) -> tuple[CurvePoint, ...]:
    """A training loss that falls from the loss of a guess."""
    noise = random.Random(3)
    return tuple(
        CurvePoint(step=step, loss=round(max(0.01, last + 1.3 * math.exp(-4 * step / steps) + noise.gauss(0, 0.04)), 4))
        for step in range(5, steps + 1, 5)
    )


def validation(steps: int, epochs: int, best: float) -> tuple[ValidationPoint, ...]:
    """Scores that rise and level off."""
    return tuple(
        ValidationPoint(
            step=steps * epoch // epochs, epoch=epoch,
            loss=round(0.31 + 0.9 * math.exp(-epoch / 1.5) + 0.02 * epoch, 4),
            macro_f1=round(best * (1 - 0.55 * math.exp(-epoch / 1.4)), 4),
            accuracy=round((best + 0.03) * (1 - 0.4 * math.exp(-epoch / 1.2)), 4),
        )
        for epoch in range(1, epochs + 1)
    )  # fmt: skip


def distributed(labels: Sequence[str], commonest: int, shrink: float) -> tuple[DistributionFacts, ...]:
    """Labels each rarer than the one before."""
    counts = [max(5, round(commonest * shrink**place)) for place in range(len(labels))]
    return tuple(
        DistributionFacts(label=label, train=count - count // 10 - count // 5, validation=count // 10, test=count // 5)
        for label, count in zip(labels, counts, strict=True)
    )


TEXTS = (
    "I was charged twice for the same month and nobody answers the phone.",
    "The app closes as soon as I open the statement of March. I have installed it anew, restarted the phone and "
    "asked at the branch, where they told me to write to you, so here I am, for the third time this week.",
    "Please send the money back to the old account",
    "why is my card still pending??? ordered it 3 weeks ago",
    "שלום, איך מבטלים את הכרטיס?",
    "Is there anyone at all.\n\nI mean it.",
)
ERRORS = tuple(
    ErrorFacts(text=text, expected=(FEW[place % 4],), predicted=(FEW[(place + 1) % 4],),
               probability=round(0.994 - 0.013 * place, 3), source=("mail", "web")[place % 2],
               place=f"data/mail/2025-0{place + 1}.jsonl:{118 + 97 * place}")
    for place, text in enumerate(TEXTS)
)  # fmt: skip
SUSPECTS = tuple(
    SuspectFacts(text=text, given=(FEW[(place + 2) % 4],), suggested=(FEW[place % 4],),
                 confidence=round(0.011 + 0.017 * place, 3), source="web", place=f"s3://raw/forms.parquet:{71 * place}")
    for place, text in enumerate(TEXTS[::-1])
)  # fmt: skip
SLICES = (
    SliceFacts(name="source web", rows=128, accuracy=0.781, low=0.702, high=0.844, difference=-0.142),
    SliceFacts(name="42 to 388 words", rows=104, accuracy=0.827, low=0.743, high=0.888, difference=-0.069),
    SliceFacts(name="1 to 9 words", rows=110, accuracy=0.873, low=0.798, high=0.923, difference=-0.009),
    SliceFacts(name="source mail", rows=292, accuracy=0.923, low=0.887, high=0.948, difference=0.142),
)
AUDITS = (
    LabelledAuditFacts(source="mail", rows=1561, missing=12, contradictions=6, duplicates=88, truncated=41),
    LabelledAuditFacts(source="web", rows=701, missing=3, contradictions=14, duplicates=61, leaks=9, unseen_labels=2),
)
SOURCES = (
    SourceFacts(
        name="mail", role="", files=7, read=1578, rejected=17, heldout=438, kept=1017, achieved_share=0.7,
        dropped={"missing_label": 12, "duplicate": 88, "contradictory": 6}, trainable_tokens=61020,
    ),
    SourceFacts(
        name="web", role="", files=1, read=701, heldout=192, kept=420, achieved_share=0.3,
        dropped={"missing_text": 3, "duplicate": 61, "contradictory": 14, "leak": 9, "unseen_label": 2},
        trainable_tokens=21840,
    ),
)  # fmt: skip
STAGES = tuple(
    StageFacts(
        name=name, fingerprint=f"{letter * 4}7e5d{letter * 56}", seconds=seconds, rows_read=read, rows_kept=kept,
        address=f"s3://fettle/store/{name}/{letter * 4}7e5d{letter * 8}", dropped=dropped, reused=name == "ingest",
    )
    for name, letter, seconds, read, kept, dropped in (
        ("ingest", "a", 1.4, 2279, 2262, {"malformed": 17}),
        ("curate", "b", 2.1, 2262, 2225, {"missing": 15, "contradictory": 20, "unseen_label": 2}),
        ("deduplicate", "c", 3.9, 2225, 2067, {"duplicate": 149, "leak": 9}),
        ("tokenize", "e", 1.2, 2067, 2067, {}),
        ("train", "f", 188.0, 1437, 1437, {}),
        ("evaluate", "0", 31.0, 420, 420, {}),
        ("publish", "1", 0.4, 1, 1, {}),
    )
)  # fmt: skip
LINEAGE = LineageFacts(
    label="support-triage 3", address="s3://fettle/store/publish/11117e5d11111111", counts={"files": 7},
    children=(
        LineageFacts(label="train", address="s3://fettle/store/train/ffff7e5dffffffff", counts={"rows": 1437},
                     children=tuple(LineageFacts(label=each.name, counts={"read": each.read}) for each in SOURCES)),
        LineageFacts(label="distilbert-base-uncased", counts={"parameters": 66365956}),
    ),
)  # fmt: skip
_FEW = ConfusionFacts(
    labels=FEW, counts=((158, 7, 3, 2), (6, 110, 3, 1), (5, 2, 82, 1), (19, 4, 14, 3)),
)  # fmt: skip
_MANY = confused(MANY, tuple(40 if place % 5 else 12 for place in range(77)), 0.12)
LENGTHS = tuple(
    LengthBand(from_tokens=i * 16, to_tokens=i * 16 + 15, rows=rows)
    for i, rows in enumerate((310, 720, 533, 340, 170, 90, 51, 22, 14, 8, 3, 0, 1))
)

FOUR = ClassifierFacts(
    title="support-triage",
    outcome=Outcome(
        verdict="investigate",
        reason="Macro-F1 is 1.2 points below production (−4.0 to +1.6); that it is not worse is not sure.",
    ),
    made_at=datetime(2025, 4, 14, 9, 31, tzinfo=UTC),
    base_model="distilbert/distilbert-base-uncased",
    seconds=231.4,
    cost="0.06 GPU hours, about 0.05 USD",
    labels=FEW,
    max_length=128,
    models=(
        model("tuned", 420, 0.84, 0.693, 0.812),
        model("majority class", 420, 0.405, 0.144, 0.233),
        model("TF-IDF + logistic regression", 420, 0.79, 0.641, 0.77),
        model("frozen backbone", 420, 0.81, 0.672, 0.79),
        model("production", 420, 0.85, 0.705, 0.83),
    ),
    scores=(
        against("majority", 69.3, 14.4, 4.1, 420, "pass"),
        accurate("majority", 84.0, 40.5, 5.0, 6, 209, 0.0),
        against("tfidf", 69.3, 64.1, 3.6, 420, "pass"),
        accurate("tfidf", 84.0, 79.0, 3.4, 17, 42, 0.0015),
        against("frozen", 69.3, 67.2, 6.1, 420, "underpowered"),
        accurate("frozen", 84.0, 81.0, 4.4, 21, 39, 0.027),
        against("production", 69.3, 70.5, 2.8, 420, "investigate"),
        accurate("production", 84.0, 85.0, 2.2, 12, 9, 0.664),
        floor("other", 7.5, 2.0, 21.0, 40, "investigate"),
    ),
    per_label=per_label(_FEW),
    confusion=_FEW,
    calibration=CalibrationFacts(
        temperature=1.472, ece_before=0.083, ece_after=0.021, before=bins(420, 0.14), after=bins(420, 0.03)
    ),
    slices=SLICES,
    errors=ERRORS,
    wrong=67,
    suspects=SUSPECTS,
    suspected=61,
    distribution=distributed(FEW, 850, 0.62),
    lengths=LENGTHS,
    audits=AUDITS,
    sources=SOURCES,
    training=TrainingFacts(
        method="full", device="NVIDIA L4", parameters=66365956, trainable_parameters=66365956, tokens=662880,
        tokens_per_second=5021.5, seconds=188.0, steps=360, planned_steps=480, best_step=300, curve=curve(360, 0.08),
        settings={"learning_rate": 3e-5, "epochs": 8, "batch_size": 24, "warmup_ratio": 0.1, "weight_decay": 0.01,
                  "label_smoothing": 0.0, "class_weights": "balanced", "dtype": "bfloat16", "seed": 17},
    ),
    validation=validation(360, 6, 0.71),
    stages=STAGES,
    warnings=(
        WarningFacts(
            stage="curation",
            sentence="20 rows of the same text bear different labels (mail 6, web 14); they were dropped, look at them",
        ),
    ),
    lineage=LINEAGE,
    recipe=RECIPE,
    command="fettle run support-triage.yaml",
    limits=("Trained and measured in English only.", "Knows no topic but these four."),
    licences=(
        LicenceFacts(name="distilbert/distilbert-base-uncased", licence="Apache-2.0", origin="Hugging Face Hub"),
        LicenceFacts(name="mail", licence="internal", origin="data/mail"),
    ),
    advice=(
        AdviceFacts(
            what="Look through the labels in doubt before anything else.",
            evidence="61 of 1,437 rows to train on, most of them from web, which is also the weakest part.",
        ),
        AdviceFacts(
            what="Keep the model in production where it is, and see what its run did otherwise.",
            evidence="macro-F1 −1.2 points against production.",
            command="fettle diff support-triage production",
        ),
    ),
)  # fmt: skip

SEVENTY_SEVEN = FOUR.model_copy(
    update={
        "title": "bank-intents",
        "outcome": Outcome(
            verdict="fail",
            reason="Macro-F1 is surely below that of TF-IDF + logistic regression: −3.1 points (−5.0 to −1.2).",
        ),
        "base_model": "",
        "labels": MANY,
        "models": (
            model("tuned", 2632, 0.842, 0.801, 0.84),
            model("majority class", 2632, 0.015, 0.0004, 0.0005),
            model("TF-IDF + logistic regression", 2632, 0.861, 0.832, 0.86),
        ),
        "scores": (
            against("majority", 80.1, 0.04, 1.6, 2632, "pass"),
            against("tfidf", 80.1, 83.2, 1.9, 2632, "fail"),
            *(floor(MANY[place], 4.0, 1.0, 9.0, 40, "fail") for place in (3, 10, 11, 12, 30, 70)),
        ),
        "per_label": per_label(_MANY),
        "confusion": _MANY,
        "distribution": distributed(MANY, 230, 0.96),
        "pretraining": PretrainingFacts(
            parameters=4_812_211, vocabulary=8000, tokens=1_204_112, seconds=96.2, loss_first=8.987, loss_last=4.211,
            settings={"layers": 2, "hidden_size": 192, "mask_ratio": 0.3, "epochs": 10},
        ),
        "wrong": 416,
        "errors": tuple(
            ErrorFacts(text=f"{text} ({place})", expected=(MANY[place],), predicted=(MANY[place + 7],),
                       probability=0.99 - place / 100, source="bank")
            for place, text in enumerate(TEXTS * 10)
        ),
        "advice": (),
        "warnings": (),
    }
)  # fmt: skip

SEVERAL = FOUR.model_copy(
    update={
        "title": "mail-topics", "multi_label": True, "text_pairs": True, "confusion": None,
        "errors": (
            ErrorFacts(text=TEXTS[0], text_pair=TEXTS[1], expected=("billing", "refund"), predicted=(),
                       probability=0.9),
        ),
        "outcome": Outcome(verdict="pass", reason="Surely above all baselines.", published="4"),
        "scores": FOUR.scores[:4], "models": FOUR.models[:3],
    }
)  # fmt: skip
EMPTY = ClassifierFacts(
    title="bare", outcome=Outcome(verdict="underpowered", reason="Nothing was measured that the gate could judge."),
    made_at=datetime(2025, 4, 14, 9, 31, tzinfo=UTC), seconds=0.2, labels=("a", "b"),
)  # fmt: skip
