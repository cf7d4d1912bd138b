"""A tiny encoder made in process, and tokenised rows of two kinds of text that a model can tell apart."""

import json
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.trainer.classifier.encoder import WarmUp
from tasks.trainer.classifier.job import ClassifierJob, EncoderJob

LABELS = ["refund", "weather", "greeting"]
WORDS = {
    "refund": ["money", "back", "order", "card", "charged", "twice", "return", "shop", "parcel", "broken"],
    "weather": ["rain", "sun", "wind", "cloud", "storm", "warm", "cold", "forecast", "snow", "degrees"],
    "greeting": ["hello", "hi", "friend", "morning", "nice", "welcome", "evening", "dear", "hey", "good"],
}
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("input_ids", pa.list_(pa.int32())),
        ("token_type_ids", pa.list_(pa.int8())),
        ("labels", pa.list_(pa.int32())),
    ]
)
Texts = list[tuple[str, list[str]]]
WriteTexts = Callable[[Path, Sequence[str]], Path]
WriteRows = Callable[[Path, Path, Texts], Path]
MakeJob = Callable[..., ClassifierJob]


def some_texts(count: int, seed: int, *, several: bool = False) -> Texts:
    """Texts of unequal length with their labels; with `several`, of any number of labels."""
    drawn = random.Random(seed)
    found: Texts = []
    for number in range(count):
        chosen = [label for label in LABELS if drawn.random() < 0.5] if several else [LABELS[number % len(LABELS)]]
        words = [drawn.choice(WORDS[label]) for label in chosen for _ in range(drawn.randint(2, 9))]
        words += ["the", "a", "is"][: drawn.randint(1, 3)]
        drawn.shuffle(words)
        found.append((" ".join(words), chosen))
    return found


@pytest.fixture(scope="session")
def write_texts() -> WriteTexts:
    """Writes a table of texts; a text with a tab is a pair."""

    def write(path: Path, texts: Sequence[str]) -> Path:
        firsts, pairs = zip(*(text.partition("\t")[::2] for text in texts), strict=True)
        ids = [f"row-{number}" for number in range(len(texts))]
        pq.write_table(pa.table({"id": ids, "text": firsts, "text_pair": pairs}), path)
        return path

    return write


@pytest.fixture(scope="session")
def write_rows() -> WriteRows:
    """Writes texts as rows, tokenised by a model's own tokenizer."""
    from tokenizers import Tokenizer

    def write(path: Path, model: Path, texts: Texts) -> Path:
        tokenizer: Any = Tokenizer.from_file(str(model / "tokenizer.json"))
        encoded = [tokenizer.encode(text) for text, _ in texts]
        rows = [
            {
                "id": f"row-{number}",
                "input_ids": each.ids,
                "token_type_ids": each.type_ids,
                "labels": [LABELS.index(label) for label in labels],
            }
            for number, (each, (_, labels)) in enumerate(zip(encoded, texts, strict=True))
        ]
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path)
        return path

    return write


@pytest.fixture(scope="session")
def encoder_job(tmp_path_factory: pytest.TempPathFactory, write_texts: WriteTexts) -> EncoderJob:
    """What makes the tiny encoder."""
    folder = tmp_path_factory.mktemp("encoder")
    texts = [text for text, _ in some_texts(120, seed=1)]
    return EncoderJob(
        texts=[write_texts(folder / "texts.parquet", texts)],
        output=folder / "made",
        vocabulary=200,
        layers=2,
        hidden_size=16,
        heads=2,
        max_length=32,
        warm_up=WarmUp(epochs=2, batch_size=16),
    )


@pytest.fixture(scope="session")
def encoder(encoder_job: EncoderJob) -> Path:
    """Folder of the tiny encoder."""
    from tasks.trainer.classifier.pretrain import pretrain

    pretrain(encoder_job)
    return encoder_job.output / "model"


@pytest.fixture
def make_job(encoder: Path, tmp_path: Path, write_rows: WriteRows) -> MakeJob:
    """A small training on the tiny encoder, or on another base; keywords change it."""

    def make(base: Path = encoder, texts: Texts | None = None, **changes: Any) -> ClassifierJob:
        several = bool(changes.get("multi_label"))
        rows = some_texts(60, seed=2, several=several) if texts is None else texts
        told: dict[str, Any] = {
            "base_model": base,
            "train": [write_rows(tmp_path / "train.parquet", base, rows)],
            "validation": [write_rows(tmp_path / "validation.parquet", base, some_texts(18, seed=3, several=several))],
            "labels": LABELS,
            "max_length": 32,
            "output": tmp_path / "trained",
            "learning_rate": 1e-2,
            "epochs": 3,
            "batch_size": 16,
            "dtype": "float32",
            "label_smoothing": 0.0,
            "token_dropout": 0.0,
        }
        return ClassifierJob(**(told | changes))

    return make


@pytest.fixture
def encoder_copy(encoder: Path, tmp_path: Path) -> Path:
    """The tiny encoder in a folder that a test may change."""
    return Path(shutil.copytree(encoder, tmp_path / "base"))


@pytest.fixture
def without_dropout(encoder_copy: Path) -> Path:
    """The tiny encoder, which learns the same however its batches are cut."""
    config = json.loads((encoder_copy / "config.json").read_text())
    still = {name: 0.0 for name in config if name.endswith("_dropout")}
    (encoder_copy / "config.json").write_text(json.dumps(config | still))
    return encoder_copy
