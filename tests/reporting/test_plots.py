"""Pictures put every value where it belongs."""

import re

import pytest

from tasks.reporting import plots, score_plots
from tasks.reporting.facts import CurvePoint, LengthBand, Marks
from tasks.reporting.judged_facts import RateFacts
from tests.reporting.example import MARKS, SCORES, SOURCES, curve
from tests.reporting.markup import Page

BENCHMARKS = [score for score in SCORES if score.group != "behaviour"]


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0, 10], (0, 2, 4, 6, 8, 10)),
        ([1.17, 2.16], (1, 1.2, 1.4, 1.6, 1.8, 2, 2.2)),
        ([-3, 4], (-4, -2, 0, 2, 4)),
        ([5, 5], (4.4, 4.6, 4.8, 5, 5.2, 5.4, 5.6)),
        ([0, 0], (-1, -0.5, 0, 0.5, 1)),
    ],
)
def test_an_axis_has_round_numbers_around_its_values(values: list[float], ticks: tuple[float, ...]) -> None:
    assert plots.axis(values).ticks == ticks


def test_an_axis_survives_tiny_and_huge_values() -> None:
    for low, high in ((1e-9, 3e-9), (0, 1e12), (1.0, 1.0 + 1e-6), (1e-13, 3e-13), (0.5, 0.5 + 1e-15)):
        axis = plots.axis([low, high])
        assert axis.low <= low
        assert axis.high >= high
        assert 3 <= len(axis.ticks) <= 12


def test_a_moving_average_keeps_a_constant_and_shrinks_at_the_ends() -> None:
    assert plots.moving_average([2.0] * 5, reach=2) == [2.0] * 5
    assert plots.moving_average([0.0, 3.0, 6.0], reach=1) == [1.5, 3.0, 4.5]
    assert plots.moving_average([1.0, 2.0], reach=0) == [1.0, 2.0]


def test_thinning_keeps_both_ends() -> None:
    thin = plots.thinned(range(1000), 60)
    assert (len(thin), thin[0], thin[-1]) == (60, 0, 999)
    assert plots.thinned([1, 2], 60) == [1, 2]


def test_the_loss_curve_falls_from_left_to_right() -> None:
    drawn = re.search(r'class="loss" points="([^"]+)"', plots.loss_curve(curve()))
    assert drawn is not None
    points = [tuple(map(float, point.split(","))) for point in drawn[1].split()]
    assert points[0][0] < 1
    assert points[-1][0] == 100
    assert points[0][1] < points[-1][1], "SVG counts from the top, so a lower loss has a larger y"
    assert all(0 <= x <= 100 and 0 <= y <= 100 for x, y in points)


@pytest.mark.parametrize("points", [1, 2, 49, 5000])
def test_a_loss_curve_of_any_length_is_drawn_within_bounds(points: int) -> None:
    drawn = plots.loss_curve([CurvePoint(step=i, loss=2.0, heldout_loss=None) for i in range(1, points + 1)])
    Page(drawn)
    assert len(drawn) < 60_000


def test_a_waterfall_ends_where_the_kept_rows_begin() -> None:
    falls = plots.waterfall(SOURCES)
    assert [fall.label for fall in falls[:4]] == ["read", "malformed", "held out", "not sampled"]
    assert falls[-1].label == "kept"
    assert falls[-1].rows == sum(source.kept for source in SOURCES)
    assert falls[-2].start == pytest.approx(falls[-1].width)
    assert sum(fall.width for fall in falls[1:]) == pytest.approx(1)


def test_a_source_that_keeps_more_than_it_read_is_reported_not_hidden() -> None:
    odd = SOURCES[0].model_copy(update={"kept": 10_000})
    falls = {fall.label: fall for fall in plots.waterfall([odd])}
    assert falls["unaccounted for"].rows == odd.unaccounted < 0
    assert all(0 <= fall.start <= 1 and 0 <= fall.width <= 1 for fall in falls.values())


def test_an_empty_source_is_drawn() -> None:
    empty = SOURCES[0].model_copy(update={"read": 0, "rejected": 0, "heldout": 0, "kept": 0, "dropped": {}})
    assert [(fall.label, fall.width) for fall in plots.waterfall([empty])] == [("read", 0), ("kept", 0)]


def test_better_lies_to_the_right_whichever_way_is_better() -> None:
    scales = score_plots.scales(SCORES)
    for score in SCORES:
        dots = re.search(r'class="dot" d="M([\d.]+)', score_plots.interval(score, scales.get(score.unit, 100)))
        if dots is not None:
            assert (float(dots[1]) > 50) == ((score.difference > 0) == (score.better == "higher"))


def test_one_huge_gain_does_not_flatten_the_others() -> None:
    scales = score_plots.scales(BENCHMARKS)
    assert scales["%"] < 20
    gain = next(score for score in SCORES if score.name == "account questions")
    assert 'class="dot"' not in score_plots.interval(gain, scales["%"])


def test_a_score_that_never_moved_has_a_scale() -> None:
    still = SCORES[2].model_copy(update={"tuned": 31.2, "difference": 0.0, "low": 0.0, "high": 0.0})
    assert "M50 50h0" in score_plots.interval(still, score_plots.scales([still])["%"])


def test_a_histogram_names_every_band() -> None:
    drawn = plots.histogram(
        [LengthBand(from_tokens=0, to_tokens=9, rows=1), LengthBand(from_tokens=10, to_tokens=19, rows=0)]
    )
    assert "0–9 tokens: 1 row" in drawn
    assert "10–19 tokens: 0 rows" in drawn


def test_marks_lie_where_their_points_lie_and_gated_scores_set_the_range() -> None:
    scale = score_plots.scales(BENCHMARKS, MARKS)["%"]
    assert scale == pytest.approx(1.08 * 6.8), "the widest gated interval, not the gain of 64 points"
    assert (
        score_plots.mark_places(MARKS, scale) == f"--investigate:{0.5 - 1 / scale:.4f};--fail:{0.5 - 2.5 / scale:.4f}"
    )
    labels = re.findall(r"left:([\d.]+)%\">([^<]+)<", score_plots.mark_ticks(MARKS, scale))
    assert {text: float(place) for place, text in labels} == pytest.approx(
        {"0": 50, "−5": 50 - 250 / scale, "+5": 50 + 250 / scale, "−2": 50 - 100 / scale}, abs=0.01
    )


def test_marks_are_in_sight_however_small_or_large_the_changes_are() -> None:
    for reach, scale in ((0.1, 6.25), (90.0, 20.0)):
        score = SCORES[2].model_copy(update={"low": -reach, "high": reach})
        assert score_plots.scales([score], MARKS)["%"] == scale


def test_labels_of_marks_that_are_close_do_not_overlap() -> None:
    close = Marks(investigate=0.2, fail=5)
    assert "−0.2" not in score_plots.mark_ticks(close, 10)


def test_a_win_rate_is_drawn_between_none_and_all() -> None:
    drawn = score_plots.preference(RateFacts(rate=0.61, low=0.53, high=0.69))
    assert 'class="interval better"' in drawn
    assert 'points="53,50 69,50"' in drawn
    assert 'd="M61 50h0"' in drawn
    assert "unsure" in score_plots.preference(RateFacts(rate=0.5, low=0.4, high=0.6))
