"""Configuration, rows, their order and the loss: what can be told without a model."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from sklearn.utils.class_weight import compute_class_weight

from tasks.trainer.classifier.config import ClassifierTrainingConfig, FirstLayersFrozen, Lora
from tasks.trainer.classifier.losses import Objective, class_weights
from tasks.trainer.classifier.order import Order, balanced_shares
from tasks.trainer.classifier.rows import read_rows
from tasks.trainer.classifier.train import train
from tasks.trainer.wording import in_words
from tests.trainer.classifier.conftest import LABELS, SCHEMA, MakeJob


def test_a_method_may_be_given_by_its_name() -> None:
    assert ClassifierTrainingConfig.model_validate({"method": "lora"}).method == Lora()
    assert ClassifierTrainingConfig.model_validate(
        {"method": {"kind": "first_layers_frozen", "layers": 3}}
    ).method == FirstLayersFrozen(layers=3)
    with pytest.raises(ValueError, match="'lorra' found using 'kind' does not match"):
        ClassifierTrainingConfig.model_validate({"method": "lorra"})


def test_what_is_left_open_is_chosen_by_method_and_base() -> None:
    left_open = ClassifierTrainingConfig()
    rates = {made: left_open.settled(made_here=made).learning_rate for made in (True, False)}
    assert rates[True] is not None
    assert rates[False] is not None
    assert rates[True] > rates[False]
    said = ClassifierTrainingConfig(learning_rate=1e-4, epochs=2, token_dropout=0.0)
    settled = said.settled(made_here=True)
    assert (settled.learning_rate, settled.epochs, settled.token_dropout) == (1e-4, 2, 0.0)
    assert None not in (settled.label_smoothing, *dict(settled).values()) or settled.class_weights is None


def test_configuration_needs_no_torch() -> None:
    """Stages import it, and so does every `fettle` command."""
    told = "import sys, tasks.trainer.classifier.job, tasks.trainer.classifier.score; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", told], capture_output=True, text=True).stdout == "False\n"


def test_an_evaluation_is_told_in_words() -> None:
    event = {"event": "evaluation", "step": 1200, "epoch": 2.0, "heldout_loss": 0.5, "macro_f1": 0.875, "accuracy": 0.9}
    assert in_words(event) == "step 1,200: validation macro-F1 0.8750, loss 0.5000"


def test_how_it_is_computed_is_no_part_of_the_identity() -> None:
    one = ClassifierTrainingConfig()
    other = ClassifierTrainingConfig(micro_batch_size=1, timeout_seconds=9, silence_seconds=9, checkpoint_minutes=1)
    assert one.identity() == other.identity()
    assert one.identity() != ClassifierTrainingConfig(seed=1).identity()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"labels": ["a", "b", "a"]}, "labels names a more than once"),
        ({"labels": ["a"]}, "a is the only label"),
        ({"class_weights": {"snow": 2.0}}, "class_weights names snow, but the rows have no such label"),
        ({"class_weights": "balanced", "sampling": "balanced"}, "would favour rare labels twice"),
    ],
)
def test_settings_that_do_not_fit_are_refused(make_job: MakeJob, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make_job(**changes)


def rows_file(path: Path, **changes: Any) -> Path:
    row = {"id": "one", "input_ids": [2, 5, 3], "token_type_ids": [0, 0, 0], "labels": [1]}
    pq.write_table(pa.Table.from_pylist([row, row | {"id": "other"} | changes], SCHEMA), path)
    return path


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"labels": [3]}, "row other has label 3, but there are 3 labels"),
        ({"labels": [0, 1]}, "row other has 2 labels, but multi_label is not set"),
        ({"labels": []}, "row other has 0 labels"),
        ({"input_ids": [], "token_type_ids": []}, "row other of .* has no tokens"),
        ({"token_type_ids": [0]}, "input_ids and token_type_ids differ in length"),
        ({"input_ids": [2, 5000, 3]}, "token id 5000 is beyond the model's"),
        ({"input_ids": [5] * 33, "token_type_ids": [0] * 33}, "a row has 33 tokens, and at most 32 are read"),
    ],
)
def test_rows_that_cannot_be_trained_on_are_refused(
    make_job: MakeJob, tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    job = make_job()
    with pytest.raises(ValueError, match=told):
        train(job.model_copy(update={"train": [rows_file(tmp_path / "rows.parquet", **changes)]}))


def test_files_without_rows_or_columns_are_refused(tmp_path: Path) -> None:
    path = rows_file(tmp_path / "rows.parquet")
    whole = pq.read_table(path)
    pq.write_table(whole.slice(0, 0), path)
    with pytest.raises(ValueError, match="hold no rows"):
        read_rows([path], LABELS, multi_label=False)
    pq.write_table(whole.drop_columns(["labels"]), path)
    with pytest.raises(ValueError, match="has no column labels"):
        read_rows([path], LABELS, multi_label=False)


def test_rows_of_several_files_and_groups_keep_their_order(tmp_path: Path) -> None:
    rows = [
        {"id": str(n), "input_ids": list(range(n + 1)), "token_type_ids": [n % 2] * (n + 1), "labels": [n % 3]}
        for n in range(10)
    ]
    for name, part in (("a", rows[:7]), ("b", rows[7:])):
        pq.write_table(pa.Table.from_pylist(part, SCHEMA), tmp_path / name, row_group_size=3)
    read = read_rows([tmp_path / "a", tmp_path / "b"], LABELS, multi_label=False)
    assert [read.input_ids[read.tokens(n)].tolist() for n in range(10)] == [row["input_ids"] for row in rows]
    assert read.truth.argmax(1).tolist() == [n % 3 for n in range(10)]


@given(
    lengths=some.lists(some.integers(1, 50), min_size=1, max_size=120),
    batch_size=some.integers(1, 9),
    epochs=some.integers(1, 3),
    seed=some.integers(0, 99),
)
def test_each_epoch_has_each_row_once_in_an_order_of_its_own(
    lengths: list[int], batch_size: int, epochs: int, seed: int
) -> None:
    order = Order(np.array(lengths), epochs, batch_size, seed)
    again = Order(np.array(lengths), epochs, batch_size, seed)
    steps = [order.step(number).tolist() for number in range(order.steps)]
    size = order.steps_per_epoch
    for epoch in range(epochs):
        rows = [row for step in steps[epoch * size : (epoch + 1) * size] for row in step]
        assert sorted(rows) == list(range(len(lengths)))
    assert [again.step(number).tolist() for number in reversed(range(order.steps))] == steps[::-1]
    assert [order.is_evaluated(step) for step in range(order.steps + 1)].count(True) == epochs


def test_rows_of_like_length_share_a_batch() -> None:
    lengths = np.random.default_rng(0).integers(1, 200, 640)
    order = Order(lengths, 1, 16, 0)
    spread = [np.ptp(lengths[order.step(number)]) for number in range(order.steps)]
    assert np.mean(spread) < 25


def test_balanced_sampling_draws_rare_labels_as_often() -> None:
    truth = np.zeros((1000, 3), dtype=bool)
    truth[np.arange(1000), [0] * 900 + [1] * 90 + [2] * 10] = True
    order = Order(np.ones(1000, dtype=np.int64), 20, 100, 0, balanced_shares(truth))
    drawn = np.concatenate([order.step(number) for number in range(order.steps)])
    shares = truth[drawn].mean(axis=0)
    assert shares == pytest.approx([1 / 3] * 3, abs=0.02)


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    places = np.array([0] * 50 + [1] * 30 + [3] * 2)
    truth = np.arange(4) == places[:, None]
    ours = class_weights("balanced", truth, list("abcd"), multi_label=False)
    theirs = compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=places)
    assert ours == pytest.approx([theirs[0], theirs[1], 1.0, theirs[2]])
    assert class_weights({"c": 2.5}, truth, list("abcd"), multi_label=False) == [1.0, 1.0, 2.5, 1.0]
    assert class_weights("balanced", truth, list("abcd"), multi_label=True) == pytest.approx([32 / 50, 52 / 30, 1, 40])


def test_the_loss_is_the_mean_that_torch_computes() -> None:
    torch.manual_seed(0)
    logits, weights = torch.randn(7, 4), torch.tensor([1.0, 2.0, 0.5, 3.0])
    places = torch.tensor([0, 1, 3, 3, 2, 1, 0])
    truth = torch.nn.functional.one_hot(places, 4).bool()
    single = Objective(multi_label=False, weights=weights, smoothing=0.1)
    whole = torch.nn.functional.cross_entropy(logits, places, weight=weights, label_smoothing=0.1)
    parts = sum(single.total(logits[part], truth[part]) for part in (slice(0, 3), slice(3, 7)))
    assert float(parts / single.size(truth)) == pytest.approx(float(whole), rel=1e-6)
    several = Objective(multi_label=True, weights=weights)
    binary = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth.float(), pos_weight=weights)
    assert float(several.total(logits, truth) / several.size(truth)) == pytest.approx(float(binary), rel=1e-6)
