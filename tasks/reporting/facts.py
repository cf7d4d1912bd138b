"""Everything that a report or a model card shows, and nothing else: plain values, no artifact, no path to open."""

from collections.abc import Sequence
from datetime import UTC
from typing import Literal

from pydantic import AwareDatetime, Field

from tasks.config import Config
from tasks.reporting.judged_facts import JudgeFacts, RatingFacts
from tasks.reporting.masks import SampleFacts as MaskSample
from tasks.reporting.score_facts import (
    ForgottenFacts,
    InstructionFacts,
    Marks,
    SampleFacts,
    ScoreFacts,
    SubjectFacts,
    Verdict,
)
from tasks.reporting.source_facts import AuditFacts, SourceFacts
from tasks.reporting.training_facts import CurvePoint, DiagnosisFacts, LengthBand, TrainingFacts
from tasks.reporting.values import Count, Seconds, Text

__all__ = [
    "AdviceFacts",
    "AuditFacts",
    "CurvePoint",
    "DiagnosisFacts",
    "Facts",
    "ForgottenFacts",
    "InstructionFacts",
    "JudgeFacts",
    "LengthBand",
    "LicenceFacts",
    "LineageFacts",
    "Marks",
    "Outcome",
    "RatingFacts",
    "SampleFacts",
    "ScoreFacts",
    "SourceFacts",
    "StageFacts",
    "SubjectFacts",
    "TrainingFacts",
    "Verdict",
    "WarningFacts",
    "dropped_by_reason",
    "published",
    "showcase",
]


class Outcome(Config):
    """What the gate decided and what came of it."""

    verdict: Verdict
    """The gate's verdict over all scores."""
    reason: Text
    """Why, in one sentence."""
    published: Text | None = None
    """The registry version that was published, or nothing."""


class StageFacts(Config):
    """One stage of the run, as its manifest tells it."""

    name: Text
    """The stage's name."""
    fingerprint: Text
    """The whole sha256 of the stage's identity."""
    address: Text
    """Where its artifact lies."""
    seconds: Seconds
    """How long the artifact took to make, also when this run reused it."""
    rows_read: Count
    """Rows that came in."""
    rows_kept: Count
    """Rows that went on."""
    dropped: dict[Text, Count] = Field(default_factory=dict)
    """Rows that did not, by reason."""
    reused: bool = False
    """The artifact was there already."""


class WarningFacts(Config):
    """Something that a stage wants people to know."""

    stage: Text
    """The stage."""
    sentence: Text
    """What is wrong, the value, what to do."""


class LineageFacts(Config):
    """One artifact and what it was made from."""

    label: Text
    """Stage or source."""
    address: Text = ""
    """Where it lies."""
    counts: dict[Text, int] = Field(default_factory=dict)
    """What its manifest counts."""
    children: "tuple[LineageFacts, ...]" = ()
    """Its parents in the making, nested below it on the page."""


class LicenceFacts(Config):
    """Under which terms a model or a source came."""

    name: Text
    """The model or source."""
    licence: Text
    """Its licence, or that it is unknown."""
    origin: Text = ""
    """Where it was taken from."""


class AdviceFacts(Config):
    """Something worth doing next."""

    what: Text
    """What to do."""
    evidence: Text = ""
    """What in this run speaks for it."""
    command: Text = ""
    """What to type, where one command does it."""


class Facts(Config):
    """All that a report shows."""

    title: Text
    """The recipe's name."""
    outcome: Outcome
    """The verdict and its consequence."""
    made_at: AwareDatetime
    """When the report was made."""
    base_model: Text
    """The base model's name."""
    seconds: Seconds
    """How long the run took."""
    cost: Text = ""
    """What it cost, in words."""
    weights: Literal["model", "adapter"] = "model"
    """What is published: a whole model, or an adapter on top of the base."""
    stages: tuple[StageFacts, ...] = ()
    """The stages, in order."""
    scores: tuple[ScoreFacts, ...] = ()
    """Base against tuned, and production against tuned where that was measured."""
    marks: Marks | None = None
    """How far the gate lets a score fall."""
    subjects: tuple[SubjectFacts, ...] = ()
    """Subjects of the benchmarks, the worst first."""
    instructions: tuple[InstructionFacts, ...] = ()
    """How well instructions are followed, where that was measured."""
    judge: tuple[JudgeFacts, ...] = ()
    """What judges preferred."""
    ratings: RatingFacts | None = None
    """What people said of the samples."""
    training: TrainingFacts | None = None
    """How the weights were trained."""
    sources: tuple[SourceFacts, ...] = ()
    """The data."""
    audits: tuple[AuditFacts, ...] = ()
    """What the sources hold."""
    warnings: tuple[WarningFacts, ...] = ()
    """What the stages warned of, in their order."""
    masks: Text = ""
    """How much of the loss masks is proven; then `masks.html` lies beside the report."""
    mask_samples: tuple[MaskSample, ...] = ()
    """A few training rows, token by token; left out of what is published."""
    lengths: tuple[LengthBand, ...] = ()
    """Lengths of the texts trained on, each as often as it is shown."""
    samples: tuple[SampleFacts, ...] = ()
    """Answers side by side; up to about 40."""
    forgotten: tuple[ForgottenFacts, ...] = ()
    """Items lost by tuning."""
    lineage: LineageFacts | None = None
    """From the model back to its sources."""
    recipe: Text = ""
    """The recipe as YAML."""
    command: Text = ""
    """How to run it again."""
    decide: Text = ""
    """How to ask more items until every open case is decided."""
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


def published(facts: Facts) -> Facts:
    """What may go out with the model: all but the training rows."""
    return facts.model_copy(update={"mask_samples": ()})


def dropped_by_reason(sources: Sequence[SourceFacts]) -> list[tuple[str, int]]:
    """Rows lost over all these sources together, the biggest loss first."""
    totals: dict[str, int] = {}
    for source in sources:
        for reason, count in source.dropped.items():
            totals[reason] = totals.get(reason, 0) + count
    return sorted(totals.items(), key=lambda entry: (-entry[1], entry[0]))


def showcase(samples: Sequence[SampleFacts], most: int = 3) -> list[SampleFacts]:
    """A few samples for the top of the page: better, worse and undecided in turn, so that the choice flatters none."""
    queues = [[sample for sample in samples if sample.improved is kind] for kind in (True, False, None)]
    longest = max(map(len, queues))
    turns = [queue[turn] for turn in range(longest) for queue in queues if turn < len(queue)]
    return turns[:most]
