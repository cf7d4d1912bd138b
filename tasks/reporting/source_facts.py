"""What a report tells of the sources: the fate of their rows, and what these are like before any is dropped."""

from typing import Annotated

from pydantic import Field

from tasks.config import Config
from tasks.reporting.values import Count, Share, Text


class SourceFacts(Config):
    """What became of one source: read = rejected + heldout + Σ dropped + kept."""

    name: Text
    """The source's name in the recipe."""
    role: Text
    """General, domain, code, safety, …"""
    files: Count
    """Files read."""
    read: Count
    """Rows found, malformed ones included."""
    rejected: Count = 0
    """Malformed rows."""
    heldout: Count = 0
    """Rows set aside for evaluation before any curation."""
    kept: Count
    """Distinct rows that the model was trained on."""
    dropped: dict[Text, Count] = Field(default_factory=dict)
    """Rows lost between, by reason, over all stages."""
    epochs: Annotated[float, Field(ge=0)] = 1.0
    """How often each kept row was seen on average (copies times epochs)."""
    requested_share: Share | None = None
    """Share that the recipe asks for, 0–1, or nothing where it asks for none."""
    achieved_share: Share
    """Share that the mixture has, 0–1."""
    trainable_tokens: Count
    """Tokens with a label in the mixture."""

    @property
    def unaccounted(self) -> int:
        """Rows that no reason explains; shown, because an auditor must see them. Below zero: more came out than in."""
        return self.read - self.rejected - self.heldout - sum(self.dropped.values()) - self.kept


class CharacterBand(Config):
    """Texts whose length in characters lies in one band, both ends included."""

    shortest: Count
    """Shortest length in the band."""
    longest: Count
    """Longest length in the band."""
    rows: Count
    """Texts."""


class LengthFacts(Config):
    """How long the prompts or the answers of a source are, in characters."""

    median: Count
    """Half of them are at most so long."""
    p95: Count
    """All but one in twenty are at most so long."""
    longest: Count
    """The longest one."""
    bands: tuple[CharacterBand, ...]
    """Rows by length, the bands growing with it."""


class ShareFacts(Config):
    """A language, a field, a property, and the share of rows that it concerns."""

    name: Text
    """What it is."""
    share: Share
    """Share of rows, 0–1."""


class AuditFacts(Config):
    """What the rows of one source are like, before any of them was dropped."""

    source: Text
    """The source's name in the recipe."""
    rows: Count
    """Rows that could be read."""
    duplicates: Count
    """Rows with the words of an earlier row, of this source or of another."""
    prompts: LengthFacts
    """First prompts."""
    answers: LengthFacts
    """Answers, all turns together."""
    languages: tuple[ShareFacts, ...] = ()
    """Languages of a sample, the commonest first."""
    contents: tuple[ShareFacts, ...] = ()
    """Properties that some rows have: a system prompt, tools, refusals, …"""
    missing: tuple[ShareFacts, ...] = ()
    """Fields that some rows lack, the most missed first."""
    labels: Count = 0
    """How many labels the answers are, or none where they are texts."""
