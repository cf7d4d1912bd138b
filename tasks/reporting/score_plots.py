"""Pictures of scores: intervals around no change, shares of won comparisons, a measure's course over runs."""

from collections.abc import Sequence
from statistics import median

from markupsafe import Markup

from tasks.reporting.judged_facts import RateFacts
from tasks.reporting.plots import Point, dots, line
from tasks.reporting.score_facts import Marks, ScoreFacts
from tasks.reporting.wording import MINUS, number

_NEAREST_LABELS = 9.0
"""Labels that are closer than so many percent of the plot would overlap."""


def scales(scores: Sequence[ScoreFacts], marks: Marks | None = None) -> dict[str, float]:
    """By unit, the change at either end of the drawn range. One huge gain must not flatten all others to dots.

    Where marks are drawn, the range of percentages is theirs and that of what the gate looks at.
    """
    touched: dict[str, list[float]] = {}
    for score in scores:
        if marks and score.unit == "%" and (score.verdict is None or score.group != "benchmark"):
            continue
        if score.low is not None and score.high is not None:
            touched.setdefault(score.unit, []).append(max(abs(score.low), abs(score.high)))
    found = {unit: min(max(ends), 3 * median(ends)) * 1.08 or 1.0 for unit, ends in touched.items()}
    if marks:
        found["%"] = min(max(found.get("%", 0.0), 1.25 * marks.fail), 4 * marks.fail) or 1.0
    return found


def interval(score: ScoreFacts, scale: float) -> Markup:
    """A dot with its interval around no change in the middle; better is to the right; an arrow points off the range."""
    sign = 1 if score.better == "higher" else -1
    ends = [score.difference if end is None else end for end in (score.low, score.high)]
    low, dot, high = (50 + 50 * sign * value / scale for value in (ends[0], score.difference, ends[1]))
    return spanned(low, dot, high, score.effect)


def preference(rate: RateFacts) -> Markup:
    """A share of wins on the way from none to all; one half in the middle."""
    effect = "better" if rate.low > 0.5 else "worse" if rate.high < 0.5 else "unsure"
    return spanned(100 * rate.low, 100 * rate.rate, 100 * rate.high, effect)


def spanned(low: float, dot: float, high: float, effect: str) -> Markup:
    """A dot with its interval, all in percent of the plot; an arrow points off it."""
    span = line([(min(max(end, 0), 100), 50) for end in (low, high)], "span")
    if 0 <= dot <= 100:
        point = dots([(dot, 50)], "dot")
    else:
        point = line([(97, 25), (100, 50), (97, 75)] if dot > 100 else [(3, 25), (0, 50), (3, 75)], "span")
    return Markup(
        '<svg class="interval {}" viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">{}{}</svg>'
    ).format(effect, span, point)


def mark_places(marks: Marks, scale: float) -> str:
    """Where the marks lie, in shares of the plot, as values that the style sheet reads."""
    return f"--investigate:{_place(-marks.investigate, scale) / 100:.4f};--fail:{_place(-marks.fail, scale) / 100:.4f}"


def mark_ticks(marks: Marks, scale: float) -> Markup:
    """The labels of the axis: the marks, no change, and the failing mark's distance on the good side."""
    wanted = (0.0, -marks.fail, marks.fail, -marks.investigate)
    ticks: list[tuple[float, float]] = []
    for change in wanted:
        place = _place(change, scale)
        if all(abs(place - taken) >= _NEAREST_LABELS for taken, _ in ticks):
            ticks.append((place, change))
    return Markup().join(
        Markup('<span style="left:{}%">{}</span>').format(f"{place:.2f}", _signed(change)) for place, change in ticks
    )


def _place(change: float, scale: float) -> float:
    return 50 + 50 * change / scale


def _signed(change: float) -> str:
    return f"{'+' if change > 0 else ''}{number(round(change, 4))}".replace("-", MINUS)


def course(values: Sequence[float | None], effects: Sequence[str]) -> Markup:
    """One measure from run to run, evenly spaced, the newest at the right; runs without it leave a gap.

    `effects` are the style names of the dots.
    """
    known = [value for value in values if value is not None]
    low, reach = min(known, default=0.0), max(known, default=0.0) - min(known, default=0.0)
    places: list[Point | None] = [
        None if value is None else (_across(at, len(values)), 50.0 if not reach else 10 + 80 * (value - low) / reach)
        for at, value in enumerate(values)
    ]
    drawn = [place for place in places if place is not None]
    marks = Markup().join(
        dots([place], f"dot {effect}") for place, effect in zip(places, effects, strict=True) if place is not None
    )
    return Markup(
        '<svg class="course" viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">{}{}</svg>'
    ).format(line(drawn, "span"), marks)


def _across(at: int, count: int) -> float:
    return round(3 + 94 * at / (count - 1), 3) if count > 1 else 50.0
