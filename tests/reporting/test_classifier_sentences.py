"""Plain sentences say below, surely below, or above exactly as the figures do."""

import numpy as np
import pytest

from tasks.algorithms.classification.scores import per_label
from tasks.algorithms.classification.verdicts import GateLimits, compare
from tasks.reporting.classifier_facts import ScoreFacts
from tasks.reporting.classifier_sentences import MOST_LABELS, standing
from tasks.reporting.gathered import score_facts
from tests.reporting.classifier_example import accurate, against, floor


def test_below_a_rival_by_chance_is_not_called_sure() -> None:
    (told,) = standing([against("production", 69.3, 70.5, 2.8, 420, "investigate")])
    assert told == (
        "Macro-F1 of 69.3% is below that of the model in production (70.5%), by 1.2 points, which may be chance; "
        "the change is −4.0 to +1.6."
    )


def test_surely_below_a_rival_is_called_so() -> None:
    (told,) = standing([against("tfidf", 80.1, 83.2, 1.9, 420, "fail")])
    assert told.startswith("Macro-F1 of 80.1% is surely below that of TF-IDF + logistic regression (83.2%), by 3.1")
    assert "chance" not in told


def test_the_worst_comes_first_and_what_is_above_last() -> None:
    told = standing([
        against("majority", 60.0, 20.0, 5.0, 420, "pass"),
        against("tfidf", 60.0, 61.0, 5.0, 420, "investigate"),
        against("frozen", 60.0, 66.0, 5.0, 420, None),
        against("production", 60.0, 58.0, 5.0, 420, "underpowered"),
    ])  # fmt: skip
    found = [next(name for name in ("frozen", "TF-IDF", "majority", "production") if name in each) for each in told]
    assert found == ["frozen", "TF-IDF", "majority", "production"]
    assert told[2:] == ["Surely above the majority class.", "Not surely above the model in production."]


def test_only_macro_f1_decides() -> None:
    assert standing([accurate("tfidf", 70.0, 80.0, 2.0, 30, 5, 0.001)]) == []


@pytest.mark.parametrize(
    ("verdict", "told"),
    [
        ("fail", "The recall of other (4.0%) is surely below the floor of 10.0%."),
        ("investigate", "The recall of other (4.0%) is below the floor of 10.0%, which few rows may feign."),
    ],
)
def test_a_label_that_is_missed_is_named(verdict: str, told: str) -> None:
    assert standing([floor("other", 4.0, 1.0, 9.0, 40, verdict)]) == [told]


def test_of_many_missed_labels_the_worst_are_named() -> None:
    scores = [floor(f"label {place}", place / 10, 0.0, 9.0, 40, "fail") for place in range(MOST_LABELS + 3)]
    (told,) = standing(scores[::-1])
    assert "label 0 (0.0%), label 1 (0.1%)" in told
    assert told.endswith("label 4 (0.4%) and 3 more is surely below the floor of 10.0%.")


def test_the_gates_own_rows_become_sentences() -> None:
    truth = np.repeat(np.eye(3, dtype=bool), 100, axis=0)
    decided = truth.copy()
    decided[200:] = truth[0]
    labels = per_label(truth, decided.astype(np.float64), ["bill", "refund", "other"])
    rivals = {"majority": np.repeat(truth[:1], 300, axis=0), "tfidf": truth, "frozen": decided}
    scores: tuple[ScoreFacts, ...] = score_facts(compare(truth, decided, rivals, labels, GateLimits(), seed=3))
    told = standing(scores)
    assert told[0].startswith("Macro-F1 of 55.6% is surely below that of TF-IDF + logistic regression (100.0%)")
    assert told[1:] == [
        "Surely above the majority class.",
        "Not surely above the frozen backbone.",
        "The recall of other (0.0%) is surely below the floor of 10.0%.",
    ]
