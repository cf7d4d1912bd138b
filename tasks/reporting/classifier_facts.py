"""Everything that a classifier's report or model card shows: plain values, no artifact, no path to open."""

from datetime import UTC

from pydantic import AwareDatetime

from tasks.config import Config
from tasks.reporting.classifier_data_facts import (
    DistributionFacts,
    LabelledAuditFacts,
    PretrainingFacts,
    SuspectFacts,
    ValidationPoint,
)
from tasks.reporting.classifier_score_facts import (
    BinFacts,
    CalibrationFacts,
    ConfusionFacts,
    ErrorFacts,
    LabelFacts,
    MeasureFacts,
    MistakenFacts,
    ModelFacts,
    SliceFacts,
)
from tasks.reporting.facts import AdviceFacts, LicenceFacts, LineageFacts, Outcome, StageFacts, WarningFacts
from tasks.reporting.score_facts import ScoreFacts
from tasks.reporting.source_facts import SourceFacts
from tasks.reporting.training_facts import CurvePoint, LengthBand, TrainingFacts
from tasks.reporting.values import Count, Seconds, Text

__all__ = [
    "AdviceFacts",
    "BinFacts",
    "CalibrationFacts",
    "ClassifierFacts",
    "ConfusionFacts",
    "CurvePoint",
    "DistributionFacts",
    "ErrorFacts",
    "LabelFacts",
    "LabelledAuditFacts",
    "LengthBand",
    "LicenceFacts",
    "LineageFacts",
    "MeasureFacts",
    "MistakenFacts",
    "ModelFacts",
    "Outcome",
    "PretrainingFacts",
    "ScoreFacts",
    "SliceFacts",
    "SourceFacts",
    "StageFacts",
    "SuspectFacts",
    "TrainingFacts",
    "ValidationPoint",
    "WarningFacts",
    "published_classifier",
]


class ClassifierFacts(Config):
    """All that a classifier's report shows."""

    title: Text
    """The recipe's name."""
    outcome: Outcome
    """The verdict and its consequence."""
    made_at: AwareDatetime
    """When the report was made."""
    base_model: Text = ""
    """The base model's name; empty where the encoder was made in this run."""
    seconds: Seconds
    """How long the run took."""
    cost: Text = ""
    """What it cost, in words."""
    labels: tuple[Text, ...]
    """The labels' names, in the model's order."""
    multi_label: bool = False
    """Whether a row may bear several labels, or none."""
    text_pairs: bool = False
    """Whether rows consist of two texts."""
    max_length: Count | None = None
    """Most tokens that the model reads of a row."""
    models: tuple[ModelFacts, ...] = ()
    """The tuned model first, then what it is compared with, all on the same rows."""
    scores: tuple[ScoreFacts, ...] = ()
    """What the gate looked at: macro-F1 and accuracy against each rival, recall of labels against the floor."""
    per_label: tuple[LabelFacts, ...] = ()
    """How well each label is found, in any order."""
    confusion: ConfusionFacts | None = None
    """Which labels are taken for which; nothing where rows bear several."""
    calibration: CalibrationFacts | None = None
    """Whether the model is as often right as it says."""
    slices: tuple[SliceFacts, ...] = ()
    """Parts of the test split, the worst first."""
    errors: tuple[ErrorFacts, ...] = ()
    """Wrong answers, the surest first; the page shows up to 40."""
    wrong: Count = 0
    """Rows of the test split that are wrong, in all."""
    suspects: tuple[SuspectFacts, ...] = ()
    """Rows whose label may be wrong, the most suspicious first; the page shows up to 40."""
    suspected: Count = 0
    """Rows that were found suspicious, in all."""
    distribution: tuple[DistributionFacts, ...] = ()
    """Rows by label and split."""
    lengths: tuple[LengthBand, ...] = ()
    """Rows by length in tokens, before any is cut."""
    audits: tuple[LabelledAuditFacts, ...] = ()
    """What was found in the rows of each source."""
    sources: tuple[SourceFacts, ...] = ()
    """The fate of each source's rows: `heldout` are those of validation and test; a role may be empty."""
    pretraining: PretrainingFacts | None = None
    """How the encoder was made, where the recipe names no base model."""
    training: TrainingFacts | None = None
    """How the weights were trained; its curve is in nats a row."""
    validation: tuple[ValidationPoint, ...] = ()
    """Scores on the validation split, epoch by epoch."""
    stages: tuple[StageFacts, ...] = ()
    """The stages, in order."""
    warnings: tuple[WarningFacts, ...] = ()
    """What the stages warned of, in their order."""
    lineage: LineageFacts | None = None
    """From the model back to its sources."""
    recipe: Text = ""
    """The recipe as YAML."""
    command: Text = ""
    """How to run it again."""
    limits: tuple[Text, ...] = ()
    """Known limits."""
    licences: tuple[LicenceFacts, ...] = ()
    """Terms of the base model and of every source."""
    advice: tuple[AdviceFacts, ...] = ()
    """What to do next, most useful first."""

    @property
    def made_at_utc(self) -> str:
        """The time of making, to the minute."""
        return self.made_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def published_classifier(facts: ClassifierFacts) -> ClassifierFacts:
    """What may go out with the model: all but the rows of the data."""
    return facts.model_copy(update={"errors": (), "suspects": ()})
