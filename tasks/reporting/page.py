"""The report page: facts in, one self-contained HTML file out, with no script and no request."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from jinja2 import Template

from tasks.reporting import masks, plots, score_plots, wording
from tasks.reporting.differences import word_differences
from tasks.reporting.facts import Facts, showcase
from tasks.reporting.html import html_environment
from tasks.reporting.score_facts import ScoreFacts, SubjectFacts
from tasks.reporting.training_facts import CurvePoint

VERDICTS = {
    "pass": ("✓", "Passed"),
    "investigate": ("!", "Investigate"),
    "fail": ("✕", "Failed"),
    "underpowered": ("?", "Too few items to tell"),
}
EFFECTS = {"better": "surely better", "worse": "surely worse", "unsure": "no sure change"}
# A page with forty answers of unbounded length helps no one; the artifacts hold the rest.
MOST_CHARACTERS = 4000
MOST_CURVE_ROWS = 60
MOST_SUBJECTS = 8
DRIFTS = {"knowledge": "lost knowledge", "format": "format drift"}
_FILTERS = (
    "number",
    "value",
    "score",
    "change",
    "interval",
    "percentage",
    "duration",
    "words",
    "rows",
    "sentence",
    "p_value",
    "signed",
)


def render(facts: Facts) -> str:
    """The whole page as HTML text; every value is escaped by the template."""
    training = facts.training
    page = _template().render(
        facts=facts,
        headline=headline(facts),
        showcase=showcase(facts.samples),
        contents=contents(facts),
        titles=dict(contents(facts)),
        verdicts=VERDICTS,
        effects=EFFECTS,
        compared=compared(facts.scores),
        counted=[score for score in facts.scores if score.lost is not None or score.bootstrap_low is not None],
        drifts=drifts(facts),
        subjects=subjects(facts),
        curve_rows=plots.thinned(training.curve, MOST_CURVE_ROWS) if training else [],
        curve_summary=curve_summary(training.curve) if training else [],
        slowest=max((stage.seconds for stage in facts.stages), default=0) or 1,
        length_axis=plots.length_axis(facts.audits) if facts.audits else None,
        largest_share=_largest_share(facts),
    )
    # The macros before the document leave blank lines behind.
    return page.lstrip()


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = html_environment()
    environment.globals.update(
        plots=plots,
        score_plots=score_plots,
        word_differences=word_differences,
        remark=remark,
        pieces=masks.pieces,
        classes=masks.classes,
        drift_words=DRIFTS,
    )
    environment.filters.update({name: getattr(wording, name) for name in _FILTERS})
    environment.filters.update(shown=shown, visible=masks.visible)
    return environment.get_template("report.html.j2")


def shown(text: str) -> str:
    """The text up to a bound, and how much is missing."""
    hidden = len(text) - MOST_CHARACTERS
    return text if hidden <= 0 else f"{text[:MOST_CHARACTERS]} … ({hidden:,} more characters)"


class Compared(NamedTuple):
    """The scores by where the page shows them."""

    base: list[ScoreFacts]
    """Benchmarks and losses, base against tuned."""
    production: list[ScoreFacts]
    """All measures of the model in production against the tuned one."""
    behaviour: list[ScoreFacts]
    """How answers are, base against tuned."""


def compared(scores: Sequence[ScoreFacts]) -> Compared:
    """Scores in their order, those over several benchmarks first, losses last."""
    places = ("macro", "benchmark", "behaviour", "loss")
    ordered = sorted(scores, key=lambda score: places.index(score.group))
    base = [score for score in ordered if score.against == "base"]
    return Compared(
        base=[score for score in base if score.group != "behaviour"],
        production=[score for score in ordered if score.against == "production"],
        behaviour=[score for score in base if score.group == "behaviour"],
    )


def remark(score: ScoreFacts) -> str:
    """What a reader should know of a score at once: its note, and how many items would decide an open case."""
    notes = [score.note] if score.note else []
    if score.verdict == "underpowered" and score.needed_items:
        notes.append(f"about {score.needed_items:,} items would decide")
    return wording.sentence("; ".join(notes)) if notes else ""


def drifts(facts: Facts) -> list[tuple[str, int]]:
    """How many of the forgotten items there are of each sort."""
    told = [item.drift for item in facts.forgotten if item.drift is not None]
    return [(words, told.count(drift)) for drift, words in DRIFTS.items() if drift in told]


def subjects(facts: Facts) -> tuple[list[SubjectFacts], list[SubjectFacts]]:
    """The subjects that lost more than they gained, as far as people read, and all others."""
    fallen = [each for each in facts.subjects if each.lost > each.gained][:MOST_SUBJECTS]
    return fallen, [each for each in facts.subjects if each not in fallen]


def headline(facts: Facts) -> list[tuple[str, str]]:
    """What a reader wants to know beside the verdict, in a few words each."""
    training = facts.training
    read, kept = sum(s.read for s in facts.sources), sum(s.kept for s in facts.sources)
    entries = [
        ("Base model", facts.base_model),
        ("Method", training.method if training else ""),
        ("Trained on", f"{wording.rows(kept)} of {read:,}" if facts.sources else ""),
        ("Device", training.device if training else ""),
        ("Time", wording.duration(facts.seconds)),
        ("Cost", facts.cost),
    ]
    return [(name, text) for name, text in entries if text]


def contents(facts: Facts) -> list[tuple[str, str]]:
    """Anchor and title of each section that the page has, in order."""
    sections = [
        ("scores", "Base against tuned", True),
        ("next", "What to do next", bool(facts.advice)),
        ("warnings", "Warnings", bool(facts.warnings)),
        ("behaviour", "Behaviour", bool(compared(facts.scores).behaviour)),
        ("judge", "Judge", bool(facts.judge)),
        ("ratings", "Ratings by people", facts.ratings is not None),
        ("answers", "Answers", bool(facts.samples)),
        ("forgotten", "Forgotten items", bool(facts.scores or facts.forgotten)),
        ("samples", "All samples", bool(facts.samples)),
        ("training", "Training", facts.training is not None),
        ("data", "Data", bool(facts.sources)),
        ("contents", "What the sources hold", bool(facts.audits)),
        ("mixture", "Mixture", bool(facts.sources)),
        ("lengths", "Lengths", bool(facts.lengths)),
        ("masks", "What is trained", bool(facts.mask_samples)),
        ("time", "Time by stage", bool(facts.stages)),
        ("lineage", "Lineage", facts.lineage is not None),
        ("recipe", "Recipe", bool(facts.recipe or facts.command)),
        ("limits", "Limits and licences", True),
    ]
    return [(anchor, title) for anchor, title, present in sections if present]


def curve_summary(curve: tuple[CurvePoint, ...]) -> list[tuple[str, str, str]]:
    """For each line of the loss plot: its style, its name and where it went."""
    if not curve:
        return []
    heldout = [(point.heldout_loss, point.step) for point in curve if point.heldout_loss is not None]
    lines = [("loss", "training loss", _course([point.loss for point in curve]))]
    if heldout:
        lowest, step = min(heldout)
        course = _course([loss for loss, _ in heldout])
        best = f", lowest {wording.score(lowest, 'nats')} at step {step:,}" if lowest < heldout[-1][0] else ""
        lines.append(("heldout", "held-out loss", course + best))
    return lines


def _course(losses: list[float]) -> str:
    first, last = (wording.score(loss, "nats") for loss in (losses[0], losses[-1]))
    return f"{first} → {last}" if len(losses) > 1 else last


def _largest_share(facts: Facts) -> float:
    shares = [share for s in facts.sources for share in (s.achieved_share, s.requested_share) if share]
    return max(shares, default=1.0)
