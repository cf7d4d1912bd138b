"""A small encoder that is made from texts alone."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tasks.trainer.classifier.encoder import EncoderConfig
from tasks.trainer.classifier.job import EncoderJob
from tasks.trainer.classifier.pretrain import pretrain
from tasks.trainer.launch import run
from tests.trainer.classifier.conftest import WriteTexts


def test_anybody_can_load_it(encoder: Path, encoder_job: EncoderJob) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model, info = AutoModelForSequenceClassification.from_pretrained(encoder, output_loading_info=True)
    assert set(info["missing_keys"]) == {"classifier.weight", "classifier.bias"}
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    assert tokenizer.model_max_length == encoder_job.max_length
    assert tokenizer.convert_ids_to_tokens(tokenizer("Rain!", "hello")["input_ids"]) == [
        *("[CLS]", "rain", "[UNK]", "[SEP]", "hello", "[SEP]")
    ]
    assert model.get_input_embeddings().num_embeddings == len(tokenizer)
    assert model.config.classifier_pooling == "mean"


def test_it_learns_to_guess_and_tells_how_well(encoder: Path, encoder_job: EncoderJob) -> None:
    losses = pq.read_table(encoder_job.output / "metrics.parquet").to_pylist()
    result = json.loads((encoder_job.output / "result.json").read_text())
    assert [row["step"] for row in losses] == list(range(1, 17))
    assert losses[-1]["loss"] < losses[0]["loss"]
    assert result["first_loss"] == losses[0]["loss"]
    assert result["vocabulary"] <= encoder_job.vocabulary
    assert result["texts"] == 120


def test_another_process_makes_the_same_bytes(encoder: Path, encoder_job: EncoderJob, tmp_path: Path) -> None:
    events: list[str] = []
    run(
        "tasks.trainer.classifier.pretrain",
        encoder_job.model_copy(update={"output": tmp_path / "out"}),
        folder=tmp_path,
        on_event=lambda event: events.append(event["event"]),
        on_line=pytest.fail,
    )
    files = {path.name: path.read_bytes() for path in (tmp_path / "out" / "model").iterdir()}
    assert files == {path.name: path.read_bytes() for path in encoder.iterdir()}
    assert (events[0], events[1], events[-1]) == ("started", "progress", "finished")


def test_all_of_a_long_text_is_read(encoder_job: EncoderJob, tmp_path: Path, write_texts: WriteTexts) -> None:
    texts = write_texts(tmp_path / "texts.parquet", ["rain wind " * 100 + "\t" + "sun " * 10, "  ", "sun"])
    job = encoder_job.model_copy(update={"texts": [texts], "output": tmp_path / "out"})
    pretrain(job)
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    windows = -(-200 // (job.max_length - 2)) + 2
    assert result["tokens"] == 200 + 10 + 1 + 2 * windows


def test_a_warm_up_is_not_needed(encoder_job: EncoderJob, tmp_path: Path) -> None:
    cold = encoder_job.warm_up.model_copy(update={"epochs": 0})
    pretrain(encoder_job.model_copy(update={"warm_up": cold, "output": tmp_path / "out"}))
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert (result["steps"], result["first_loss"], result["last_loss"]) == (0, None, None)
    assert pq.read_table(tmp_path / "out" / "metrics.parquet").num_rows == 0


def test_texts_of_blanks_make_no_encoder(encoder_job: EncoderJob, tmp_path: Path, write_texts: WriteTexts) -> None:
    texts = write_texts(tmp_path / "texts.parquet", ["", " \n"])
    with pytest.raises(ValueError, match="no texts to make an encoder from"):
        pretrain(encoder_job.model_copy(update={"texts": [texts]}))


def test_heads_must_share_the_width() -> None:
    with pytest.raises(ValueError, match="hidden_size is 30 and heads is 4"):
        EncoderConfig(hidden_size=30)
