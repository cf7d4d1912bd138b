"""What a report tells of those who compared the answers: a judge, and people."""

from typing import Annotated

from pydantic import Field

from tasks.config import Config
from tasks.reporting.values import Count, Scalar, Share, Text

Points = Annotated[float, Field(ge=1, le=5)]
"""A rating, or the mean of some."""


class RateFacts(Config):
    """A share of won comparisons with its interval; a tie counts as half a win."""

    rate: Share
    """0–1; one half where neither model is better."""
    low: Share
    """Lower end of the interval."""
    high: Share
    """Upper end of the interval."""


class EloFacts(Config):
    """A model's strength among three or more; 400 points are tenfold odds."""

    model: Text
    """The model."""
    elo: float
    """Its rating."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end of the interval."""


class GradeFacts(Config):
    """How a judge graded one model's answers, each by itself, from 1 to 10."""

    model: Text
    """The model."""
    prompts: Count
    """Prompts whose every answer was graded, of every model."""
    mean: float
    """The mean over prompts."""
    low: float
    """Lower end of its interval."""
    high: float
    """Upper end of the interval."""
    turn_1: float | None = None
    """The mean of the first answers."""
    turn_2: float | None = None
    """The mean of the second ones, where there are any."""


class JudgeFacts(Config):
    """What a judge preferred, asked in both orders; the unit is the prompt."""

    judge: Text
    """The judging model."""
    opponent: Text = "base"
    """Which model the tuned one was compared with."""
    prompts: Count
    """Prompts whose two answers were compared."""
    win_rate: RateFacts | None = None
    """How often the tuned answer won; nothing where the run is void."""
    length_controlled: RateFacts | None = None
    """The same, with the advantage of longer answers taken out."""
    wins: Count | None = None
    """Prompts whose tuned answer won."""
    ties: Count | None = None
    """Prompts that neither answer won."""
    losses: Count | None = None
    """Prompts whose tuned answer lost."""
    elo: tuple[EloFacts, ...] = ()
    """Ratings of all models that were compared, where they are three or more."""
    grades: tuple[GradeFacts, ...] = ()
    """Grades of each model's answers, where the judge was asked for them."""
    void: tuple[Text, ...] = ()
    """Why nothing may be read out of this run; empty where it counts."""
    checks: dict[Text, Scalar] = Field(default_factory=dict)
    """First-position rate, unparsed and failed calls, sentinels and the like, in reading order."""
    cost: Text = ""
    """Calls, tokens and money, in words."""


class RatedSide(Config):
    """How people rated one model's answers, from 1 to 5."""

    mean: Points
    """The mean of all ratings."""
    deviation: Annotated[float, Field(ge=0)]
    """Standard deviation of the ratings; 0 where there is one only."""
    ratings: Count
    """Ratings given."""
    counts: tuple[Count, Count, Count, Count, Count]
    """How many of them were 1, 2, 3, 4 and 5."""


class RatingFacts(Config):
    """What people say who rated both answers without knowing which was whose."""

    raters: dict[Text, Count]
    """Who rated, and how many prompts."""
    items: Count
    """Prompts that someone rated."""
    base: RatedSide
    """The base model's answers."""
    tuned: RatedSide
    """The tuned model's answers."""
    difference: float
    """Mean over prompts of tuned minus base."""
    low: float | None = None
    """Lower end of its 95 % interval; nothing for a single prompt."""
    high: float | None = None
    """Upper end of the interval."""
    agreement: float | None = None
    """Krippendorff's alpha: 1 where raters agree, 0 where they might as well have thrown dice; nothing where no
    answer was rated by two, or all ratings are the same."""
