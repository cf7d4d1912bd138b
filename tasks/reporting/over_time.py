"""The page that compares runs: each run a row, each measure a line over time; one file, no script, no request."""

from collections.abc import Sequence
from datetime import UTC
from functools import lru_cache
from typing import Literal, NamedTuple

from jinja2 import Template
from pydantic import AwareDatetime, Field

from tasks.config import Config
from tasks.reporting import score_plots, wording
from tasks.reporting.html import html_environment
from tasks.reporting.page import VERDICTS
from tasks.reporting.score_facts import Verdict
from tasks.reporting.values import Count, Seconds, Text


class RunScore(Config):
    """What one run's tuned model scored on one measure."""

    name: Text
    """The benchmark or measure."""
    unit: Literal["%", "nats", ""] = "%"
    """Percent, nats, or no unit."""
    better: Literal["higher", "lower"] = "higher"
    """Which way is better."""
    tuned: float
    """The tuned model's score."""
    items: Text = ""
    """What was asked, such as a digest of the items: scores are compared only where that is the same."""
    verdict: Verdict | None = None
    """The gate's verdict on it."""


class RunFacts(Config):
    """One run, as the page shows it."""

    run: Text
    """The run's id."""
    recipe: Text
    """The recipe's name."""
    at: AwareDatetime
    """When it began."""
    outcome: Text = ""
    """How it ended: published, refused, failed, …"""
    changed: dict[Text, Text] = Field(default_factory=dict)
    """Settings that differ from the run of this recipe before it, and how: `0.0002 → 0.0001`."""
    verdict: Verdict | None = None
    """The gate's verdict; nothing where the run did not come so far."""
    reason: Text = ""
    """Why, in one sentence."""
    scores: tuple[RunScore, ...] = ()
    """What its model scored."""
    version: Count | None = None
    """The version of the model that it published."""
    aliases: tuple[Text, ...] = ()
    """Names that point to this version."""
    seconds: Seconds | None = None
    """How long it took."""
    cost: Text = ""
    """What it cost, in words."""
    report: Text = ""
    """Address of its report, where the page is served beside it."""

    @property
    def at_utc(self) -> str:
        """The time of its beginning, to the minute."""
        return self.at.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


class Course(NamedTuple):
    """One measure over the runs, the oldest first; none where a run has no such score."""

    recipe: str
    name: str
    unit: str
    better: str
    scores: list[RunScore | None]

    @property
    def known(self) -> list[RunScore]:
        """The scores that there are."""
        return [score for score in self.scores if score is not None]

    @property
    def change(self) -> float | None:
        """The last score minus the one before it; nothing for a single score, or for other items."""
        last = self.known[-2:]
        return last[1].tuned - last[0].tuned if len(last) == 2 and last[0].items == last[1].items else None

    @property
    def best(self) -> RunScore:
        """The best score of the runs."""
        sign = 1 if self.better == "higher" else -1
        return max(self.known, key=lambda score: sign * score.tuned)


def render_over_time(runs: Sequence[RunFacts], *, linked: bool = False) -> str:
    """The whole page as HTML text; every value is escaped by the template.

    A `linked` one is served where `?recipe=NAME` shows a recipe's runs only.
    """
    ordered = sorted(runs, key=lambda run: (run.at, run.run))
    found = courses(ordered)
    recipes = list(dict.fromkeys(run.recipe for run in ordered[::-1]))
    page = _template().render(runs=ordered[::-1], courses=found, recipes=recipes, linked=linked)
    return page.lstrip()


def courses(runs: Sequence[RunFacts]) -> list[Course]:
    """Each measure of each recipe over that recipe's measured runs, given the oldest first."""
    found = []
    for recipe in dict.fromkeys(run.recipe for run in runs):
        measured = [run for run in runs if run.recipe == recipe and run.scores]
        by_run = [{(s.name, s.unit, s.better): s for s in run.scores} for run in measured]
        for name, unit, better in dict.fromkeys(key for scores in reversed(by_run) for key in scores):
            scores = [each.get((name, unit, better)) for each in by_run]
            found.append(Course(recipe, name, unit, better, scores))
    return found


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = html_environment()
    environment.globals.update(score_plots=score_plots, verdicts=VERDICTS, drawn=drawn)
    names = ("number", "score", "change", "duration", "words", "rows", "sentence")
    environment.filters.update({name: getattr(wording, name) for name in names})
    return environment.get_template("over_time.html.j2")


def drawn(course: Course) -> str:
    """The line of a measure, its dots in the colours of the verdicts."""
    values = [None if score is None else score.tuned for score in course.scores]
    verdicts = ["" if score is None or score.verdict is None else score.verdict for score in course.scores]
    return score_plots.course(values, verdicts)
