"""Evaluate: what the model says against the truth and against its rivals, row by row; a gate that knows its own noise.

The temperature is fitted on the validation rows, everything else is told of the test rows, which chose nothing.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from pydantic import Field, model_validator

from tasks.algorithms.classification.calibration import calibrated, reliability, temperature
from tasks.algorithms.classification.intervals import bootstrap
from tasks.algorithms.classification.scores import confusion, decide, per_label, right, scores
from tasks.algorithms.classification.slices import slices
from tasks.algorithms.classification.verdicts import PRODUCTION, GateLimits, compare, verdict_of
from tasks.artifacts.manifest import Artifact, Counts
from tasks.artifacts.store import Attempt, Store
from tasks.caching import stage
from tasks.classification.measurement import ClassifierMeasurementConfig
from tasks.classification.texts import indicator, read_texts
from tasks.conversation import ORIGIN_FIELDS
from tasks.gate_record import CLASSIFIER_EVALUATION, GATES, SCORES

TUNED = "tuned"
MOST_ERRORS = 200

MODELS = pa.schema(
    [
        ("model", pa.string()),
        ("split", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
    ]
)
"""A metric of a model on a side a row, from 0 to 1; with its 95 % interval on the test side."""
LABEL_SCORES = pa.schema(
    [
        ("label", pa.string()),
        ("rows", pa.int64()),
        ("predicted", pa.int64()),
        *((name, pa.float64()) for name in ("precision", "recall", "f1", "recall_low", "recall_high")),
    ]
)
CONFUSION = pa.schema([("expected", pa.string()), ("predicted", pa.string()), ("rows", pa.int64())])
CALIBRATION = pa.schema(
    [
        ("calibrated", pa.bool_()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("rows", pa.int64()),
        ("confidence", pa.float64()),
        ("accuracy", pa.float64()),
    ]
)
SLICES = pa.schema(
    [
        ("name", pa.string()),
        ("rows", pa.int64()),
        *((name, pa.float64()) for name in ("accuracy", "low", "high", "difference")),
    ]
)
ERRORS = pa.schema(
    [
        ("id", pa.string()),
        *ORIGIN_FIELDS,
        ("text", pa.string()),
        ("text_pair", pa.string()),
        ("expected", pa.list_(pa.string())),
        ("predicted", pa.list_(pa.string())),
        ("probability", pa.float64()),
    ]
)
"""Wrong answers, the surest first; `probability` is that of what was said, at the fitted temperature."""

Matrix = npt.NDArray[np.float64]
Indicator = npt.NDArray[np.bool_]


class ClassifierEvaluationConfig(ClassifierMeasurementConfig):
    """What is measured, and what the gate allows."""

    gate: GateLimits = GateLimits()
    """What the model must not be below."""
    probe: bool = True
    """Whether the base model as it is, with a simple classifier on top, is measured beside the tuned one."""
    draws: int = Field(1000, ge=100, le=100_000)
    """Samples that intervals are drawn from."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Draws the samples."""

    @model_validator(mode="after")
    def _judged_baselines_are_measured(self) -> Self:
        if not self.probe and "frozen" in self.gate.baselines:
            raise ValueError("gate.baselines names frozen, which probe: false does not measure; change one of them")
        return self

    def measurement(self) -> ClassifierMeasurementConfig:
        """The part that decides what one model says."""
        return ClassifierMeasurementConfig(**self.model_dump(include=set(ClassifierMeasurementConfig.model_fields)))

    def identity(self) -> dict[str, Any]:
        """What decides the verdict; how the models were asked stands in their measurements."""
        return self.model_dump(mode="json", include={"gate", "draws", "seed"})


class _Side(NamedTuple):
    """The rows of one side, and what each model says of them."""

    rows: pl.DataFrame
    truth: Indicator
    values: dict[str, Matrix]


@stage(CLASSIFIER_EVALUATION, version=1)
def evaluate(
    out: Attempt,
    config: ClassifierEvaluationConfig,
    mixed: Artifact,
    tuned: Artifact,
    baselines: Artifact,
    probed: Artifact | None,
    production: Artifact | None,
    multi_label: bool,
) -> None:
    """Compare the models on the same rows; the verdict, and where the model is weak."""
    labels = [row["name"] for row in out.store.rows(mixed, "labels")]
    said = _said(out.store, labels, tuned, baselines, probed, production)
    validation, test = (_side(out.store, mixed, side, labels, said) for side in ("validation", "test"))
    t = temperature(validation.values[TUNED], validation.truth, multi_label)
    told = {name: calibrated(values, 1.0, multi_label) for name, values in test.values.items()}
    decided = {name: decide(values, multi_label) for name, values in told.items()}
    found = per_label(test.truth, told[TUNED], labels, multi_label=multi_label)
    rivals = {name: each for name, each in decided.items() if name != TUNED}
    if missing := sorted(set(config.gate.baselines) - set(rivals)):
        raise ValueError(f"gate.baselines names {missing[0]}, which was not measured; measure it, or take the name out")
    rows = compare(test.truth, decided[TUNED], rivals, found, config.gate, config.seed)
    verdict, reason = verdict_of(rows)
    out.write("scores", pa.Table.from_pylist(rows, SCORES))
    out.write("labels", pa.Table.from_pylist([each._asdict() for each in found], LABEL_SCORES))
    out.write("models", pa.Table.from_pylist(_models(validation, test, decided, config, multi_label), MODELS))
    out.write("confusion", _confusion(test.truth, decided[TUNED], labels, multi_label))
    _write_calibration(out, test, t, multi_label)
    _write_weaknesses(out, test, decided[TUNED], labels, calibrated(test.values[TUNED], t, multi_label))
    _write_gates(out, config, (verdict, reason), rows, tuned, production)
    out.counts = Counts(read=len(test.rows), kept=len(test.rows))
    summary = scores(test.truth, told[TUNED], multi_label=multi_label)
    out.facts |= {"verdict": verdict, "reason": reason, "temperature": t, "scores": [summary._asdict()]}
    for sentence in _below(rows):
        out.warn(sentence)


def _said(
    store: Store,
    labels: list[str],
    tuned: Artifact,
    baselines: Artifact,
    probed: Artifact | None,
    production: Artifact | None,
) -> pl.DataFrame:
    """What all models say, each in the order of the labels."""
    frames = [pl.DataFrame(store.table(each, "predictions")) for each in (baselines, *([probed] if probed else []))]
    for name, artifact in ((TUNED, tuned), *([(PRODUCTION, production)] if production else [])):
        own = [row["name"] for row in store.rows(artifact, "labels")]
        frame = pl.DataFrame(store.table(artifact, "predictions")).with_columns(model=pl.lit(name))
        frames.append(frame if own == labels else _reordered(frame, own, labels))
    return pl.concat(frames)


def _reordered(frame: pl.DataFrame, own: list[str], labels: list[str]) -> pl.DataFrame:
    """Values of a model with other labels: it never says what it does not know; what is no label any more goes."""
    values = np.array(frame["values"].to_list(), dtype=np.float64)
    lowest = values.min(axis=1) - 20.0
    ordered = [values[:, own.index(name)] if name in own else lowest for name in labels]
    return frame.with_columns(values=pl.Series(np.stack(ordered, axis=1).tolist(), dtype=pl.List(pl.Float32)))


def _side(store: Store, mixed: Artifact, name: str, labels: list[str], said: pl.DataFrame) -> _Side:
    rows = read_texts(store, mixed, name)
    place = rows.select("id").with_row_index("at").unique("id", keep="first")
    values = {}
    for (model,), frame in said.filter(pl.col("split") == name).group_by(["model"], maintain_order=True):
        # One answer a row, in the order of the rows; equal rows of a given side have equal answers.
        once = frame.unique("id", keep="first").join(place, on="id").sort("at")
        found = dict(zip(once["id"].to_list(), once["values"].to_list(), strict=True))
        values[str(model)] = np.array([found[each] for each in rows["id"]], dtype=np.float64)
    return _Side(rows, indicator(rows["labels"], labels), values)


def _models(
    validation: _Side, test: _Side, decided: Mapping[str, Indicator], config: ClassifierEvaluationConfig, several: bool
) -> list[dict[str, Any]]:
    found = []
    for model, answers in decided.items():
        intervals = bootstrap(test.truth, answers, config.seed, config.draws)
        for metric, interval in intervals.items():
            found.append({"model": model, "split": "test", "metric": metric, **interval._asdict()})
        chosen = scores(validation.truth, calibrated(validation.values[model], 1.0, several), multi_label=several)
        named = ("accuracy", "macro_f1", "weighted_f1")
        found += [
            {"model": model, "split": "validation", "metric": name, "value": getattr(chosen, name)} for name in named
        ]
    return found


def _confusion(truth: Indicator, decided: Indicator, labels: list[str], several: bool) -> pa.Table:
    if several:
        return CONFUSION.empty_table()
    counts = confusion(truth, decided)
    rows = [
        {"expected": labels[row], "predicted": labels[column], "rows": int(counts[row, column])}
        for row, column in zip(*counts.nonzero(), strict=True)
    ]
    return pa.Table.from_pylist(rows, CONFUSION)


def _write_calibration(out: Attempt, test: _Side, t: float, several: bool) -> None:
    bins = [
        {"calibrated": done, **each._asdict()}
        for done, divisor in ((False, 1.0), (True, t))
        for each in reliability(calibrated(test.values[TUNED], divisor, several), test.truth, multi_label=several)
    ]
    out.write("calibration", pa.Table.from_pylist(bins, CALIBRATION))
    before, after = (
        scores(test.truth, calibrated(test.values[TUNED], divisor, several), multi_label=several).ece
        for divisor in (1.0, t)
    )
    out.facts |= {"ece_before": before, "ece_after": after}


def _write_weaknesses(out: Attempt, test: _Side, decided: Indicator, labels: list[str], sure: Matrix) -> None:
    correct = right(test.truth, decided)
    lengths = [
        len(text.split()) + len(pair.split()) for text, pair in test.rows.select("text", "text_pair").iter_rows()
    ]
    found = slices(lengths, test.rows["source"].to_list(), correct.tolist())
    out.write("slices", pa.Table.from_pylist([each._asdict() for each in found], SLICES))
    # How sure it was of the surest of what it said wrongly, or wrongly did not say.
    wrong = np.where(decided != test.truth, np.where(decided, sure, 1 - sure), 0.0).max(axis=1)
    surest = [place for place in np.argsort(-wrong, kind="stable").tolist() if not correct[place]]
    out.facts["wrong"] = len(surest)
    rows = [
        {
            **{name: value for name, value in test.rows.row(place, named=True).items() if name in ERRORS.names},
            "expected": [label for label, borne in zip(labels, test.truth[place], strict=True) if borne],
            "predicted": [label for label, given in zip(labels, decided[place], strict=True) if given],
            "probability": float(wrong[place]),
        }
        for place in surest[:MOST_ERRORS]
    ]
    out.write("errors", pa.Table.from_pylist(rows, ERRORS))


def _write_gates(
    out: Attempt,
    config: ClassifierEvaluationConfig,
    verdict: tuple[str, str],
    rows: list[dict[str, Any]],
    tuned: Artifact,
    production: Artifact | None,
) -> None:
    measured = {"tuned": tuned} | ({"production": production} if production else {})
    weights = {side: _weights(out.store, artifact) for side, artifact in measured.items()}
    gates = {
        "verdict": verdict[0],
        "reason": verdict[1],
        "weights": weights["tuned"],
        "base_weights": None,
        "production_weights": weights.get("production"),
        "measured": {side: artifact.address for side, artifact in measured.items()},
        "limits": config.gate.model_dump(mode="json"),
        "scores": [{name: row[name] for name in SCORES.names} for row in rows],
    }
    out.write_file(GATES, json.dumps(gates, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False).encode())


def _weights(store: Store, measured: Artifact) -> str:
    """Content digest of the model that a measurement is of."""
    return next(each.content for each in store.manifest(measured).identity.parents if each.name == "model")


def _below(rows: list[dict[str, Any]]) -> list[str]:
    """Where the model is below a simple baseline, in plain words."""
    return [
        f"the model's macro-F1 is {row['tuned']:.1f}, below the {row['base']:.1f} of the {row['against']} baseline "
        f"({row['difference']:+.1f} points, {row['low']:+.1f} to {row['high']:+.1f})"
        for row in rows
        if row["group"] == "baseline" and row["name"] == "macro-F1" and row["difference"] < 0
    ]
