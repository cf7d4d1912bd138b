"""Training a tiny classifier: what is written, what learns, and which epoch is kept."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from tasks.trainer.child import Diverged
from tasks.trainer.classifier.config import EarlyStopping
from tasks.trainer.classifier.job import ClassifierJob, ClassifierScoringJob
from tasks.trainer.classifier.score import score
from tasks.trainer.classifier.train import train
from tests.trainer.classifier.conftest import LABELS, MakeJob, WriteTexts, some_texts

pytestmark = [
    # peft still uses this name itself; transformers calls it deprecated.
    pytest.mark.filterwarnings("ignore:`(is_)?gradient_checkpointing` is deprecated:FutureWarning"),
]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def trained(job: ClassifierJob) -> dict[str, Any]:
    """The result of a training in this process."""
    train(job)
    result: dict[str, Any] = json.loads((job.output / "result.json").read_text())
    return result


def changed(base: Path, model: Path) -> set[str]:
    """The names of the weights that differ from the base's, or that it lacks."""
    before, after = weights(base), weights(model)
    return {name for name, weight in after.items() if name not in before or not torch.equal(before[name], weight)}


def test_a_model_learns_and_anybody_can_ask_it(make_job: MakeJob, encoder: Path) -> None:
    from transformers import pipeline

    job = make_job()
    result = trained(job)
    ask = pipeline("text-classification", model=str(job.output / "model"), device="cpu")
    told = ask([text for text, _ in some_texts(9, seed=5)] + ["rain storm " * 99], truncation=True)
    assert [each["label"] for each in told] == [*LABELS * 3, "weather"]
    assert result["best_macro_f1"] == 1.0
    assert (result["steps"], result["planned_steps"], result["steps_per_epoch"]) == (12, 12, 4)
    assert result["tokens"] == 3 * sum(len(row["input_ids"]) for row in pq.read_table(job.train[0]).to_pylist())
    config = json.loads((job.output / "model" / "config.json").read_text())
    assert config["id2label"] == {str(place): label for place, label in enumerate(LABELS)}
    assert config["problem_type"] == "single_label_classification"
    assert str(encoder) not in json.dumps(config)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        ours, theirs = ((folder / name).read_bytes() for folder in (job.output / "model", encoder))
        assert ours == theirs, "the tokenizer is the base's, which cuts where training did already"


def test_the_tokenizer_is_told_where_training_cut(make_job: MakeJob) -> None:
    job = make_job(max_length=20)
    train(job)
    assert json.loads((job.output / "model" / "tokenizer_config.json").read_text())["model_max_length"] == 20


def test_the_same_job_gives_the_same_bytes(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(token_dropout=0.2, sampling="balanced")
    for name in ("one", "two"):
        train(job.model_copy(update={"output": tmp_path / name}))
    for path in ("model/model.safetensors", "model/config.json", "metrics.parquet"):
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes(), path


@pytest.mark.parametrize(
    ("method", "stays"),
    [
        ("full", ()),
        ("frozen", ("model.",)),
        ("first_layers_frozen", ("model.embeddings.", "model.layers.0.")),
    ],
)
def test_frozen_weights_stay_to_the_last_bit(
    make_job: MakeJob, encoder: Path, method: str, stays: tuple[str, ...]
) -> None:
    job = make_job(method=method, epochs=1)
    result = trained(job)
    moved = changed(encoder, job.output / "model")
    all_weights = weights(job.output / "model")
    assert moved == {name for name in all_weights if not name.startswith(stays or "-")}
    assert result["trainable_parameters"] == sum(all_weights[name].numel() for name in moved)
    assert result["parameters"] == sum(weight.numel() for weight in all_weights.values())


def test_lora_leaves_an_adapter_and_a_model_that_computes_the_same(make_job: MakeJob, encoder: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    job = make_job(method={"kind": "lora", "rank": 2, "target_modules": ["Wqkv"]}, learning_rate=3e-2)
    result = trained(job)
    merged = AutoModelForSequenceClassification.from_pretrained(job.output / "model").eval()
    base = AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=len(LABELS))
    adapted = PeftModel.from_pretrained(base, job.output / "adapter").eval()
    ids = torch.tensor([[2, 9, 30, 41, 12, 3]])
    with torch.no_grad():
        torch.testing.assert_close(merged(ids).logits, adapted(ids).logits)
    moved = changed(encoder, job.output / "model")
    layers = {f"model.layers.{layer}.attn.Wqkv.weight" for layer in (0, 1)}
    assert moved == layers | {"head.dense.weight", "head.norm.weight", "classifier.weight", "classifier.bias"}
    assert result["trainable_parameters"] < result["parameters"] / 2
    assert result["best_macro_f1"] > 0.8


@pytest.fixture
def without_pooler(encoder: Path, tmp_path: Path) -> Path:
    """A BERT that has only ever guessed masked words, so that its files lack what a classifier reads from."""
    from transformers import BertConfig, BertForMaskedLM

    vocabulary = weights(encoder)["model.embeddings.tok_embeddings.weight"].shape[0]
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    config = BertConfig(vocab_size=vocabulary, max_position_embeddings=32, dtype="bfloat16", **sizes)
    BertForMaskedLM(config).to(torch.bfloat16).save_pretrained(tmp_path / "bert")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "bert" / name).write_bytes((encoder / name).read_bytes())
    return tmp_path / "bert"


@pytest.mark.parametrize(("method", "dtype"), [("frozen", "float32"), ("lora", "float32"), ("lora", "bfloat16")])
def test_what_the_base_lacks_learns_by_every_method(
    make_job: MakeJob, without_pooler: Path, method: str, dtype: str
) -> None:
    job = make_job(without_pooler, method=method, dtype=dtype, epochs=1)
    result = trained(job)
    before, after = weights(without_pooler), weights(job.output / "model")
    assert {weight.dtype for weight in after.values()} == {getattr(torch, dtype)}
    moved = {name for name, weight in after.items() if name in before and (weight.float() - before[name]).any()}
    assert moved == (
        {name for name in before if "encoder.layer" in name and ".weight" in name and "LayerNorm" not in name}
        if method == "lora"
        else set()
    )
    new = {"classifier.weight", "classifier.bias", "bert.pooler.dense.weight", "bert.pooler.dense.bias"}
    assert after.keys() - before.keys() == new
    assert result["dtype"] == dtype
    if method == "frozen":
        assert result["trainable_parameters"] == sum(after[name].numel() for name in new)
    else:
        adapter = load_file(job.output / "adapter" / "adapter_model.safetensors")
        assert {name for name in adapter if "pooler" in name} == {
            f"base_model.model.bert.pooler.dense.{part}" for part in ("weight", "bias")
        }


def test_weights_of_another_model_are_refused(make_job: MakeJob, encoder_copy: Path) -> None:
    config = json.loads((encoder_copy / "config.json").read_text())
    (encoder_copy / "config.json").write_text(json.dumps(config | {"hidden_size": 32}))
    with pytest.raises(ValueError, match=r"are not those of its config.json: model\..* has another shape"):
        train(make_job(encoder_copy))


def test_a_layer_that_is_not_there_gets_no_matrices(make_job: MakeJob) -> None:
    with pytest.raises(ValueError, match=r"target_modules names q_proj, but .* it has Wi, Wo, Wqkv"):
        train(make_job(method={"kind": "lora", "target_modules": ["q_proj", "Wo"]}))


def test_one_layer_at_least_must_learn(make_job: MakeJob) -> None:
    with pytest.raises(ValueError, match=r"method.layers is 2, but the model has 2 layers"):
        train(make_job(method={"kind": "first_layers_frozen", "layers": 2}))


def test_a_decoder_without_padding_learns_and_is_asked_in_batches(make_job: MakeJob, base: Path) -> None:
    from transformers import pipeline

    job = make_job(base, max_length=100, epochs=6)
    result = trained(job)
    assert result["best_macro_f1"] > 0.9
    assert json.loads((job.output / "model" / "config.json").read_text())["pad_token_id"] == 1
    ask = pipeline("text-classification", model=str(job.output / "model"), device="cpu")
    texts = [text for text, _ in some_texts(9, seed=5)]
    together, alone = ask(texts, batch_size=9, truncation=True), ask(texts, truncation=True)
    assert [each["score"] for each in together] == pytest.approx([each["score"] for each in alone], abs=1e-5)


def test_a_row_may_have_several_labels_or_none(make_job: MakeJob) -> None:
    from transformers import pipeline

    job = make_job(multi_label=True, epochs=8, class_weights="balanced")
    result = trained(job)
    assert result["best_macro_f1"] > 0.9
    assert result["class_weights"].keys() == set(LABELS)
    ask = pipeline("text-classification", model=str(job.output / "model"), device="cpu", top_k=None)
    (told,) = ask(["hello friend rain wind storm hi"])
    assert {each["label"] for each in told if each["score"] > 0.5} == {"greeting", "weather"}


def test_the_best_epoch_is_kept_and_training_stops_once_it_gets_no_better(
    make_job: MakeJob, tmp_path: Path, write_texts: WriteTexts
) -> None:
    wrong = [(text, [LABELS[number % 2]]) for number, (text, _) in enumerate(some_texts(60, seed=2))]
    stopping = EarlyStopping(metric="loss", patience=2)
    job = make_job(texts=wrong, early_stopping=stopping, epochs=30)
    result = trained(job)
    metrics = [row for row in pq.read_table(job.output / "metrics.parquet").to_pylist() if row["macro_f1"] is not None]
    losses = [row["heldout_loss"] for row in metrics]
    best = losses.index(min(losses))
    assert result["stopped_early"]
    assert len(losses) == best + 1 + 2
    assert result["best_step"] == metrics[best]["step"]
    assert result["best_heldout_loss"] == losses[best]
    validation = some_texts(18, seed=3)
    asked = ClassifierScoringJob(
        model=job.output / "model",
        texts=[write_texts(tmp_path / "validation-texts.parquet", [text for text, _ in validation])],
        output=tmp_path / "scores",
    )
    score(asked)
    logits = torch.tensor(pq.read_table(tmp_path / "scores" / "scores.parquet")["values"].to_pylist())
    places = torch.tensor([LABELS.index(labels[0]) for _, labels in validation])
    assert float(torch.nn.functional.cross_entropy(logits, places)) == pytest.approx(losses[best], abs=1e-5)


def test_rows_in_micro_batches_learn_the_same(make_job: MakeJob, without_dropout: Path, tmp_path: Path) -> None:
    job = make_job(without_dropout, class_weights={"weather": 3.0}, label_smoothing=0.1)
    ones = job.model_copy(update={"micro_batch_size": 3, "output": tmp_path / "micro"})
    results = [trained(each) for each in (job, ones)]
    assert [result["micro_batch_size"] for result in results] == [16, 3]
    assert results[0]["class_weights"] == {"refund": 1.0, "weather": 3.0, "greeting": 1.0}
    first, second = (pq.read_table(each.output / "metrics.parquet")["loss"].to_pylist() for each in (job, ones))
    assert first == pytest.approx(second, rel=1e-4)


def test_a_loss_that_is_no_number_ends_training_at_its_step(make_job: MakeJob, encoder_copy: Path) -> None:
    broken = weights(encoder_copy)
    broken["head.dense.weight"][0, 0] = float("nan")
    save_file(broken, encoder_copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(Diverged, match="at step 1 of 12"):
        train(make_job(encoder_copy))
