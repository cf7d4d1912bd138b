"""A classifier's report page: facts in, one self-contained HTML file out, with no script and no request."""

from collections.abc import Sequence
from functools import lru_cache

from jinja2 import Template

from tasks.reporting import classifier_plots, plots, score_plots, wording
from tasks.reporting.classifier_bounds import bounded, listed, named
from tasks.reporting.classifier_data_facts import DistributionFacts
from tasks.reporting.classifier_facts import ClassifierFacts, CurvePoint, ScoreFacts
from tasks.reporting.classifier_score_facts import worst_first
from tasks.reporting.classifier_sentences import measured_against, rival, standing
from tasks.reporting.classifier_use import cautions, loading
from tasks.reporting.html import html_environment
from tasks.reporting.page import EFFECTS, MOST_CURVE_ROWS, VERDICTS, curve_summary, remark, shown

MOST_ROWS = 40
"""Errors, suspicious rows and confused pairs that the page shows; the artifacts hold the rest."""
IN_SIGHT = 10
"""Those of them that are not folded."""
WORST_LABELS = 8
"""Labels that are in sight; all others are folded."""
MOST_LABELS = 1000
"""Labels that a table holds."""
MOST_BARS = 25
"""Labels up to which each has a bar of its own."""
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
)


def render(facts: ClassifierFacts) -> str:
    """The whole page as HTML text; every value is escaped by the template, every text cut to what can be read."""
    told = bounded(facts)
    training = told.training
    curve = losses(told)
    page = _template().render(
        facts=told,
        headline=headline(told),
        contents=contents(told),
        titles=dict(contents(told)),
        standing=standing(told.scores),
        rivals=[_for_rival(score) for score in measured_against(told.scores)],
        accuracies=[_for_rival(score) for score in measured_against(told.scores, "accuracy")],
        labels=worst_first(told.per_label),
        judged={score.name: score for score in told.scores if score.group == "label"},
        mistaken=told.confusion.mistaken() if told.confusion else [],
        distribution=commonest_first(told.distribution),
        curve=curve,
        curve_rows=plots.thinned(curve, MOST_CURVE_ROWS),
        curve_summary=curve_summary(curve) if training else [],
        loading=loading(told),
        cautions=cautions(told),
        slowest=max((stage.seconds for stage in told.stages), default=0) or 1,
    )
    return page.lstrip()


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = html_environment()
    environment.globals.update(
        plots=plots,
        score_plots=score_plots,
        pictures=classifier_plots,
        verdicts=VERDICTS,
        effects=EFFECTS,
        remark=remark,
        most_rows=MOST_ROWS,
        in_sight=IN_SIGHT,
        most_bars=MOST_BARS,
        most_labels=MOST_LABELS,
        worst_labels=WORST_LABELS,
    )
    environment.filters.update({name: getattr(wording, name) for name in _FILTERS})
    environment.filters.update(shown=shown, named=named, listed=listed)
    return environment.get_template("classifier.html.j2")


def _for_rival(score: ScoreFacts) -> ScoreFacts:
    """A score that bears its rival's name, and its own as what was measured."""
    name = rival(score).removeprefix("the ")
    return score.model_copy(update={"name": name, "kind": score.name})


def commonest_first(labels: Sequence[DistributionFacts]) -> list[DistributionFacts]:
    """The labels by their rows."""
    return sorted(labels, key=lambda each: -each.rows)


def losses(facts: ClassifierFacts) -> tuple[CurvePoint, ...]:
    """The curve of the training, with the validation losses where it does not hold them itself."""
    curve = facts.training.curve if facts.training else ()
    if not curve or any(point.heldout_loss is not None for point in curve):
        return curve
    measured = {point.step: point.loss for point in facts.validation}
    trained = {point.step: point.loss for point in curve}
    every = sorted({*measured, *trained})
    known = [max((step for step in trained if step <= at), default=curve[0].step) for at in every]
    return tuple(
        CurvePoint(step=step, loss=trained[last], heldout_loss=measured.get(step))
        for step, last in zip(every, known, strict=True)
    )


def headline(facts: ClassifierFacts) -> list[tuple[str, str]]:
    """What a reader wants to know beside the verdict, in a few words each."""
    training = facts.training
    train = sum(source.kept for source in facts.sources)
    entries = [
        ("Base model", facts.base_model or "none, made in this run"),
        ("Labels", f"{len(facts.labels):,}, {'several' if facts.multi_label else 'one'} a row"),
        ("Method", training.method if training else ""),
        ("Trained on", wording.rows(train) if facts.sources else ""),
        ("Measured on", wording.rows(facts.models[0].rows) if facts.models else ""),
        ("Device", training.device if training else ""),
        ("Time", wording.duration(facts.seconds)),
        ("Cost", facts.cost),
    ]
    return [(name, text) for name, text in entries if text]


def contents(facts: ClassifierFacts) -> list[tuple[str, str]]:
    """Anchor and title of each section that the page has, in order."""
    sections = [
        ("models", "Models side by side", True),
        ("next", "What to do next", bool(facts.advice)),
        ("warnings", "Warnings", bool(facts.warnings)),
        ("labels", "Labels", bool(facts.per_label)),
        ("confusion", "Confusion matrix", facts.confusion is not None),
        ("errors", "Most confident errors", bool(facts.errors)),
        ("slices", "Weakest slices", bool(facts.slices)),
        ("calibration", "Calibration", facts.calibration is not None),
        ("suspects", "Suspicious labels", bool(facts.suspects)),
        ("training", "Training", facts.training is not None),
        ("data", "Data", bool(facts.sources)),
        ("audit", "Audit", bool(facts.audits)),
        ("distribution", "Rows by label", bool(facts.distribution)),
        ("lengths", "Lengths", bool(facts.lengths)),
        ("use", "How to use it", True),
        ("time", "Time by stage", bool(facts.stages)),
        ("lineage", "Lineage", facts.lineage is not None),
        ("recipe", "Recipe", bool(facts.recipe or facts.command)),
        ("limits", "Limits and licences", True),
    ]
    return [(anchor, title) for anchor, title, present in sections if present]
