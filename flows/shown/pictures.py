"""Pictures that hold all they need: SVG on a white ground, for pages that know no style sheet of ours."""

import base64
import math
from collections.abc import Iterable, Sequence

from markupsafe import Markup

from tasks.reporting import wording
from tasks.reporting.plots import Axis, Point, axis, moving_average, thinned
from tasks.reporting.score_facts import ScoreFacts
from tasks.reporting.score_plots import scales
from tasks.reporting.training_facts import CurvePoint

WIDTH, LOSS_HEIGHT, ROW_HEIGHT = 760, 380, 34
_INK, _SOFT, _GRID = "#1c2024", "#5c6570", "#e2e5e9"
_TRAINED, _HELDOUT = "#2a5bd7", "#c26b00"
_TONES = {"better": "#14753f", "worse": "#b42318", "unsure": "#7b8794"}
_FONT = "system-ui, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif"
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 20, 40, 44
_INTERVAL_FROM, _INTERVAL_TO = 290, 530
"""Where the intervals are drawn, between the names and the numbers."""
_LONGEST_NAME = 36


def address_of(svg: str) -> str:
    """The picture as an address, which a browser shows without asking anybody."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def loss_picture(curve: Sequence[CurvePoint]) -> str:
    """Training loss, averaged over its neighbours where there are many points, and held-out loss, by step."""
    heldout = [(point.step, point.heldout_loss) for point in curve if point.heldout_loss is not None]
    x = axis([point.step for point in curve])
    y = axis([point.loss for point in curve] + [loss for _, loss in heldout])
    smooth = moving_average([point.loss for point in curve], reach=len(curve) // 50)
    trained = thinned([(point.step, loss) for point, loss in zip(curve, smooth, strict=True)], 500)
    parts = [
        *(_across(y, tick) for tick in y.ticks),
        *(
            _text(_at_x(x, tick), LOSS_HEIGHT - 22, wording.number(tick), "middle", _SOFT)
            for tick in x.ticks
            if tick == int(tick)
        ),
        _text(_at_x(x, x.high), LOSS_HEIGHT - 6, "optimiser step", "end", _SOFT),
        _course([(_at_x(x, step), _at_y(y, loss)) for step, loss in trained], _TRAINED),
        _course([(_at_x(x, step), _at_y(y, loss)) for step, loss in heldout], _HELDOUT),
        *(_dot(_at_x(x, step), _at_y(y, loss), _HELDOUT) for step, loss in heldout),
        _text(_LEFT, 22, "training loss", "start", _TRAINED),
        _text(_LEFT + 110, 22, "held-out loss" if heldout else "", "start", _HELDOUT),
        _text(WIDTH - _RIGHT, 22, "nats a token", "end", _SOFT),
    ]
    return _picture(parts, LOSS_HEIGHT)


def benchmark_picture(scores: Sequence[ScoreFacts]) -> str:
    """Each measure's change with its interval around no change; better is to the right, whichever way that is."""
    by_unit = scales(scores)
    height = _TOP + ROW_HEIGHT * len(scores) + 12
    middle = (_INTERVAL_FROM + _INTERVAL_TO) / 2
    parts = [
        _line([(middle, _TOP - 8), (middle, height - 8)], _GRID, 1.5),
        _text(_INTERVAL_FROM, 22, "worse", "start", _SOFT),
        _text(_INTERVAL_TO, 22, "better", "end", _SOFT),
    ]
    for place, score in enumerate(scores):
        parts += _row(score, _TOP + ROW_HEIGHT * (place + 0.5), by_unit.get(score.unit, 0.0))
    return _picture(parts, height)


def _row(score: ScoreFacts, y: float, scale: float) -> list[Markup]:
    unit, tone = score.unit, _TONES[score.effect]
    name = score.name + ("" if score.against == "base" else f" ({score.against})")
    name = name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
    told = f"{wording.score(score.base, unit)} → {wording.score(score.tuned, unit)}"
    parts = [
        _text(20, y + 5, name, "start", _INK),
        _text(WIDTH - _RIGHT, y + 5, f"{told}   {wording.change(score.difference, unit)}", "end", tone),
    ]
    if score.low is not None and score.high is not None and scale:
        sign = 1 if score.better == "higher" else -1
        low, at, high = (_at_change(sign * change, scale) for change in (score.low, score.difference, score.high))
        parts += [_line([(low, y), (high, y)], tone, 3), _dot(at, y, tone)]
    return parts


def _at_change(change: float, scale: float) -> float:
    """Where a change is drawn; one off the range stands at its end."""
    share = min(max(0.5 + change / (2 * scale), 0.0), 1.0)
    return _INTERVAL_FROM + share * (_INTERVAL_TO - _INTERVAL_FROM)


def _at_x(x: Axis, value: float) -> float:
    return _LEFT + x.share(value) / 100 * (WIDTH - _LEFT - _RIGHT)


def _at_y(y: Axis, value: float) -> float:
    return LOSS_HEIGHT - _BOTTOM - y.share(value) / 100 * (LOSS_HEIGHT - _TOP - _BOTTOM)


def _across(y: Axis, tick: float) -> Markup:
    height = _at_y(y, tick)
    return _line([(_LEFT, height), (WIDTH - _RIGHT, height)], _GRID, 1) + _text(
        _LEFT - 8, height + 5, wording.number(tick), "end", _SOFT
    )


def _course(points: Sequence[Point], colour: str) -> Markup:
    """A line; of a single point a dot, or nothing would be seen."""
    return _dot(*points[0], colour) if len(points) == 1 else _line(points, colour, 2)


def _line(points: Iterable[Point], colour: str, width: float) -> Markup:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points if math.isfinite(y))
    return Markup('<polyline points="{}" fill="none" stroke="{}" stroke-width="{}"/>').format(path, colour, width)


def _dot(x: float, y: float, colour: str) -> Markup:
    return Markup('<circle cx="{}" cy="{}" r="4" fill="{}"/>').format(f"{x:.1f}", f"{y:.1f}", colour)


def _text(x: float, y: float, text: str, anchor: str, colour: str) -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}" fill="{}" xml:space="preserve">{}</text>').format(
        f"{x:.1f}", f"{y:.1f}", anchor, colour, text
    )


def _picture(parts: Iterable[Markup], height: float) -> str:
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1}" viewBox="0 0 {0} {1}" font-size="14" '
        'font-family="{2}"><rect width="100%" height="100%" fill="#ffffff"/>{3}</svg>'
    ).format(WIDTH, f"{height:g}", _FONT, Markup().join(parts))
