"""Pictures of a classifier: its scores, its confusions, its confidence, its course, and the rows of each label."""

import math
from collections.abc import Sequence

from markupsafe import Markup

from tasks.reporting import wording
from tasks.reporting.classifier_bounds import named
from tasks.reporting.classifier_data_facts import DistributionFacts, ValidationPoint
from tasks.reporting.classifier_score_facts import BinFacts, ConfusionFacts, MeasureFacts
from tasks.reporting.plots import Axis, axis, dots, frame, label_at, line, steps
from tasks.reporting.score_plots import spanned

MOST_IN_FIGURES = 10
"""Labels up to which each count of the confusion matrix is written."""
MOST_NAMED = 25
"""Labels up to which the lines of the matrix are named."""
MOST_DRAWN = 150
"""Labels up to which it is drawn at all: beyond, a cell is smaller than a dot."""
_FAINTEST, _STRENGTH, _LARGEST_DOT = 0.18, 0.4, 13.0


def measures(given: Sequence[MeasureFacts]) -> Axis:
    """The axis in percent that holds these measures with their intervals."""
    return axis([100 * end for each in given for end in (each.low, each.high)], about=4)


def measure(each: MeasureFacts, x: Axis, name: str) -> Markup:
    """One measure with its interval on that axis; `name` is its style."""
    return spanned(x.share(100 * each.low), x.share(100 * each.value), x.share(100 * each.high), name)


def ticks(x: Axis) -> Markup:
    """The numbers of an axis that lies above a column."""
    return Markup().join(label_at("left", x.share(tick), tick) for tick in x.ticks)


def heat(count: int, rows: int) -> str:
    """How strongly a cell is coloured, as a percentage; faint enough that figures stay legible on it."""
    return f"{45 * (_FAINTEST + (1 - _FAINTEST) * count / rows):.0f}%" if count else "0%"


def matrix(confusion: ConfusionFacts) -> Markup:
    """The confusion matrix: a line a right label, a column a predicted one, stronger for more of its line."""
    size = len(confusion.labels)
    cells = Markup().join(
        _cell(confusion, row, column, count)
        for row, counts in enumerate(confusion.counts)
        for column, count in enumerate(counts)
        if count
    )
    grid = Markup('<path class="edge" d="M0 0H{}V{}H0Z"/>').format(size, size)
    return Markup(
        '<svg class="matrix" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}{}</svg>'
    ).format(size, size, "Right label by line, predicted label by column", cells, grid)


def _cell(confusion: ConfusionFacts, row: int, column: int, count: int) -> Markup:
    strength = _STRENGTH + (1 - _STRENGTH) * count / sum(confusion.counts[row])
    tone = "right" if row == column else "wrong"
    taken = "" if row == column else f" taken for {named(confusion.labels[column])}"
    title = f"{named(confusion.labels[row])}{taken}: {wording.rows(count)}"
    return Markup(
        '<rect class="{}" x="{}" y="{}" width="1" height="1" style="opacity:{}"><title>{}</title></rect>'
    ).format(tone, column, row, f"{strength:.2f}", title)


def reliability(before: Sequence[BinFacts], after: Sequence[BinFacts]) -> Markup:
    """Accuracy by confidence; on the diagonal a model is right as often as it says. Larger dots stand for more rows."""
    square = Axis(0, 1, (0, 0.2, 0.4, 0.6, 0.8, 1))
    diagonal = line([(0, 0), (100, 100)], "grid")
    below = Markup().join(label_at("left", square.share(tick), tick) for tick in square.ticks)
    drawn = Markup().join([diagonal, _bins(before, "loss"), _bins(after, "heldout")])
    return frame(drawn, square, below, "Accuracy by confidence")


def _bins(bins: Sequence[BinFacts], name: str) -> Markup:
    filled = [each for each in bins if each.rows]
    most = max((each.rows for each in filled), default=1)
    places = [(round(100 * each.confidence, 2), round(100 * each.accuracy, 2)) for each in filled]
    sized = (
        Markup('<g style="--dot:{}px">{}</g>').format(_dot(each.rows / most), dots([place], name))
        for each, place in zip(filled, places, strict=True)
    )
    return Markup().join([line(places, name), *sized])


def _dot(share: float) -> str:
    return f"{max(4.0, _LARGEST_DOT * math.sqrt(share)):.1f}"


def validation_curve(points: Sequence[ValidationPoint]) -> Markup:
    """Macro-F1 and accuracy on the validation split in percent, by optimiser step."""
    y = axis([100 * value for point in points for value in (point.macro_f1, point.accuracy)], about=4)
    x = steps([0, *(point.step for point in points)])
    lines = []
    for name, values in (
        ("loss", [point.accuracy for point in points]),
        ("heldout", [point.macro_f1 for point in points]),
    ):
        places = [(x.share(point.step), y.share(100 * value)) for point, value in zip(points, values, strict=True)]
        lines += [line(places, name), dots(places, name)]
    below = Markup().join(label_at("left", x.share(tick), tick) for tick in x.ticks)
    return frame(Markup().join(lines), y, below, "Scores on the validation split in percent by optimiser step")


def columns(given: Sequence[DistributionFacts]) -> Markup:
    """Rows by label, one column a label, the commonest first."""
    ordered = sorted(given, key=lambda each: -each.rows)
    y = axis([0, *(each.rows for each in ordered)], about=4)
    width = 100 / len(ordered)
    drawn = Markup().join(_column(each, i * width, width, y) for i, each in enumerate(ordered))
    labelled = range(0, len(ordered), math.ceil(len(ordered) / 8))
    below = Markup().join(label_at("left", (i + 0.5) * width, i + 1) for i in labelled)
    return frame(drawn, y, below, "Rows by label, the commonest first")


def _column(each: DistributionFacts, left: float, width: float, y: Axis) -> Markup:
    height = y.share(each.rows)
    return Markup('<rect x="{}" y="{}" width="{}" height="{}"><title>{}: {}</title></rect>').format(
        f"{left + width * 0.06:g}",
        f"{100 - height:g}",
        f"{width * 0.88:g}",
        f"{height:g}",
        named(each.label),
        wording.rows(each.rows),
    )
