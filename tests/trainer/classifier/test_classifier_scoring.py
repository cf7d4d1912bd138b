"""What a classifier says of texts, against transformers' own pipeline and against one text at a time."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from tasks.trainer.classifier.job import ClassifierScoringJob
from tasks.trainer.classifier.score import score
from tasks.trainer.launch import run
from tests.trainer.classifier.conftest import LABELS, WriteTexts

TEXTS = ["rain and wind", "", "hello dear friend\tgood morning", "money back " * 40, "x", "storm\tcold " * 30]


def found(job: ClassifierScoringJob) -> tuple[list[list[float]], dict[str, Any]]:
    """The values in the order of the table, and the result."""
    score(job)
    table = pq.read_table(job.output / "scores.parquet")
    assert table["id"].to_pylist() == [f"row-{number}" for number in range(table.num_rows)]
    return table["values"].to_pylist(), json.loads((job.output / "result.json").read_text())


@pytest.fixture(scope="module")
def pair_classifier(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT with the tiny encoder's tokenizer, which tells first from second texts."""
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(3)
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=40,
        id2label=dict(enumerate(LABELS)),
        initializer_range=0.5,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    tokenizer.model_max_length = 30
    tokenizer.save_pretrained(folder)
    return folder


def test_values_are_transformers_own_in_the_order_of_the_texts(
    pair_classifier: Path, tmp_path: Path, write_texts: WriteTexts
) -> None:
    from transformers import pipeline

    job = ClassifierScoringJob(
        model=pair_classifier,
        texts=[write_texts(tmp_path / "1.parquet", TEXTS)],
        output=tmp_path / "out",
        batch_size=2,
        max_length=30,
        dtype="float32",
    )
    values, result = found(job)
    ask = pipeline(
        "text-classification", model=str(pair_classifier), device="cpu", function_to_apply="none", top_k=None
    )
    for text, logits in zip(TEXTS, values, strict=True):
        first, _, second = text.partition("\t")
        told = ask({"text": first, **({"text_pair": second} if second else {})}, truncation=True)
        by_label = {each["label"]: each["score"] for each in told}
        assert logits == pytest.approx([by_label[label] for label in LABELS], abs=1e-5), text
    assert result["labels"] == LABELS
    assert result["truncated"] == 2
    assert (result["rows"], result["max_length"]) == (len(TEXTS), 30)


def test_features_are_means_over_the_tokens_of_a_text(encoder: Path, tmp_path: Path, write_texts: WriteTexts) -> None:
    from transformers import AutoModel, AutoTokenizer

    texts = ["rain and wind", "hello", "money back order card charged twice"]
    job = ClassifierScoringJob(
        model=encoder,
        texts=[write_texts(tmp_path / "a.parquet", texts)],
        output=tmp_path / "out",
        what="features",
        dtype="float32",
    )
    values, result = found(job)
    model, tokenizer = AutoModel.from_pretrained(encoder).eval(), AutoTokenizer.from_pretrained(encoder)
    with torch.no_grad():
        for text, features in zip(texts, values, strict=True):
            alone = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0)
            assert features == pytest.approx(alone.tolist(), abs=1e-5)
    assert result["labels"] == []


def test_a_decoder_reads_texts_of_any_length_in_one_batch(base: Path, tmp_path: Path, write_texts: WriteTexts) -> None:
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(0)
    AutoModelForSequenceClassification.from_pretrained(base, num_labels=2).save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "tokenizer.json").write_bytes((base / "tokenizer.json").read_bytes())
    (tmp_path / "model" / "tokenizer_config.json").write_bytes((base / "tokenizer_config.json").read_bytes())
    texts = write_texts(tmp_path / "a.parquet", ["a b c", "The capital of France is Paris.", "a"])
    values = []
    for size in (3, 1):
        output = tmp_path / f"out-{size}"
        job = ClassifierScoringJob(model=tmp_path / "model", texts=[texts], output=output, batch_size=size)
        values.append(found(job)[0])
    assert values[0] == [pytest.approx(each, abs=1e-5) for each in values[1]]


def test_no_texts_give_no_values(encoder: Path, tmp_path: Path, write_texts: WriteTexts) -> None:
    texts = write_texts(tmp_path / "a.parquet", ["a"])
    pq.write_table(pq.read_table(texts).slice(0, 0), texts)
    values, result = found(ClassifierScoringJob(model=encoder, texts=[texts], output=tmp_path / "o", what="features"))
    assert (values, result["rows"]) == ([], 0)


def test_a_model_without_a_trained_head_is_refused_by_its_process(
    encoder: Path, tmp_path: Path, write_texts: WriteTexts
) -> None:
    from tasks.trainer.launch import TrainerFailed

    texts = write_texts(tmp_path / "a.parquet", ["a"])
    job = ClassifierScoringJob(model=encoder, texts=[texts], output=tmp_path / "out")
    with pytest.raises(TrainerFailed, match="is no trained classifier: it has no weights for classifier"):
        run("tasks.trainer.classifier.score", job, folder=tmp_path, on_event=lambda _: None, on_line=lambda _: None)
