"""The report's pictures: inline SVG and HTML bars that take their colours from the page's CSS variables.

Lines are stretched to the page's width (`preserveAspectRatio="none"`) while every label is HTML beside them, so that
strokes and letters keep their size from a phone to a wall.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple, TypeVar

from markupsafe import Markup

from tasks.reporting import wording
from tasks.reporting.facts import dropped_by_reason
from tasks.reporting.source_facts import AuditFacts, CharacterBand, LengthFacts, SourceFacts
from tasks.reporting.training_facts import CurvePoint, LengthBand

Point = tuple[float, float]
T = TypeVar("T")


class Axis(NamedTuple):
    """A range of values and the round numbers on it."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def share(self, value: float) -> float:
        """Where a value lies, 0 at the low end and 100 at the high end."""
        return round(100 * (value - self.low) / (self.high - self.low), 3)


def axis(values: Iterable[float], about: int = 5) -> Axis:
    """The narrowest range between round numbers that holds all values (at least one), with about so many steps."""
    given = list(values)
    low, high = min(given), max(given)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        margin = abs(low) * 0.1 or 1.0
        low, high = low - margin, high + margin
    raw = (high - low) / about
    scale = 10.0 ** math.floor(math.log10(raw))
    step = scale * min((s for s in (1, 2, 2.5, 5, 10) if s * scale >= raw * 0.999), default=10)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = 3 - math.floor(math.log10(step))
    ticks = tuple(round(position * step, digits) for position in range(first, last + 1))
    return Axis(ticks[0], ticks[-1], ticks)


def moving_average(values: Sequence[float], reach: int) -> list[float]:
    """The mean of each value and its neighbours up to `reach` places away; shorter windows at both ends."""
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    ends = [(max(0, i - reach), min(len(values), i + reach + 1)) for i in range(len(values))]
    return [(sums[last] - sums[first]) / (last - first) for first, last in ends]


def thinned(items: Sequence[T], most: int) -> list[T]:
    """At most so many items, evenly spread, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def line(points: Iterable[Point], name: str) -> Markup:
    """One polyline; points in percent of the plot, from the lower left."""
    path = " ".join(f"{x:g},{round(100 - y, 3):g}" for x, y in points)
    return Markup('<polyline class="{}" points="{}"/>').format(name, path)


def dots(points: Iterable[Point], name: str) -> Markup:
    """Round dots: lines of no length with round caps, which stretching does not turn into ovals."""
    path = "".join(f"M{x:g} {round(100 - y, 3):g}h0" for x, y in points)
    return Markup('<path class="{}" d="{}"/>').format(name, path)


def frame(content: Markup, y: Axis, below: Markup, label: str) -> Markup:
    """A plot with its grid, the labels of both axes beside it in HTML."""
    grid = Markup().join(line([(0, y.share(tick)), (100, y.share(tick))], "grid") for tick in y.ticks)
    left = Markup().join(label_at("bottom", y.share(tick), tick) for tick in y.ticks)
    return Markup(
        '<div class="plot" role="img" aria-label="{}"><div class="y">{}</div>'
        '<svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">{}{}</svg>'
        '<div class="x">{}</div></div>'
    ).format(label, left, grid, content, below)


def label_at(side: str, share: float, value: float) -> Markup:
    return Markup('<span style="{}:{}%">{}</span>').format(side, f"{share:g}", wording.number(value))


def loss_curve(curve: Sequence[CurvePoint], per: str = "token") -> Markup:
    """Training loss, averaged over its neighbours when there are many points, and held-out loss, by step."""
    heldout = [(point.step, point.heldout_loss) for point in curve if point.heldout_loss is not None]
    y = axis([point.loss for point in curve] + [loss for _, loss in heldout])
    x = steps([point.step for point in curve])
    smooth = moving_average([point.loss for point in curve], reach=len(curve) // 50)
    raw = thinned([(x.share(point.step), y.share(point.loss)) for point in curve], 1000)
    clear = thinned([(x.share(point.step), y.share(loss)) for point, loss in zip(curve, smooth, strict=True)], 500)
    measured = [(x.share(step), y.share(loss)) for step, loss in heldout]
    noise = line(raw, "noise") if len(curve) >= 50 else Markup()
    trained = line(clear, "loss") if len(curve) > 1 else dots(raw, "loss")
    lines = [noise, trained, line(measured, "heldout"), dots(measured, "heldout")]
    below = Markup().join(label_at("left", x.share(tick), tick) for tick in x.ticks)
    return frame(Markup().join(lines), y, below, f"Loss in nats a {per} by optimiser step")


def steps(taken: Sequence[int]) -> Axis:
    """The axis of steps ends with the curve, so that no empty end looks like steps that never ran."""
    low, high = min(taken), max(taken)
    low = 0 if low < high / 10 else low
    ticks = axis([low, high]).ticks
    return Axis(low, high, tuple(tick for tick in ticks if low <= tick <= high)) if low < high else axis(taken, 2)


def histogram(bands: Sequence[LengthBand]) -> Markup:
    """Texts by length, one column a band."""
    y = axis([0, *(band.rows for band in bands)], about=4)
    width = 100 / len(bands)
    columns = (_column(band, i * width, width, y.share(band.rows)) for i, band in enumerate(bands))
    labelled = range(0, len(bands), math.ceil(len(bands) / 8))
    below = Markup().join(label_at("left", (i + 0.5) * width, bands[i].from_tokens) for i in labelled)
    return frame(Markup().join(columns), y, below, "Texts by length in tokens")


def _column(band: LengthBand, left: float, width: float, height: float) -> Markup:
    return Markup('<rect x="{}" y="{}" width="{}" height="{}"><title>{}–{} tokens: {}</title></rect>').format(
        f"{left + width * 0.06:g}",
        f"{100 - height:g}",
        f"{width * 0.88:g}",
        f"{height:g}",
        wording.number(band.from_tokens),
        wording.number(band.to_tokens),
        wording.rows(band.rows),
    )


def length_axis(audits: Sequence[AuditFacts]) -> Axis:
    """The axis of lengths that all sources share: decades, as logarithms to the base of ten."""
    bands = [band for audit in audits for lengths in (audit.prompts, audit.answers) for band in lengths.bands]
    low = math.log10(_drawn_from(min(band.shortest for band in bands)))
    high = math.log10(max(band.longest for band in bands) + 1)
    return Axis(low, high, tuple(float(decade) for decade in range(math.ceil(low), math.floor(high) + 1)))


def length_ticks(x: Axis) -> Markup:
    """The lengths that an axis of logarithms names, short enough to stand side by side."""
    return Markup().join(
        Markup('<span style="left:{}%">{}</span>').format(f"{x.share(decade):g}", _decade(int(decade)))
        for decade in x.ticks
    )


def _decade(power: int) -> str:
    return f"{10 ** (power % 3)}{('', 'k', 'M', 'G')[power // 3]}"


def spread(lengths: LengthFacts, x: Axis, label: str) -> Markup:
    """Texts by length as one small picture: columns on the axis that all sources share, the highest for the most."""
    most = max(band.rows for band in lengths.bands)
    grid = Markup().join(line([(x.share(decade), 0), (x.share(decade), 100)], "grid") for decade in x.ticks)
    columns = Markup().join(_length_column(band, x, most) for band in lengths.bands if band.rows)
    return Markup(
        '<svg class="spread" viewBox="0 0 100 100" preserveAspectRatio="none" role="img" aria-label="{}">{}{}</svg>'
    ).format(label, grid, columns)


def _length_column(band: CharacterBand, x: Axis, most: int) -> Markup:
    left, right = x.share(math.log10(_drawn_from(band.shortest))), x.share(math.log10(band.longest + 1))
    height = max(100 * band.rows / most, 1.5)
    return Markup('<rect x="{}" y="{}" width="{}" height="{}"><title>{}–{} characters: {}</title></rect>').format(
        f"{left:g}",
        f"{100 - height:g}",
        f"{(right - left) * 0.94:g}",
        f"{height:g}",
        wording.number(band.shortest),
        wording.number(band.longest),
        wording.rows(band.rows),
    )


def _drawn_from(length: int) -> float:
    """Where a band begins on an axis of logarithms; empty texts stand left of the shortest."""
    return max(float(length), 0.6)


def stack(shares: Sequence[float]) -> Markup:
    """Shares 0–1 of one whole as bars on one track, the first the strongest."""
    tones = ("kept", "aside", "read", "lost")
    ends = list(accumulate(shares, initial=0.0))
    pieces = (
        Markup('<span class="bar {}" style="left:{}%;width:{}%"></span>').format(
            tones[min(place, len(tones) - 1)], f"{100 * ends[place]:.2f}", f"{100 * share:.2f}"
        )
        for place, share in enumerate(shares)
    )
    return Markup('<span class="track">{}</span>').format(Markup().join(pieces))


def bar(start: float, width: float, tone: str, wanted: float | None = None) -> Markup:
    """A bar on its track, all in shares 0–1 of the track; with a mark where it was wanted to end."""
    mark = "" if wanted is None else Markup('<i style="left:{}%"></i>').format(f"{wanted * 100:.2f}")
    return Markup('<span class="track"><span class="bar {}" style="left:{}%;width:{}%"></span>{}</span>').format(
        tone, f"{start * 100:.2f}", f"{width * 100:.2f}", mark
    )


class Fall(NamedTuple):
    """One step of a waterfall; start and width in shares of the rows read."""

    label: str
    rows: int
    tone: str
    start: float
    width: float


def waterfall(sources: Sequence[SourceFacts]) -> list[Fall]:
    """From rows read to rows kept, one step a reason, the biggest loss first, over all these sources together."""
    read, unaccounted = sum(s.read for s in sources), sum(s.unaccounted for s in sources)
    losses = [
        ("malformed", sum(s.rejected for s in sources), "bad"),
        ("held out", sum(s.heldout for s in sources), "aside"),
        *((wording.words(reason), count, "lost") for reason, count in dropped_by_reason(sources)),
        ("unaccounted for", unaccounted, "bad"),
    ]
    whole = max(read, sum(s.kept for s in sources), 1)
    falls, left = [Fall("read", read, "read", 0, read / whole)], read
    for label, count, tone in losses:
        if count:
            left -= count
            falls.append(Fall(label, count, tone, max(left, 0) / whole, min(abs(count) / whole, 1)))
    kept = sum(s.kept for s in sources)
    return [*falls, Fall("kept", kept, "kept", 0, kept / whole)]
