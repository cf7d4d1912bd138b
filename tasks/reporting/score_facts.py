"""What a report tells of the comparison: scores of both models, what was lost and gained, and their answers."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tasks.config import Config
from tasks.reporting.values import Count, Share, Text

Verdict = Literal["pass", "investigate", "fail", "underpowered"]
Effect = Literal["better", "worse", "unsure"]
Group = Literal["benchmark", "loss", "behaviour", "macro", "baseline", "production", "label"]
Against = Literal["base", "production", "majority", "tfidf", "frozen", "floor"]
"""The rivals of a classifier among them, and the floor that no label's recall may be under."""


class Marks(Config):
    """How far a gated score may fall, in points."""

    investigate: Annotated[float, Field(ge=0)]
    """A sure fall beyond this wants a look."""
    fail: Annotated[float, Field(ge=0)]
    """A sure fall beyond this keeps the model from being published."""


class ScoreFacts(Config):
    """One measurement of two models on the same items."""

    name: Text
    """The benchmark or measure."""
    kind: Text
    """What was measured, such as multiple choice."""
    better: Literal["higher", "lower"]
    """Which way is better."""
    base: float
    """The score of the base model, or of the one in production; percentages as 0–100."""
    tuned: float
    """The tuned model's score, in the same unit."""
    difference: float
    """Tuned minus base, in the same unit; a drop is negative, also where lower is better."""
    low: float | None = None
    """Lower end of the interval of the difference, or nothing where none is known."""
    high: float | None = None
    """Upper end of the interval of the difference."""
    bootstrap_low: float | None = None
    """Lower end of the interval that a paired bootstrap gives."""
    bootstrap_high: float | None = None
    """Upper end of that interval."""
    mcnemar_p: Share | None = None
    """McNemar's mid-p of the items that only one of the two has right."""
    unit: Literal["%", "nats", ""] = "%"
    """Percent, nats, or no unit."""
    items: Count
    """Items that both models answered."""
    clusters: Count | None = None
    """Groups of items that share their errors, such as the subjects of MMLU."""
    lost: Count | None = None
    """Items that only the base model has right."""
    gained: Count | None = None
    """Items that only the tuned model has right."""
    smallest_visible: float | None = None
    """The smallest drop that so many items could have shown, in points."""
    needed_items: Count | None = None
    """About how many items would decide an open case."""
    verdict: Verdict | None = None
    """The gate's verdict on this score; nothing where the gate does not look at it."""
    against: Against = "base"
    """Which model the tuned one is compared with: then `base` is that model's score."""
    group: Group = "benchmark"
    """What sort of measure this is, and so where the report shows it."""
    note: Text = ""
    """A remark."""

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        """A swapped sign would turn a loss into a gain on the page, so it is refused."""
        for low, high in ((self.low, self.high), (self.bootstrap_low, self.bootstrap_high)):
            if (low is None) != (high is None):
                raise ValueError(f"interval of {self.name!r} has one end only; give both ends, or neither")
            if low is not None and high is not None and low > high:
                raise ValueError(f"interval of {self.name!r} runs from {low} to {high}; give low before high")
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


class SubjectFacts(Config):
    """What became of one subject of a benchmark; small numbers, so a place to look rather than a finding."""

    benchmark: Text
    """The benchmark."""
    subject: Text
    """The subject within it."""
    items: Count
    """Items of the subject that both models answered."""
    base: float
    """The base model's score, 0–100."""
    tuned: float
    """The tuned model's score, 0–100."""
    difference: float
    """Tuned minus base, in points."""
    lost: Count
    """Items that only the base model has right."""
    gained: Count
    """Items that only the tuned model has right."""


class AccuracyFacts(Config):
    """One way of counting who follows instructions."""

    name: Text
    """Prompts or instructions, to the letter or loosely."""
    base: Annotated[float, Field(ge=0, le=100)]
    """The base model's share, 0–100."""
    tuned: Annotated[float, Field(ge=0, le=100)]
    """The tuned model's share, 0–100."""


class LostInstructionFacts(Config):
    """A kind of instruction that the tuned model follows less often."""

    name: Text
    """The kind, such as punctuation:no_comma."""
    asked: Count
    """How often it was asked for."""
    base: Count
    """How often the base model followed it to the letter."""
    tuned: Count
    """How often the tuned model did."""


class InstructionFacts(Config):
    """How well both models follow instructions that a program can check."""

    benchmark: Text
    """The benchmark."""
    prompts: Count
    """Prompts that both models answered."""
    instructions: Count
    """Instructions in them."""
    accuracies: tuple[AccuracyFacts, ...]
    """The four of IFEval."""
    lost: tuple[LostInstructionFacts, ...] = ()
    """Kinds followed less often after tuning, the worst first."""


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
    why: Text = ""
    """Why this prompt is among the samples."""


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
    drift: Literal["format", "knowledge"] | None = None
    """Whether the answer is right in another form, or wrong; nothing where that was not told apart."""
