"""Evaluate: metrics as scikit-learn has them, a fitted temperature, models read by their labels' names, the gate."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support

from tasks.artifacts.manifest import Artifact
from tasks.artifacts.store import Store
from tasks.classification.evaluation import ClassifierEvaluationConfig, evaluate
from tasks.classification.measurement import PREDICTIONS, baseline
from tasks.gate_record import GateRefusedError, require_passed
from tasks.promotion import PublicationConfig, publish_passed
from tests.classification import making
from tests.classification.making import TOPICS, Text, artifact, facts, rows, some

Floats = npt.NDArray[np.float64]
LABELS = list(TOPICS)
QUICK = ClassifierEvaluationConfig(draws=200)
MEASURED = ("validation", "test")


class Setting(NamedTuple):
    """Texts on their sides, and what simple baselines say of them."""

    store: Store
    mixed: Artifact
    baselines: Artifact
    several: bool

    def asked(self) -> list[dict[str, Any]]:
        """The rows that models are asked for, in the order of the measurements."""
        return [{**row, "side": side} for side in MEASURED for row in rows(self.store, self.mixed, side)]

    def truth(self, side: str = "test") -> npt.NDArray[np.bool_]:
        told = [row["labels"] for row in rows(self.store, self.mixed, side)]
        return np.array([[label in each for label in LABELS] for each in told])

    def measured(
        self, values: Floats, labels: Sequence[str] = LABELS, name: str = "w", model: str = "tuned"
    ) -> Artifact:
        """A measurement of a model that says this of each row; its weights are its name."""
        asked = self.asked()
        said = {
            "model": [model] * len(asked),
            "id": [row["id"] for row in asked],
            "split": [row["side"] for row in asked],
            "values": values.astype(np.float32).tolist(),
        }
        tables = {"predictions": pa.table(said, schema=PREDICTIONS)}
        if model == "frozen":
            return artifact(self.store, "classifier-probe", tables)
        tables["labels"] = pa.table({"name": pa.array(list(labels), pa.string())})
        trained = weights(self.store, name)
        return artifact(self.store, "classifier-measurement", tables, (trained.as_parent("model"),))

    def evaluated(self, tuned: Artifact, production: Artifact | None = None, **more: Any) -> Artifact:
        config = more.pop("config", QUICK)
        probed = more.pop("probed", None)
        return evaluate(self.store, config, self.mixed, tuned, self.baselines, probed, production, self.several)


def weights(store: Store, name: str) -> Artifact:
    """A trained model of these weights."""
    return artifact(store, "classifier-training", {}, files={"model/model.safetensors": name.encode()})


def setting(store: Store, several: bool = False, counts: tuple[int, int, int] = (40, 30, 60)) -> Setting:
    given: list[Text] = []
    for side, count, start in zip(("train", *MEASURED), counts, (0, 1000, 2000), strict=True):
        for place, label in enumerate(LABELS):
            # Labels of unlike size, so that means over labels and over rows differ.
            given += some(label, count // (place + 1) + 2, side, start)
    if several:
        given = [row._replace(labels=_some_labels(row, number)) for number, row in enumerate(given)]
    mixed = making.mixed(store, given, LABELS)
    return Setting(store, mixed, baseline(store, mixed, several), several)


def _some_labels(row: Text, number: int) -> tuple[str, ...]:
    """No label, the row's own, or two."""
    return () if number % 7 == 5 else ("card", "fees") if number % 3 == 0 else (str(row.labels),)


def logits(made: Setting, seed: int = 0, right: float = 2.0) -> Floats:
    """What a model says that is right more often than not."""
    random = np.random.default_rng(seed)
    truth = np.concatenate([made.truth(side) for side in MEASURED])
    return np.asarray(random.normal(size=truth.shape) + right * truth - right / 2)


def metrics(made: Setting, evaluated: Artifact, split: str = "test") -> dict[tuple[str, str], float]:
    return {
        (row["model"], row["metric"]): row["value"]
        for row in rows(made.store, evaluated, "models")
        if row["split"] == split
    }


def on(made: Setting, values: Floats, side: str) -> Floats:
    """The part of what is said of all rows that is of one side."""
    return values[[row["side"] == side for row in made.asked()]]


def expected_metrics(truth: Any, decided: Any) -> dict[str, float]:
    return {
        "accuracy": accuracy_score(truth, decided),
        "macro_f1": f1_score(truth, decided, average="macro", zero_division=0),
        "weighted_f1": f1_score(truth, decided, average="weighted", zero_division=0),
    }


def test_metrics_are_those_of_scikit_learn(store: Store) -> None:
    made = setting(store)
    values = logits(made)
    evaluated = made.evaluated(made.measured(values))
    for side in MEASURED:
        truth, decided = made.truth(side).argmax(1), on(made, values, side).argmax(1)
        found = metrics(made, evaluated, side)
        for name, value in expected_metrics(truth, decided).items():
            assert found["tuned", name] == pytest.approx(value, abs=1e-12)
    columns = precision_recall_fscore_support(truth, decided, labels=range(4), zero_division=0)
    told = rows(store, evaluated, "labels")
    assert [row["label"] for row in told] == LABELS
    for place, row in enumerate(told):
        assert [row["precision"], row["recall"], row["f1"], row["rows"]] == pytest.approx([c[place] for c in columns])
        assert row["recall_low"] <= row["recall"] <= row["recall_high"]
    counted = {(row["expected"], row["predicted"]): row["rows"] for row in rows(store, evaluated, "confusion")}
    matrix = confusion_matrix(truth, decided, labels=range(4))
    assert [[counted.get((one, other), 0) for other in LABELS] for one in LABELS] == matrix.tolist()
    assert facts(store, evaluated)["wrong"] == int((truth != decided).sum()) > 20
    (summary,) = facts(store, evaluated)["scores"]
    assert summary["macro_f1"] == pytest.approx(f1_score(truth, decided, average="macro"))


def test_metrics_of_several_labels_are_those_of_scikit_learn(store: Store) -> None:
    made = setting(store, several=True)
    values = logits(made, right=3)
    evaluated = made.evaluated(made.measured(values))
    for side in MEASURED:
        found = metrics(made, evaluated, side)
        for name, value in expected_metrics(made.truth(side), on(made, values, side) > 0).items():
            assert found["tuned", name] == pytest.approx(value, abs=1e-12)
    assert rows(store, evaluated, "confusion") == []
    assert any(row["expected"] == [] for row in rows(store, evaluated, "errors"))


@pytest.mark.parametrize("several", [False, True])
def test_baselines_are_read_as_they_were_measured(store: Store, several: bool) -> None:
    made = setting(store, several)
    frozen = made.measured(logits(made, 3), model="frozen")
    evaluated = made.evaluated(made.measured(logits(made)), probed=frozen)
    predictions = pl.DataFrame(store.table(made.baselines, "predictions")).filter(split="test")
    found = metrics(made, evaluated)
    assert {model for model, _ in found} == {"tuned", "majority", "tfidf", "frozen"}
    for model in ("majority", "tfidf"):
        said = np.array(predictions.filter(model=model)["values"].to_list())
        truth, decided = made.truth(), said > 0
        if not several:
            truth, decided = truth.argmax(1), said.argmax(1)
        for name, value in expected_metrics(truth, decided).items():
            assert found[model, name] == pytest.approx(value, abs=1e-12)
    assert several or found["tfidf", "accuracy"] > 0.9 > 0.6 > found["majority", "accuracy"]


def test_every_value_lies_in_its_interval(store: Store) -> None:
    made = setting(store)
    evaluated = made.evaluated(made.measured(logits(made)))
    tested = [row for row in rows(store, evaluated, "models") if row["split"] == "test"]
    assert len(tested) == 9
    assert all(row["low"] <= row["value"] <= row["high"] for row in tested)
    assert all(row["low"] is None for row in rows(store, evaluated, "models") if row["split"] == "validation")


@pytest.mark.parametrize("several", [False, True])
def test_the_temperature_mends_a_model_that_is_too_sure(store: Store, several: bool) -> None:
    made = setting(store, several, (8, 200, 300))
    evaluated = made.evaluated(made.measured(6 * logits(made, right=1.5)))
    found = facts(store, evaluated)
    assert 3 < found["temperature"] < 9
    assert found["ece_after"] < 0.5 * found["ece_before"]
    bins = rows(store, evaluated, "calibration")
    decisions = made.truth().size if several else len(made.truth())
    for done in (False, True):
        assert sum(row["rows"] for row in bins if row["calibrated"] is done) == decisions
    # A temperature changes no decision.
    plain = made.evaluated(made.measured(logits(made, right=1.5), name="plain"))
    assert rows(store, plain, "labels") == rows(store, evaluated, "labels")


def test_the_temperature_is_fitted_where_nothing_is_measured(store: Store) -> None:
    made = setting(store)
    values = logits(made, right=1.5)
    test = np.array([row["side"] == "test" for row in made.asked()])
    temperatures = [
        facts(store, made.evaluated(made.measured(np.where(test[:, None], scale * values, values), name=str(scale))))
        for scale in (1, 20)
    ]
    assert temperatures[0]["temperature"] == temperatures[1]["temperature"]


def test_the_surest_errors_come_first(store: Store) -> None:
    made = setting(store)
    values = logits(made)
    evaluated = made.evaluated(made.measured(values))
    found = rows(store, evaluated, "errors")
    sure = [row["probability"] for row in found]
    assert sure == sorted(sure, reverse=True)
    by_id = {row["id"]: said for row, said in zip(made.asked(), values, strict=True)}
    for row in found:
        assert row["predicted"] == [LABELS[int(by_id[row["id"]].argmax())]] != row["expected"]


def test_production_is_read_by_the_names_of_its_labels(store: Store) -> None:
    made = setting(store)
    values = logits(made)
    own = ["gone", *LABELS[:0:-1]]
    # Knows all but the first label, in another order, and one that is no more, of which it is always sure.
    said = np.column_stack([np.full(len(values), 9.0), values[:, :0:-1]])
    evaluated = made.evaluated(made.measured(values), made.measured(said, own, name="old"))
    known = on(made, values, "test").copy()
    known[:, 0] = -np.inf
    found = metrics(made, evaluated)
    for name, value in expected_metrics(made.truth().argmax(1), known.argmax(1)).items():
        assert found["production", name] == pytest.approx(value, abs=1e-12)
    same = made.evaluated(made.measured(values), made.measured(values[:, ::-1], LABELS[::-1], name="same"))
    found = metrics(made, same)
    assert found["production", "macro_f1"] == found["tuned", "macro_f1"]


def test_production_that_does_not_know_a_label_never_says_it(store: Store) -> None:
    made = setting(store, several=True)
    values = logits(made, right=3)
    evaluated = made.evaluated(made.measured(values), made.measured(values[:, 1:], LABELS[1:], name="old"))
    decided = on(made, values, "test") > 0
    decided[:, 0] = False
    found = metrics(made, evaluated)["production", "macro_f1"]
    assert found == pytest.approx(f1_score(made.truth(), decided, average="macro", zero_division=0), abs=1e-12)


def test_repeats_on_the_test_side_count_as_often_as_they_stand_there(store: Store) -> None:
    made = setting(store)
    given = [
        Text(row["text"], tuple(row["labels"]), side)
        for side in ("train", *MEASURED)
        for row in rows(store, made.mixed, side)
    ]
    given += [row for row in given if row.split == "test" and row.labels == ("card",)]
    mixed = making.mixed(store, given, LABELS)
    again = Setting(store, mixed, baseline(store, mixed, False), False)
    by_id = dict(zip([row["id"] for row in made.asked()], logits(made), strict=True))
    values = np.array([by_id[row["id"]] for row in again.asked()])
    evaluated = again.evaluated(again.measured(values))
    truth, decided = again.truth().argmax(1), on(again, values, "test").argmax(1)
    assert evaluated.counts.read == len(truth) > len(made.truth())
    assert metrics(again, evaluated)["tuned", "accuracy"] == accuracy_score(truth, decided)


def gates(made: Setting, evaluated: Artifact) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(made.store.read_file(evaluated, "gates.json"))
    return found


def test_the_gate_tells_what_was_compared(store: Store) -> None:
    made = setting(store)
    tuned, old = made.measured(logits(made, right=6)), made.measured(logits(made, 9), name="old")
    frozen = made.measured(logits(made, 3, right=1), model="frozen")
    evaluated = made.evaluated(tuned, old, probed=frozen)
    found = gates(made, evaluated)
    assert found["measured"] == {"tuned": tuned.address, "production": old.address}
    assert found["weights"] == weights(store, "w").content
    assert found["production_weights"] == weights(store, "old").content
    assert found["base_weights"] is None
    assert found["limits"] == QUICK.gate.model_dump(mode="json")
    assert (found["verdict"], found["reason"]) == (
        facts(store, evaluated)["verdict"],
        facts(store, evaluated)["reason"],
    )
    assert found["verdict"] == "pass"
    judged = {row["against"]: row["verdict"] for row in found["scores"] if row["name"] == "macro-F1"}
    assert judged == {"majority": "pass", "tfidf": "pass", "frozen": None, "production": "pass"}
    assert found["scores"] == rows(store, evaluated, "scores")
    alone = gates(made, made.evaluated(tuned))
    assert (alone["measured"], alone["production_weights"]) == ({"tuned": tuned.address}, None)


def test_a_model_below_a_baseline_fails_and_is_told_of(store: Store) -> None:
    made = setting(store)
    evaluated = made.evaluated(made.measured(logits(made, right=0)))
    assert gates(made, evaluated)["verdict"] == "fail"
    (warning,) = [each for each in evaluated.warnings if "tfidf" in each]
    found = metrics(made, evaluated)
    assert f"macro-F1 is {100 * found['tuned', 'macro_f1']:.1f}, below the" in warning
    assert f"{100 * found['tfidf', 'macro_f1']:.1f} of the tfidf baseline" in warning


def published(store: Store, evaluated: Artifact, trained: Artifact) -> Any:
    parents = (trained.as_parent("trained"), evaluated.as_parent("evaluated"))
    publication = artifact(store, "classifier-publication", {}, parents, {"README.md": b"card"})
    return publish_passed(store, PublicationConfig(), "m", publication, evaluated, trained)


def test_only_the_weights_that_the_gate_passed_are_published(store: Store) -> None:
    made = setting(store)
    good, trained = made.evaluated(made.measured(logits(made, right=6))), weights(store, "w")
    assert require_passed(store, good.address, trained.content, accept_investigate=False).verdict == "pass"
    other = weights(store, "other")
    with pytest.raises(GateRefusedError, match=f"the gate judged the weights {trained.content[:16]}, not"):
        require_passed(store, good.address, other.content, accept_investigate=False)
    with pytest.raises(GateRefusedError, match=f"not {other.content[:16]}, which were to be published"):
        published(store, good, other)
    bad = made.evaluated(made.measured(logits(made, right=0), name="bad"))
    with pytest.raises(GateRefusedError, match="the gate says fail"):
        published(store, bad, weights(store, "bad"))
    assert published(store, good, trained).version == 1


def test_a_measurement_that_was_not_compared_is_refused(store: Store) -> None:
    made = setting(store)
    tuned = made.measured(logits(made, right=6))
    good = made.evaluated(tuned)
    told: Mapping[str, Any] = gates(made, good)
    stranger = made.measured(logits(made, 5), name="w")
    for measured, words in (({}, "no measurement"), ({"tuned": stranger.address}, stranger.address)):
        data = json.dumps({**told, "measured": measured}).encode()
        edited = artifact(
            store, "classifier-evaluation", {}, (tuned.as_parent("tuned"),), {"gates.json": data}, at=words
        )
        with pytest.raises(GateRefusedError, match=f"it tells of {words} as tuned, which it did not compare"):
            require_passed(store, edited.address, weights(store, "w").content, accept_investigate=False)
