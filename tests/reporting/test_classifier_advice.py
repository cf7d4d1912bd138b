"""Advice is given where the figures speak for it, and only there."""

from typing import Any

from tasks.reporting.classifier_advice import advice
from tasks.reporting.classifier_facts import ClassifierFacts, DistributionFacts, LabelledAuditFacts
from tests.reporting.classifier_example import EMPTY, FOUR, against, floor


def told(**given: Any) -> list[tuple[str, str]]:
    facts: ClassifierFacts = EMPTY.model_copy(update=given)
    return [(each.what, each.evidence) for each in advice(facts)]


def test_a_run_without_trouble_gets_none() -> None:
    assert told(scores=(against("tfidf", 90.0, 80.0, 3.0, 400, "pass"),)) == []
    assert told() == []


def test_a_model_below_a_simpler_one_is_not_the_better_choice() -> None:
    ((what, evidence),) = told(scores=(against("tfidf", 78.0, 80.0, 1.0, 400, "fail"),))
    assert "the simpler model is the better choice" in what
    assert evidence == "macro-F1: −2.0 points against TF-IDF + logistic regression."


def test_a_model_below_production_stays_at_home() -> None:
    ((what, evidence),) = told(scores=(against("production", 78.0, 80.0, 1.0, 400, "fail"),))
    assert "Leave the model in production" in what
    assert "−2.0 points against the model in production" in evidence


def test_suspicious_labels_and_contradictions_come_before_more_rows() -> None:
    whats = [what for what, _ in told(suspected=61, sources=FOUR.sources, audits=FOUR.audits)]
    assert whats[0].startswith("Look through the suspicious labels")
    assert whats[1].startswith("Settle which label is right")
    assert not any("suspicious" in what for what, _ in told(suspected=5, sources=FOUR.sources))


def test_missed_labels_want_rows_only_where_they_have_few() -> None:
    def asked(train: int) -> tuple[str, str]:
        spread = (DistributionFacts(label="other", train=train, validation=1, test=2),)
        (only,) = told(scores=(floor("other", 4.0, 1.0, 9.0, 40, "fail"),), distribution=spread)
        return only

    assert asked(7) == (
        "Gather rows of the labels that are missed, or join them with others.", "To learn from: other (7 rows).",
    )  # fmt: skip
    assert "confusion matrix" in asked(300)[0]


def test_an_open_case_tells_how_many_rows_would_decide() -> None:
    score = against("tfidf", 81.0, 80.0, 9.0, 100, "underpowered").model_copy(update={"needed_items": 640})
    ((what, _),) = told(scores=(score,))
    assert what == "Enlarge the test split to about 640 rows."


def test_a_longer_input_is_advised_where_much_is_cut() -> None:
    def cut(rows: int) -> list[tuple[str, str]]:
        return told(audits=(LabelledAuditFacts(source="a", rows=1000, truncated=rows),), max_length=128)

    assert cut(49) == []
    assert cut(50) == [
        ("Raise the longest input above 128, where the base model allows it.", "50 of 1,000 rows (5.0%) are cut.")
    ]
