"""What a report tells of labelled texts and of what was learned from them: labels, rows in doubt, audit, curve."""

from typing import Annotated

from pydantic import Field

from tasks.config import Config
from tasks.reporting.values import Count, Scalar, Seconds, Share, Text


class DistributionFacts(Config):
    """How many rows of each split bear one label."""

    label: Text
    """The label."""
    train: Count
    """Rows to learn from."""
    validation: Count
    """Rows that choose the checkpoint."""
    test: Count
    """Rows that measure."""

    @property
    def rows(self) -> int:
        """Rows of all splits."""
        return self.train + self.validation + self.test


class SuspectFacts(Config):
    """A row whose label may be wrong."""

    text: Text
    """The text."""
    text_pair: Text = ""
    """The second text, where there is one."""
    given: tuple[Text, ...]
    """The labels that the row bears."""
    suggested: tuple[Text, ...]
    """The labels that rows like it bear."""
    confidence: Share
    """How likely the given label looks, 0–1; low is suspicious."""
    source: Text = ""
    """Where the row comes from."""
    place: Text = ""
    """File and line, such as data/support.csv:118."""


class LabelledAuditFacts(Config):
    """What the rows of one source are like; all are counts of rows."""

    source: Text
    """The source's name in the recipe."""
    rows: Count
    """Rows that could be read."""
    missing: Count = 0
    """Rows without a text or without a label."""
    contradictions: Count = 0
    """Rows whose text bears other labels elsewhere."""
    duplicates: Count = 0
    """Rows with the text and the labels of an earlier one."""
    leaks: Count = 0
    """Rows of validation or test whose text stands in train, too."""
    truncated: Count = 0
    """Rows longer than what the model reads."""
    unseen_labels: Count = 0
    """Rows with a label that train does not hold."""


class ValidationPoint(Config):
    """What the model scored on the validation split at the end of an epoch."""

    step: Count
    """Optimiser step."""
    epoch: Annotated[float, Field(ge=0)]
    """Epochs until then."""
    loss: float
    """Validation loss, nats a row."""
    macro_f1: Share
    """Macro-F1, 0–1."""
    accuracy: Share
    """Accuracy, 0–1."""


class PretrainingFacts(Config):
    """How an encoder was made where the recipe names no base model."""

    parameters: Count
    """Parameters of the encoder."""
    vocabulary: Count
    """Tokens that its tokenizer knows."""
    tokens: Count
    """Tokens seen while words were masked, all epochs together; 0 where the encoder began at random."""
    seconds: Seconds
    """How long it took."""
    loss_first: float | None = None
    """Loss on masked tokens at the beginning, nats a token."""
    loss_last: float | None = None
    """Loss on masked tokens at the end."""
    settings: dict[Text, Scalar] = Field(default_factory=dict)
    """Layers, width, epochs and the like, in reading order."""
