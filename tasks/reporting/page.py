"""The report page: facts in, one self-contained HTML file out, with no script and no request."""

from functools import lru_cache

from jinja2 import Template

from tasks.reporting import plots, wording
from tasks.reporting.differences import word_differences
from tasks.reporting.facts import CurvePoint, Facts, showcase
from tasks.reporting.html import html_environment

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


def render(facts: Facts) -> str:
    """The whole page as HTML text; every value is escaped by the template."""
    training = facts.training
    page = _template().render(
        facts=facts,
        headline=headline(facts),
        showcase=showcase(facts.samples),
        contents=contents(facts),
        verdicts=VERDICTS,
        effects=EFFECTS,
        scales=plots.scales(facts.scores),
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
    environment.globals.update(plots=plots, word_differences=word_differences)
    names = ("number", "value", "score", "change", "interval", "percentage", "duration", "words", "rows", "sentence")
    environment.filters.update({name: getattr(wording, name) for name in names} | {"shown": shown})
    return environment.get_template("report.html.j2")


def shown(text: str) -> str:
    """The text up to a bound, and how much is missing."""
    hidden = len(text) - MOST_CHARACTERS
    return text if hidden <= 0 else f"{text[:MOST_CHARACTERS]} … ({hidden:,} more characters)"


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
        ("answers", "Answers", bool(facts.samples)),
        ("next", "What to do next", bool(facts.advice)),
        ("warnings", "Warnings", bool(facts.warnings)),
        ("training", "Training", facts.training is not None),
        ("data", "Data", bool(facts.sources)),
        ("contents", "What the sources hold", bool(facts.audits)),
        ("mixture", "Mixture", bool(facts.sources)),
        ("lengths", "Lengths", bool(facts.lengths)),
        ("samples", "All samples", bool(facts.samples)),
        ("forgotten", "Forgotten items", bool(facts.scores or facts.forgotten)),
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
