"""A classifier's pictures put every value where it belongs."""

import re

import pytest

from tasks.reporting import classifier_plots as pictures
from tasks.reporting.classifier_facts import (
    BinFacts,
    ConfusionFacts,
    DistributionFacts,
    MeasureFacts,
    MistakenFacts,
    ValidationPoint,
)
from tests.reporting.markup import Page

SMALL = ConfusionFacts(labels=("a", "b", "c"), counts=((8, 2, 0), (0, 5, 0), (1, 3, 0)))


def test_a_measure_lies_on_the_axis_that_holds_all_of_them() -> None:
    given = [MeasureFacts(value=0.5, low=0.4, high=0.6), MeasureFacts(value=0.9, low=0.8, high=1.0)]
    axis = pictures.measures(given)
    assert (axis.low, axis.high) == (40, 100)
    drawn = pictures.measure(given[0], axis, "own")
    assert 'points="0,50 33.333,50"' in drawn
    assert 'd="M16.667 50h0"' in drawn
    assert 'class="interval own"' in drawn


def test_each_cell_that_holds_rows_is_drawn_in_its_place() -> None:
    drawn = pictures.matrix(SMALL)
    Page(drawn)
    cells = re.findall(r'class="(\w+)" x="(\d)" y="(\d)"[^>]*opacity:([\d.]+)"><title>([^<]*)<', drawn)
    assert [cell[:3] for cell in cells] == [
        ("right", "0", "0"), ("wrong", "1", "0"), ("right", "1", "1"), ("wrong", "0", "2"), ("wrong", "1", "2"),
    ]  # fmt: skip
    assert cells[1][4] == "a taken for b: 2 rows"
    assert float(cells[2][3]) == 1
    assert float(cells[1][3]) < float(cells[4][3]) < 1


def test_mistaken_labels_come_the_most_frequent_first() -> None:
    assert SMALL.mistaken() == [
        MistakenFacts(expected="c", predicted="b", rows=3, of=4),
        MistakenFacts(expected="a", predicted="b", rows=2, of=10),
        MistakenFacts(expected="c", predicted="a", rows=1, of=4),
    ]


def test_a_cell_is_the_stronger_the_larger_its_share() -> None:
    assert pictures.heat(0, 9) == "0%"
    strengths = [int(pictures.heat(count, 10)[:-1]) for count in (1, 5, 10)]
    assert strengths == sorted(strengths)
    assert strengths[0] > 0
    assert strengths[-1] == 45, "on a stronger colour the figures would not be legible"


def test_the_diagonal_is_drawn_and_empty_bins_are_not() -> None:
    bins = [
        BinFacts(low=0.2, high=0.3, rows=0, confidence=0, accuracy=0),
        BinFacts(low=0.5, high=0.6, rows=25, confidence=0.55, accuracy=0.4),
        BinFacts(low=0.9, high=1, rows=100, confidence=0.95, accuracy=0.9),
    ]
    drawn = pictures.reliability((), bins)
    Page(drawn)
    assert 'points="0,100 100,0"' in drawn
    assert '<polyline class="heldout" points="55,60 95,10"/>' in drawn
    assert re.findall(r"--dot:([\d.]+)px", drawn) == ["6.5", "13.0"]


def test_validation_scores_rise_from_left_to_right() -> None:
    points = [
        ValidationPoint(step=10 * epoch, epoch=epoch, loss=1, macro_f1=0.2 * epoch, accuracy=0.3) for epoch in (1, 2, 3)
    ]
    drawn = re.search(r'class="heldout" points="([^"]+)"', pictures.validation_curve(points))
    assert drawn is not None
    places = [tuple(map(float, point.split(","))) for point in drawn[1].split()]
    assert [x for x, _ in places] == pytest.approx([100 / 3, 200 / 3, 100], abs=0.01)
    assert places[0][1] > places[1][1] > places[2][1], "SVG counts from the top"


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_short_training_is_drawn(epochs: int) -> None:
    points = [ValidationPoint(step=3, epoch=1, loss=1, macro_f1=0.0, accuracy=0.0)] * epochs
    Page(pictures.validation_curve(points))


def test_columns_stand_the_commonest_first() -> None:
    labels = [DistributionFacts(label=f"l{rows}", train=rows, validation=0, test=1) for rows in (1, 9, 4)]
    drawn = pictures.columns(labels)
    assert re.findall(r"<title>([^<]*)<", drawn) == ["l9: 10 rows", "l4: 5 rows", "l1: 2 rows"]
    heights = [float(height) for height in re.findall(r' height="([\d.]+)"', drawn)]
    assert heights == [100, 50, 20]
