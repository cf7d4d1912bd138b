"""A classifier's page shows everything, loads nothing, and lets no text become markup or fill it."""

import re

import pytest

from tasks.reporting.classifier_bounds import MOST_CHARACTERS, MOST_OF_A_NAME, listed, named
from tasks.reporting.classifier_facts import (
    ClassifierFacts,
    ConfusionFacts,
    CurvePoint,
    ErrorFacts,
    ValidationPoint,
    published_classifier,
)
from tasks.reporting.classifier_page import IN_SIGHT, MOST_ROWS, WORST_LABELS, losses, render
from tasks.reporting.classifier_score_facts import worst_first
from tests.reporting.classifier_example import EMPTY, FOUR, MANY, SEVENTY_SEVEN, SEVERAL, TEXTS, confused
from tests.reporting.hostile import SHOWN, hostile
from tests.reporting.markup import Page

ALL = [FOUR, SEVENTY_SEVEN, SEVERAL, EMPTY, hostile(FOUR), hostile(SEVENTY_SEVEN)]
NAMES = ["four", "77", "several", "empty", "hostile", "hostile 77"]


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(render(FOUR))


def section(page: Page, begins: str, ends: str) -> str:
    """The text from one title to another; the contents before them hold both titles, too."""
    body = page.text[page.text.index("Classification report") :]
    return body[body.index(begins) : body.index(ends, body.index(begins))]


@pytest.mark.parametrize("facts", ALL, ids=NAMES)
def test_a_page_is_balanced_and_loads_nothing(facts: ClassifierFacts) -> None:
    html = render(facts)
    page = Page(html)
    targets = {reference.removeprefix("#") for reference in page.references if reference != "data:,"}
    assert targets == set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert not page.tags & {"script", "img", "iframe", "object", "embed", "form"}
    assert not page.handlers
    assert "url(" not in page.style
    assert "@import" not in page.style
    assert "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\"" in html


def test_hostile_text_is_shown_as_text() -> None:
    page = Page(render(hostile(FOUR)))
    assert page.text.count(SHOWN) > 30
    assert page.text.count(SHOWN[: MOST_OF_A_NAME - 1]) > 80


def test_no_text_of_a_row_fills_the_page() -> None:
    huge = hostile(FOUR, "x" * 100_000).model_copy(update={"recipe": "", "command": "", "advice": ()})
    html = render(huge)
    assert f"({100_000 - MOST_CHARACTERS:,} more characters)" in html
    assert "x" * MOST_CHARACTERS in html
    assert "x" * (MOST_CHARACTERS + 1) not in html
    assert len(html) < 400_000


def test_a_recipe_is_shown_whole() -> None:
    long = "#" * (2 * MOST_CHARACTERS)
    assert long in render(EMPTY.model_copy(update={"recipe": long}))


def test_a_name_has_one_line_of_bounded_length() -> None:
    assert named("two\nlines") == "two lines"
    assert named(" \t") == "(empty)"
    assert named("é" * 200) == "é" * (MOST_OF_A_NAME - 1) + "…"
    assert listed(()) == "none"
    assert listed([str(place) for place in range(9)]) == "0, 1, 2, 3, 4, 5 and 3 more"


def test_the_verdict_the_models_and_what_is_below_come_first(page: Page) -> None:
    titles = ("Investigate", "Models side by side", "is below that of the model in production", "Tuned against each")
    titles += ("What to do next", "Warnings\n", "Labels\n", "Confusion matrix")
    body = page.text[page.text.index("Classification report") :]
    places = [body.index(title) for title in titles]
    assert places == sorted(places)


def test_every_model_has_its_scores_with_intervals(page: Page) -> None:
    shown = section(page, "Models side by side", "Tuned against each")
    for model in FOUR.models:
        cells = [
            f"{each.value:.1%}{each.low:.1%} to {each.high:.1%}"
            for each in (model.macro_f1, model.accuracy, model.weighted_f1)
        ]
        assert re.search(rf"{re.escape(model.name)}\s+" + r"\s+".join(map(re.escape, cells)), shown), model.name
    assert "420 rows of the test split" in shown


def test_rivals_are_named_and_the_scores_that_are_not_gated_say_so() -> None:
    ungated = tuple(each.model_copy(update={"verdict": None}) for each in FOUR.scores if each.against == "frozen")
    shown = Page(render(FOUR.model_copy(update={"scores": ungated}))).text
    assert re.search(r"frozen backbone\s*macro-F1, 420 items", shown)
    assert "not gated" in shown


def test_lost_and_gained_rows_appear(page: Page) -> None:
    shown = section(page, "rows lost and gained", "What to do next")
    assert re.search(
        r"TF-IDF \+ logistic regression\s+79\.0%\s+84\.0%\s+\+5\.0\+1\.6 to \+8\.4\s+17\s+42\s+0\.002", shown
    )


def test_labels_stand_the_worst_first_and_bear_the_gates_verdict(page: Page) -> None:
    shown = section(page, "Labels\n", "Confusion matrix")
    places = [shown.index(f"{each.label}") for each in worst_first(FOUR.per_label)]
    assert places == sorted(places)
    assert re.search(r"other investigate\s+12\.8%\s+42\.9%\s+7\.5%\s+40\s+7", shown)


def test_all_of_many_labels_are_in_the_fold() -> None:
    shown = section(Page(render(SEVENTY_SEVEN)), "Labels\n", "Confusion matrix")
    sight, fold = shown.split("All 77 labels")
    assert sum(label in sight for label in MANY) == WORST_LABELS
    assert all(label in fold for label in MANY)


def test_a_label_without_rows_comes_last_and_claims_nothing() -> None:
    absent = FOUR.per_label[0].model_copy(
        update={"label": "absent", "rows": 0, "predicted": 0, "recall": 0.0, "precision": 0.0, "f1": 0.0}
    )
    labels = (absent, *FOUR.per_label)
    assert worst_first(labels)[-1] == absent
    shown = section(Page(render(FOUR.model_copy(update={"per_label": labels}))), "Labels\n", "Confusion matrix")
    assert re.search(r"absent\s+0\.0%\s+–\s+–\s+0\s+0", shown)


def test_every_count_of_a_small_confusion_matrix_is_written(page: Page) -> None:
    shown = section(page, "Confusion matrix", "Most confident errors")
    assert re.search(r"1 billing\s*158\s*7\s*3\s*2", shown)
    assert re.search(r"4 other\s*19\s*4\s*14\s*3", shown)
    assert "Confused most" not in shown


@pytest.mark.parametrize(("labels", "named_lines", "drawn"), [(25, True, True), (26, False, True), (151, False, False)])
def test_a_large_matrix_is_drawn_and_its_worst_pairs_told(labels: int, named_lines: bool, drawn: bool) -> None:
    names = [f"label {place:03}" for place in range(labels)]
    confusion = confused(names, [30] * labels, 0.2)
    html = render(FOUR.model_copy(update={"confusion": confusion, "per_label": ()}))
    shown = section(Page(html), "Confusion matrix", "Most confident errors")
    worst = confusion.mistaken()[0]
    assert re.search(rf"{worst.expected}\s*{worst.predicted}\s*{worst.rows}\s*{worst.rows / worst.of:.1%}", shown)
    assert ('<svg class="matrix"' in html) == drawn
    assert ('<li dir="auto">label 000</li>' in html) == named_lines


def test_a_perfect_model_confuses_nothing() -> None:
    names = tuple(f"label {place}" for place in range(11))
    perfect = confused(names, [5] * 11, 0.0)
    assert "No label was taken for another." in render(FOUR.model_copy(update={"confusion": perfect}))


def test_a_matrix_that_is_not_square_is_refused() -> None:
    with pytest.raises(ValueError, match=r"2 lines of \[1, 2\] counts for 2 labels; give a line and a column"):
        ConfusionFacts(labels=("a", "b"), counts=((1, 2), (3,)))


def test_errors_and_suspicious_rows_show_their_texts_and_labels(page: Page) -> None:
    errors = section(page, "Most confident errors", "Weakest slices")
    assert "6 of 67 wrong rows" in errors
    for item in FOUR.errors:
        assert item.text in errors
        assert f"{item.expected[0]} → {item.predicted[0]}{item.probability:.1%}" in errors
        assert item.place in errors
    doubts = section(page, "Suspicious labels", "Training")
    assert "6 of 61 rows" in doubts
    for suspect in FOUR.suspects:
        assert f"{suspect.given[0]}, or {suspect.suggested[0]}?" in doubts
        assert f"given, {suspect.confidence:.1%} likely" in doubts


def test_the_page_holds_no_more_rows_than_people_read() -> None:
    html = render(SEVENTY_SEVEN)
    errors = html[html.index('id="errors"') : html.index('id="slices"')]
    assert errors.count('<details class="item">') == MOST_ROWS < len(SEVENTY_SEVEN.errors)
    assert errors[: errors.index(f"{MOST_ROWS - IN_SIGHT} more")].count('<details class="item">') == IN_SIGHT


def test_rows_of_two_texts_and_of_several_labels_are_told() -> None:
    page = Page(render(SEVERAL))
    shown = section(page, "Most confident errors", "Weakest slices")
    assert "billing, refund → none90.0%" in shown
    assert TEXTS[0] in shown
    assert TEXTS[1] in shown
    assert "4, several a row" in page.text
    assert "Each pair of a row and a label counts as one answer" in page.text


def test_what_is_published_holds_no_row() -> None:
    text = Page(render(published_classifier(FOUR))).text
    assert not any(row in text for row in TEXTS)
    assert "Most confident errors" not in text
    assert "Suspicious labels" not in text


def test_data_is_accounted_for(page: Page) -> None:
    shown = section(page, "Data\n", "Time by stage")
    for source in FOUR.sources:
        assert source.unaccounted == 0
        assert all(f"{count:,}" in shown for count in [source.read, source.heldout, source.kept])
        assert all(reason.replace("_", " ") in shown for reason in source.dropped)
    assert re.search(r"web\s+701\s+30\.4%\s+142\.0%\s+618\.7%\s+91\.3%\s+0\s+20\.3%", shown)
    assert re.search(r"billing\s*850", shown)
    assert "the 128 tokens" in shown


def test_training_is_told_with_its_validation_scores(page: Page) -> None:
    shown = section(page, "Training\n", "Data\n")
    assert "validation loss 0.792 → 0.447, lowest 0.442 at step 300" in shown
    assert "validation macro-F1 70.5%" in shown
    assert "360 of 480, stopped early" in shown
    made = section(Page(render(SEVENTY_SEVEN)), "Training\n", "Data\n")
    assert "The encoder, made in this run" in made
    assert "8.987 → 4.211" in made


def test_validation_losses_join_the_curve_where_it_lacks_them() -> None:
    points = (CurvePoint(step=5, loss=1.0), CurvePoint(step=10, loss=0.5))
    measured = (ValidationPoint(step=7, epoch=1, loss=0.9, macro_f1=0.5, accuracy=0.6),)
    assert FOUR.training is not None
    training = FOUR.training.model_copy(update={"curve": points})
    joined = losses(FOUR.model_copy(update={"training": training, "validation": measured}))
    assert [(each.step, each.loss, each.heldout_loss) for each in joined] == [
        (5, 1.0, None), (7, 1.0, 0.9), (10, 0.5, None),
    ]  # fmt: skip
    own = (CurvePoint(step=5, loss=1.0, heldout_loss=2.0),)
    with_own = training.model_copy(update={"curve": own})
    assert losses(FOUR.model_copy(update={"training": with_own, "validation": measured})) == own


def test_a_bare_run_says_what_is_missing() -> None:
    page = Page(render(EMPTY))
    assert "Nothing was measured" in page.text
    assert "No limit is written down" in page.text
    assert "none, made in this run" in page.text
    assert "table" not in page.tags


def test_an_empty_text_says_so() -> None:
    error = ErrorFacts(text="", expected=("a",), predicted=("",), probability=0.5)
    shown = Page(render(EMPTY.model_copy(update={"errors": (error,), "wrong": 1}))).text
    assert "1 wrong row," in shown
    assert "nothing" in shown
    assert "a → (empty)" in shown


def test_the_same_facts_give_the_same_page() -> None:
    assert render(FOUR) == render(ClassifierFacts.model_validate_json(FOUR.model_dump_json()))
