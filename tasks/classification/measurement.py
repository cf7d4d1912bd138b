"""Measure: what a model says of every validation and test row, in a process of its own.

The model reads the texts by its own tokenizer, just as whoever loads it will; a model in production may have another
one, and other labels.
"""

import json
import tempfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from tasks.artifacts.manifest import Artifact, Counts
from tasks.artifacts.resource import Resource
from tasks.artifacts.store import Attempt
from tasks.caching import logger, stage
from tasks.classification.texts import as_texts, indicator, read_texts, whole_texts
from tasks.classification.training import model_folder
from tasks.config import Config
from tasks.labelled_text import Side
from tasks.trainer import launch
from tasks.trainer.classifier.job import ClassifierScoringJob
from tasks.trainer.config import Dtype

SCORER = "tasks.trainer.classifier.score"
PREDICTIONS = pa.schema(
    [("model", pa.string()), ("id", pa.string()), ("split", pa.string()), ("values", pa.list_(pa.float32()))]
)
"""What a model says of a row: a logit, or the logarithm of a probability, for each of its labels."""
MEASURED: tuple[Side, ...] = ("validation", "test")
_LEAST_PROBABILITY = 1e-9

Floats = npt.NDArray[np.floating[Any]]


class ClassifierMeasurementConfig(Config):
    """How models are asked."""

    batch_size: int = Field(64, ge=1)
    """Most texts of one forward pass. Does not change the result."""
    dtype: Dtype = "auto"
    """Precision; auto is bfloat16 on GPUs that have it, else float32."""

    def identity(self) -> dict[str, Any]:
        """All but how many texts go through at a time."""
        return {"dtype": self.dtype}


@stage("classifier-measurement", version=1)
def measure(
    out: Attempt, config: ClassifierMeasurementConfig, model: Resource | Artifact, mixed: Artifact, tokenized: Artifact
) -> None:
    """Ask a classifier for the labels of the validation and test rows."""
    rows = _rows(out, mixed, MEASURED)
    values, told = _asked(out, config, model, rows, "logits", tokenized)
    _write(out, "tuned", rows, values)
    out.write("labels", pa.table({"name": pa.array([str(each) for each in told["labels"]], pa.string())}))
    out.facts |= told
    out.counts = Counts(read=len(rows), kept=len(rows))


@stage("classifier-probe", version=1)
def probe(
    out: Attempt,
    config: ClassifierMeasurementConfig,
    base_model: Resource | Artifact,
    mixed: Artifact,
    tokenized: Artifact,
    multi_label: bool,
) -> None:
    """Tell the labels from what the base model makes of the texts as it is, by logistic regression."""
    rows = _rows(out, mixed, ("train", *MEASURED))
    features, told = _asked(out, config, base_model, rows, "features", tokenized)
    from tasks.algorithms.classification.baselines import linear_probe  # scikit-learn takes a second

    labels = [row["name"] for row in out.store.rows(mixed, "labels")]
    learnt = (rows["split"] == "train").to_numpy()
    out.progress(0, None, "features, of which labels are learnt")
    truth = indicator(rows["labels"], labels)[learnt]
    found = linear_probe(features[learnt], truth, features[~learnt], multi_label=multi_label)
    _write(out, "frozen", rows.filter(pl.col("split") != "train"), _logs(found, multi_label))
    out.facts |= {name: value for name, value in told.items() if name != "labels"}
    out.counts = Counts(read=len(rows), kept=len(rows))


@stage("classifier-baselines", version=1)
def baseline(out: Attempt, mixed: Artifact, multi_label: bool) -> None:
    """What a model must beat to be worth its cost: the commonest label, and a logistic regression on word counts."""
    from tasks.algorithms.classification.baselines import TextBaseline, majority  # scikit-learn takes a second

    rows = _rows(out, mixed, ("train", *MEASURED))
    labels = [row["name"] for row in out.store.rows(mixed, "labels")]
    train, asked = rows.filter(pl.col("split") == "train"), rows.filter(pl.col("split") != "train")
    truth = indicator(train["labels"], labels)
    _write(out, "majority", asked, _logs(majority(truth, len(asked)), multi_label))
    out.progress(0, None, "texts, of which labels are learnt")
    simple = TextBaseline(labels, multi_label=multi_label)
    simple.fit(whole_texts(train), truth)
    _write(out, "tfidf", asked, _logs(simple.probabilities(whole_texts(asked)), multi_label))
    out.counts = Counts(read=len(rows), kept=len(rows))


def _rows(out: Attempt, mixed: Artifact, sides: tuple[Side, ...]) -> pl.DataFrame:
    return pl.concat([read_texts(out.store, mixed, side) for side in sides])


def _asked(
    out: Attempt,
    config: ClassifierMeasurementConfig,
    model: Resource | Artifact,
    rows: pl.DataFrame,
    what: Literal["logits", "features"],
    tokenized: Artifact,
) -> tuple[Floats, dict[str, Any]]:
    """What a model makes of each row, in the order of the rows, and what its process told."""
    (settings,) = out.store.rows(tokenized, "settings")
    with tempfile.TemporaryDirectory(prefix="fettle-scoring-") as temporary, model_folder(out.store, model) as folder:
        work = Path(temporary)
        pq.write_table(as_texts(rows), work / "texts.parquet")
        job = ClassifierScoringJob(
            model=folder,
            texts=[work / "texts.parquet"],
            output=work / "output",
            what=what,
            batch_size=config.batch_size,
            dtype=config.dtype,
            max_length=settings["max_length"],
        )

        def hear(event: dict[str, Any]) -> None:
            match event:
                case {"event": "progress", "step": int(step), "total": int(total)}:
                    out.progress(step, total, "texts")

        launch.run(SCORER, job, folder=work, on_event=hear, on_line=logger().info)
        told = json.loads((job.output / "result.json").read_text(encoding="utf-8"))
        values = pq.read_table(job.output / "scores.parquet")["values"].to_pylist()
    return np.array(values, dtype=np.float32), told


def _logs(probabilities: Floats, multi_label: bool) -> Floats:
    """Logits of probabilities, so that all models' values are read alike."""
    bounded = np.clip(probabilities, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY if multi_label else 1.0)
    logits: Floats = np.log(bounded) - (np.log1p(-bounded) if multi_label else 0.0)
    return logits


def _write(out: Attempt, name: str, rows: pl.DataFrame, values: Floats) -> None:
    said = {
        "model": [name] * len(rows),
        "id": rows["id"].to_list(),
        "split": rows["split"].to_list(),
        "values": [row.tolist() for row in values.astype(np.float32)],
    }
    out.write("predictions", pa.table(said, schema=PREDICTIONS))
