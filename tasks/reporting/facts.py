"""Everything that a report or a model card shows, and nothing else: plain values, no artifact, no path to open."""

from collections.abc import Sequence
from datetime import UTC
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from tasks.config import Config
from tasks.reporting.source_facts import AuditFacts, SourceFacts
from tasks.reporting.values import Count, Scalar, Seconds, Text

Verdict = Literal["pass", "investigate", "fail", "underpowered"]
Kind = Literal["multiple choice", "exact answer", "held-out loss", "apology rate", "perplexity"]
Effect = Literal["better", "worse", "unsure"]


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


class ScoreFacts(Config):
    """One measurement of the base and the tuned model on the same items."""

    name: Text
    """The benchmark or measure."""
    kind: Kind
    """What was measured."""
    better: Literal["higher", "lower"]
    """Which way is better."""
    base: float
    """The base model's score, percentages as 0–100."""
    tuned: float
    """The tuned model's score, in the same unit."""
    difference: float
    """Tuned minus base, in the same unit; a drop is negative, also where lower is better."""
    low: float | None = None
    """Lower end of the interval of the difference, or nothing where none is known."""
    high: float | None = None
    """Upper end of the interval of the difference."""
    unit: Literal["%", "nats", ""] = "%"
    """Percent, nats, or no unit."""
    items: Count
    """Items that both models answered."""
    verdict: Verdict | None = None
    """The gate's verdict on this score; nothing where the gate does not look at it."""
    note: Text = ""
    """A remark, such as the smallest drop that the run could have seen."""

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        """A swapped sign would turn a loss into a gain on the page, so it is refused."""
        if (self.low is None) != (self.high is None):
            raise ValueError(f"interval of {self.name!r} has one end only; give both ends, or neither")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"interval of {self.name!r} runs from {self.low} to {self.high}; give low before high")
        expected = self.tuned - self.base
        if expected * self.difference < 0 and min(abs(expected), abs(self.difference)) > 0.005:
            raise ValueError(
                f"difference of {self.name!r} is {self.difference}, but tuned - base is {expected:g}; "
                "give tuned minus base"
            )
        return self

    @property
    def effect(self) -> Effect:
        """Better or worse only where the whole interval says so."""
        if self.low is None or self.high is None or self.low <= 0 <= self.high:
            return "unsure"
        return "better" if (self.low > 0) == (self.better == "higher") else "worse"


class CurvePoint(Config):
    """The losses at one optimiser step."""

    step: Count
    """Optimiser step."""
    loss: float
    """Training loss, nats a token."""
    heldout_loss: float | None = None
    """Held-out loss, nats a token, at the steps where it was measured."""


class DiagnosisFacts(Config):
    """What the watch over training found."""

    name: Text
    """What it is called, such as overfitting."""
    sentence: Text
    """What was seen, with its numbers."""
    advice: Text = ""
    """What to do."""


class TrainingFacts(Config):
    """How the weights were trained."""

    method: Text
    """Full, LoRA, QLoRA, …"""
    device: Text
    """What it ran on."""
    parameters: Count
    """Parameters of the model."""
    trainable_parameters: Count
    """Parameters that were trained."""
    tokens: Count
    """Tokens seen, all epochs together."""
    tokens_per_second: Annotated[float, Field(ge=0)]
    """Training speed."""
    seconds: Seconds | None = None
    """How long training took."""
    steps: Count | None = None
    """Optimiser steps that were taken."""
    planned_steps: Count | None = None
    """Optimiser steps that the recipe asks for; fewer are taken where training stops early."""
    best_step: Count | None = None
    """The step whose weights are kept."""
    diagnoses: tuple[DiagnosisFacts, ...] = ()
    """What was found wrong, the gravest first."""
    settings: dict[Text, Scalar] = Field(default_factory=dict)
    """Learning rate, epochs, batch size and the like, in reading order."""
    curve: tuple[CurvePoint, ...] = ()
    """The losses, in step order."""


class LengthBand(Config):
    """Conversations whose length lies in one band."""

    from_tokens: Count
    """Shortest length in the band."""
    to_tokens: Count
    """Longest length in the band."""
    rows: Count
    """Conversations."""


class WarningFacts(Config):
    """Something that a stage wants people to know."""

    stage: Text
    """The stage."""
    sentence: Text
    """What is wrong, the value, what to do."""


class SampleFacts(Config):
    """One prompt with both models' answers."""

    prompt: Text
    """What was asked."""
    expected: Text = ""
    """The reference answer, where there is one."""
    base: Text
    """The base model's answer."""
    tuned: Text
    """The tuned model's answer."""
    benchmark: Text
    """Where the prompt comes from."""
    improved: bool | None = None
    """Whether the tuned answer is better; nothing where no one can tell."""


class ForgottenFacts(Config):
    """An item that the base model had right and the tuned model has wrong."""

    benchmark: Text
    """The benchmark."""
    subject: Text = ""
    """The subject within the benchmark."""
    prompt: Text
    """What was asked."""
    expected: Text
    """The right answer."""
    base: Text
    """The base model's answer."""
    tuned: Text
    """The tuned model's answer."""


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
    """Base against tuned."""
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
    lengths: tuple[LengthBand, ...] = ()
    """Lengths of the conversations trained on."""
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
