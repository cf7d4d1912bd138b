"""What a report tells of a classifier's answers: scores side by side, each label, confusions, confidence, errors."""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import Field, model_validator

from tasks.config import Config
from tasks.reporting.values import Count, Share, Text


class MeasureFacts(Config):
    """One measure of one model on the test split; all three are ratios 0–1."""

    value: Share
    """What was measured."""
    low: Share
    """Lower end of its 95 % interval."""
    high: Share
    """Upper end of the interval."""


class ModelFacts(Config):
    """One model, or one baseline, on the rows of the test split."""

    name: Text
    """What it is called: tuned, majority class, TF-IDF + logistic regression, frozen backbone, production."""
    rows: Count
    """Rows that it was measured on."""
    accuracy: MeasureFacts
    """Share of rows all of whose labels are right."""
    macro_f1: MeasureFacts
    """F1 averaged over labels, each counting alike."""
    weighted_f1: MeasureFacts
    """F1 averaged over labels, each counting by its rows."""


class LabelFacts(Config):
    """How well one label of the test split is found."""

    label: Text
    """The label."""
    rows: Count
    """Rows that bear it."""
    predicted: Count
    """Rows that the model gives it to."""
    precision: Share
    """Share of the rows given this label that bear it."""
    recall: Share
    """Share of the rows that bear it that are found."""
    f1: Share
    """The harmonic mean of both."""
    recall_low: Share
    """Lower end of the recall's 95 % interval."""
    recall_high: Share
    """Upper end of the interval."""


class MistakenFacts(Config):
    """Rows of one label that the model takes for another."""

    expected: Text
    """The right label."""
    predicted: Text
    """The label that the model gives instead."""
    rows: Count
    """How often."""
    of: Count
    """Rows that bear the right label."""


class ConfusionFacts(Config):
    """How often each label was taken for which one; for a single label a row."""

    labels: tuple[Text, ...]
    """The labels, in the order of rows and columns."""
    counts: tuple[tuple[Count, ...], ...]
    """Rows of the test split: a line for each right label, a column for each predicted one."""

    @model_validator(mode="after")
    def _square(self) -> Self:
        widths = {len(line) for line in self.counts}
        if len(self.counts) != len(self.labels) or widths - {len(self.labels)}:
            raise ValueError(
                f"the confusion matrix has {len(self.counts)} lines of {sorted(widths)} counts for "
                f"{len(self.labels)} labels; give a line and a column for each label"
            )
        return self

    def mistaken(self) -> list[MistakenFacts]:
        """Each pair of labels that was confused at all, the most frequent first."""
        found = Counter(
            {
                (row, column): count
                for row, line in enumerate(self.counts)
                for column, count in enumerate(line)
                if count and row != column
            }
        )
        return [
            MistakenFacts(
                expected=self.labels[row], predicted=self.labels[column], rows=count, of=sum(self.counts[row])
            )
            for (row, column), count in found.most_common()
        ]


class BinFacts(Config):
    """Answers whose confidence lies in one band."""

    low: Share
    """Where the band begins."""
    high: Share
    """Where it ends."""
    rows: Count
    """Answers in it."""
    confidence: Share
    """Their mean confidence."""
    accuracy: Share
    """The share of them that is right."""


class CalibrationFacts(Config):
    """Whether the model is right as often as its probabilities say."""

    temperature: Annotated[float, Field(gt=0)]
    """What the logits are divided by, fitted on the validation split; 1 changes nothing."""
    ece_before: Share
    """Expected calibration error on the test split without it."""
    ece_after: Share
    """Expected calibration error with it."""
    before: tuple[BinFacts, ...] = ()
    """Confidence against accuracy without the temperature; may be left out."""
    after: tuple[BinFacts, ...] = ()
    """Confidence against accuracy with it."""


class SliceFacts(Config):
    """Rows of the test split that share a property."""

    name: Text
    """Which, such as source web, or 12 to 20 words."""
    rows: Count
    """Rows in it."""
    accuracy: Share
    """Share of them that is right."""
    low: Share
    """Lower end of its 95 % interval."""
    high: Share
    """Upper end of the interval."""
    difference: Annotated[float, Field(ge=-1, le=1)]
    """Its accuracy minus that of all other rows, as a ratio."""


class ErrorFacts(Config):
    """A row of the test split that the model has wrong."""

    text: Text
    """The text."""
    text_pair: Text = ""
    """The second text, where there is one."""
    expected: tuple[Text, ...]
    """The labels that the row bears."""
    predicted: tuple[Text, ...]
    """The labels that the model gives it."""
    probability: Share
    """How sure it was."""
    source: Text = ""
    """Where the row comes from."""
    place: Text = ""
    """File and line, such as data/support.csv:118."""


def worst_first(labels: Sequence[LabelFacts]) -> list[LabelFacts]:
    """The labels by F1; those that no row of the test split bears come last, as nothing is known of them."""
    return sorted(labels, key=lambda each: (each.rows == 0, each.f1, -each.rows))
