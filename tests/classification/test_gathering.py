"""What a classifier's report tells, and what is published: every row by its fate, and no row that is nobody's."""

import csv
import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest

from tasks.artifacts.errors import CorruptArtifactError
from tasks.artifacts.manifest import Artifact
from tasks.artifacts.store import Store
from tasks.classification.curation import LabelledCurationConfig, curate
from tasks.classification.deduplication import LabelledDeduplicationConfig, deduplicate
from tasks.classification.evaluation import ClassifierEvaluationConfig, evaluate
from tasks.classification.gathering import gather
from tasks.classification.ingestion import LabelledIngestionConfig, ingest
from tasks.classification.measurement import PREDICTIONS, baseline
from tasks.classification.mixing import LabelledMixingConfig, mix
from tasks.classification.publication import publish
from tasks.classification.tokenization import LabelledTokenizationConfig, tokenize
from tasks.gathering import About
from tests.classification.making import TOPICS, about, artifact, rows, source
from tests.classification.test_tokenization import word_piece
from tests.stages.making import prose

METRICS = pa.schema(
    [
        ("step", pa.int64()),
        *((name, pa.float64()) for name in ("epoch", "loss", "heldout_loss", "macro_f1", "accuracy", "learning_rate")),
    ]
)
_COUNTED = dict.fromkeys(("steps", "planned_steps", "best_step", "epochs"), 2)
_MEASURED = dict.fromkeys(("parameters", "trainable_parameters", "tokens", "tokens_per_second", "seconds"), 90)
TRAINED: dict[str, Any] = {"device": "cpu", "dtype": "float32", "steps_per_epoch": 1, **_COUNTED, **_MEASURED}
"""What a training process tells."""
NAMED = About(name="support", base_model="bert")


class Finished(NamedTuple):
    """A run with everything but its training, which is written down."""

    store: Store
    mixed: Artifact
    trained: Artifact
    evaluated: Artifact


def mail() -> list[dict[str, Any]]:
    """Rows with one fault of each kind, and wrong labels among many good ones."""
    labels = list(TOPICS)
    good = [{"text": about(labels[n % 4], n), "label": labels[(n + (n % 25 == 7)) % 4]} for n in range(400)]
    faults: list[dict[str, Any]] = [
        {"text": "no label here", "label": None},
        {"text": " ", "label": "card"},
        {"text": 5, "label": "card"},
        {"text": "Both of these are the same text", "label": "card"},
        {"text": "both of these are  the same text", "label": "loan"},
        {"text": good[0]["text"].upper(), "label": good[0]["label"]},
        {"text": about("card", 9000), "label": "card"},
        {"text": prose(1, 200), "label": "card", "split": "train"},
    ]
    return good + faults


def finished(folder: Path, store: Store) -> Finished:
    asked = [{"text": about("card", 9000), "label": "card"}, {"text": about("loan", 9001), "label": "loan"}]
    asked += [{"text": about("open", 9100 + n), "label": "open"} for n in range(20)]
    asked += [{"text": about("fees", 9200), "label": "unseen"}]
    given = [source(folder / "mail.jsonl", mail()), source(folder / "web.jsonl", asked, split="test")]
    ingested = ingest(store, LabelledIngestionConfig(), given)
    curated = curate(store, LabelledCurationConfig(), ingested)
    deduplicated = deduplicate(store, LabelledDeduplicationConfig(), curated, ["mail", "web"])
    mixed = mix(store, LabelledMixingConfig(), deduplicated, [], False)
    tokenized = tokenize(store, LabelledTokenizationConfig(max_length=64), mixed, word_piece(folder / "model"))
    steps = [{"step": 1, "epoch": 0.5, "loss": 1.0}, {"step": 2, "epoch": 1.0, "loss": 0.5, "heldout_loss": 0.6}]
    steps[1] |= {"macro_f1": 0.9, "accuracy": 0.9}
    trained = artifact(
        store,
        "classifier-training",
        {"metrics": pa.Table.from_pylist(steps, METRICS)},
        (tokenized.as_parent("tokenized"), mixed.as_parent("mixed")),
        {"model/model.safetensors": b"weights"},
        TRAINED,
        multi_label=False,
        method={"kind": "full"},
    )
    tuned = measured(store, mixed, trained)
    config = ClassifierEvaluationConfig(draws=100)
    baselines = baseline(store, mixed, False)
    evaluated = evaluate(store, config, mixed, tuned, baselines, None, None, False)
    return Finished(store, mixed, trained, evaluated)


def measured(store: Store, mixed: Artifact, trained: Artifact) -> Artifact:
    """A model that is sure, and wrong of every seventh row."""
    labels = [row["name"] for row in rows(store, mixed, "labels")]
    asked = [(side, row) for side in ("validation", "test") for row in rows(store, mixed, side)]
    values = np.zeros((len(asked), len(labels)), dtype=np.float32)
    for place, (_, row) in enumerate(asked):
        values[place, (labels.index(row["labels"][0]) + (place % 7 == 0)) % len(labels)] = 9
    said = {
        "model": ["tuned"] * len(asked),
        "id": [row["id"] for _, row in asked],
        "split": [side for side, _ in asked],
        "values": values.tolist(),
    }
    tables = {"predictions": pa.table(said, schema=PREDICTIONS), "labels": pa.table({"name": labels})}
    parents = (trained.as_parent("model"), mixed.as_parent("mixed"))
    return artifact(store, "classifier-measurement", tables, parents)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("run")
    store = Store(str(folder / "store"))
    store.probe()
    return finished(folder, store)


def test_every_row_that_was_read_has_one_fate(run: Finished) -> None:
    facts = gather(run.store, NAMED, run.trained, run.evaluated)
    assert [(each.name, each.read) for each in facts.sources] == [("mail", len(mail())), ("web", 23)]
    for each in facts.sources:
        assert each.read == each.rejected + each.heldout + each.kept + sum(each.dropped.values())
    assert sum(each.kept for each in facts.sources) == run.mixed.tables["train"].rows
    audits = {each.source: each for each in facts.audits}
    found = audits["mail"]
    assert (found.missing, found.contradictions, found.duplicates, found.leaks) == (2, 2, 1, 1)
    assert (found.truncated, found.unseen_labels) == (1, 0)
    assert (audits["web"].missing, audits["web"].unseen_labels, audits["web"].rows) == (0, 1, 23)


def test_models_labels_and_weaknesses_are_told_as_they_were_measured(run: Finished) -> None:
    facts = gather(run.store, NAMED, run.trained, run.evaluated)
    assert facts.labels == tuple(sorted(TOPICS))
    assert [each.name for each in facts.models] == ["tuned", "majority class", "TF-IDF + logistic regression"]
    told = {
        (row["model"], row["metric"]): row for row in rows(run.store, run.evaluated, "models") if row["split"] == "test"
    }
    tuned = facts.models[0]
    assert tuned.rows == run.mixed.tables["test"].rows == 22
    assert tuned.macro_f1.value == told["tuned", "macro_f1"]["value"]
    assert [each.label for each in facts.per_label] == list(facts.labels)
    assert facts.confusion is not None
    assert sum(map(sum, facts.confusion.counts)) == 22
    assert facts.wrong == len(facts.errors) > 0
    assert facts.suspected == len(rows(run.store, run.mixed, "suspects")) >= len(facts.suspects) > 0
    assert [(each.step, each.macro_f1) for each in facts.validation] == [(2, 0.9)]
    told_of = {warning.stage.removeprefix("labelled-") for warning in facts.warnings}
    assert told_of >= {"ingestion", "curation", "deduplication", "mixing"}


def test_what_goes_out_quotes_no_training_row(run: Finished) -> None:
    made = publish(run.store, NAMED, run.trained, run.evaluated)
    manifest = run.store.manifest(made)
    files = {name: run.store.read_file(made, name).decode() for name in manifest.files}
    assert set(files) == {"report.html", "README.md", "suspects.csv", "gates.json", "calibration.json"}
    assert files["gates.json"].encode() == run.store.read_file(run.evaluated, "gates.json")
    suspects = rows(run.store, run.mixed, "suspects")
    listed = list(csv.DictReader(io.StringIO(files["suspects.csv"])))
    assert [(row["text"], row["given"]) for row in listed] == [(row["text"], row["given"][0]) for row in suspects]
    assert listed
    train = {row["text"] for row in rows(run.store, run.mixed, "train")}
    for name in ("report.html", "README.md"):
        assert not [text for text in train if text in files[name]]
    assert json.loads(files["calibration.json"]) == {
        "temperature": run.store.manifest(run.evaluated).facts["temperature"],
        "labels": sorted(TOPICS),
    }
    assert manifest.facts["verdict"] == json.loads(files["gates.json"])["verdict"]


def test_a_run_whose_data_was_swept_is_refused_in_words(tmp_path: Path, store: Store) -> None:
    made = finished(tmp_path, store)
    (address,) = [each for each in store.addresses() if each.startswith("labelled-curation/")]
    store.files.delete(address)
    with pytest.raises(CorruptArtifactError, match=r"is no longer all there: no labelled-ingestion; .* Run the recipe"):
        gather(store, NAMED, made.trained, made.evaluated)
