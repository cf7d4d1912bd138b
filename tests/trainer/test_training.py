"""Real training of a tiny model: the loss is right, the best step is kept, and the same job gives the same bits."""

import hashlib
import json
import math
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from tasks.methods import Full, Lora
from tasks.trainer.child import Diverged, OverBudget
from tasks.trainer.config import Cost, EarlyStopping, Watching
from tasks.trainer.job import TrainingJob
from tasks.trainer.launch import TrainerFailed, run
from tasks.trainer.models import load_model
from tasks.trainer.train import train

pytestmark = [
    # TRL and peft still use these names themselves; transformers calls them deprecated.
    pytest.mark.filterwarnings("ignore:`(is_)?gradient_checkpointing` is deprecated:FutureWarning"),
]

Sample = tuple[list[int], int]
WriteRows = Callable[[Path, Sequence[Sequence[Sample]]], Path]
# Rows of unequal length whose samples have unequal shares of trained tokens.
ROWS: list[list[Sample]] = [
    [([0, *range(10 + n, 14 + n), 60, 61, 62, 1], 4), ([0, 20 + n, 60, 61, 1], 2 + n % 3)] * (1 + n % 3)
    for n in range(16)
]
HELDOUT: list[list[Sample]] = [[([0, *range(30, 30 + n), 60, 61, 62, 1], n)] for n in (2, 5, 9)]
LORA = Lora(rank=4, target_modules=["q_proj", "v_proj", "down_proj"])


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory, write_rows: WriteRows) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("tables")
    return {
        "train": write_rows(folder / "train.parquet", ROWS),
        "heldout": write_rows(folder / "heldout.parquet", HELDOUT),
    }


@pytest.fixture(scope="module")
def job(base: Path, tables: dict[str, Path]) -> TrainingJob:
    return TrainingJob(
        base_model=base,
        sequences=[tables["train"]],
        heldout=[tables["heldout"]],
        output=base,
        learning_rate=1e-2,
        epochs=3,
        batch_size=8,
        micro_batch_size=4,
        evaluations=2,
        seed=3,
        dtype="float32",
        chat_template="{{ messages }}",
        end_ids=[3],
    )


@pytest.fixture(scope="module")
def launched(
    job: TrainingJob, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[dict[str, Any]], list[str]]:
    """Output folder, events and ordinary lines of a full fine-tuning in a process of its own."""
    folder = tmp_path_factory.mktemp("launched")
    events: list[dict[str, Any]] = []
    lines: list[str] = []
    told = job.model_copy(update={"output": folder / "out"})
    run("tasks.trainer.train", told, folder=folder, on_event=events.append, on_line=lines.append, timeout_seconds=300)
    return folder / "out", events, lines


def test_full_training_lowers_the_loss_and_tells_how(
    launched: tuple[Path, list[dict[str, Any]], list[str]], base: Path
) -> None:
    output, events, lines = launched
    assert lines == []
    assert [event["event"] for event in events if event["event"] not in ("progress", "evaluation", "diagnosis")] == [
        "isolated",
        "preflight",
        "started",
        "finished",
    ]
    assert events[2]["steps"] == 6
    assert events[2]["trained_tokens"] == 3 * trained_tokens(ROWS)
    assert events[2]["isolation"] == {name: value for name, value in events[0].items() if name != "event"}
    assert [event["step"] for event in events if event["event"] == "progress"] == [1, 2, 3, 4, 5, 6]
    assert [event["step"] for event in events if event["event"] == "evaluation"] == [0, 3, 6]
    result = json.loads((output / "result.json").read_text())
    assert result["last_loss"] < result["first_loss"] - 0.5
    assert result["best_heldout_loss"] < result["base_heldout_loss"] - 0.5
    assert result["trainable_parameters"] == result["parameters"]
    assert result["tokens"] == 3 * sum(len(ids) for row in ROWS for ids, _ in row)
    assert sorted(path.name for path in output.iterdir()) == ["metrics.parquet", "model", "result.json", "tensorboard"]
    model = output / "model"
    assert (model / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()
    assert (model / "chat_template.jinja").read_text() == "{{ messages }}"
    end = json.loads((base / "generation_config.json").read_text())["eos_token_id"]
    assert json.loads((model / "generation_config.json").read_text())["eos_token_id"] == sorted([end, 3])
    assert json.loads((model / "config.json").read_text())["use_cache"] is True
    assert str(base) not in "".join(path.read_text() for path in model.glob("*.json"))


def test_metrics_hold_one_row_a_step(launched: tuple[Path, list[dict[str, Any]], list[str]]) -> None:
    rows = pq.read_table(launched[0] / "metrics.parquet").to_pylist()
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4, 5, 6]
    assert [row["heldout_loss"] is not None for row in rows] == [True, False, False, True, False, False, True]
    assert [row["learning_rate"] for row in rows[1:3]] == [0.5e-2, 1e-2]
    assert all(row["loss"] > 0 and row["grad_norm"] > 0 and row["tokens_per_second"] > 0 for row in rows[1:])


def test_the_losses_are_means_over_trained_tokens(
    launched: tuple[Path, list[dict[str, Any]], list[str]], base: Path, job: TrainingJob, tmp_path: Path
) -> None:
    """Against each sample alone through the untouched base: this proves isolation, masks and denominators at once."""
    rows = pq.read_table(launched[0] / "metrics.parquet").to_pylist()
    assert rows[0]["heldout_loss"] == pytest.approx(naive_loss(base, HELDOUT), abs=1e-5)
    whole = {"batch_size": 16, "epochs": 1.0, "heldout": []}
    for micro_batch_size in (2, 16):
        update = whole | {"output": tmp_path / str(micro_batch_size), "micro_batch_size": micro_batch_size}
        train(job.model_copy(update=update))
        result = json.loads((tmp_path / str(micro_batch_size) / "result.json").read_text())
        assert result["steps"] == 1
        assert result["best_step"] is None
        assert result["first_loss"] == pytest.approx(naive_loss(base, ROWS), abs=1e-5)


def test_the_same_full_job_gives_the_same_bits(
    launched: tuple[Path, list[dict[str, Any]], list[str]], job: TrainingJob, tmp_path: Path
) -> None:
    train(job.model_copy(update={"output": tmp_path}))
    assert_same_weights(tmp_path / "model", launched[0] / "model")


def test_lora_trains_an_adapter_beside_frozen_weights(job: TrainingJob, base: Path, tmp_path: Path) -> None:
    before = digest(base / "model.safetensors")
    outputs = [tmp_path / "one", tmp_path / "two"]
    for output in outputs:
        train(job.model_copy(update={"output": output, "method": LORA}))
    assert digest(base / "model.safetensors") == before
    assert_same_weights(outputs[0] / "model", outputs[1] / "model")
    assert_same_weights(outputs[0] / "adapter", outputs[1] / "adapter", "adapter_model.safetensors")
    result = json.loads((outputs[0] / "result.json").read_text())
    assert result["last_loss"] < result["first_loss"]
    assert 0 < result["trainable_parameters"] < result["parameters"] / 5
    assert sorted(path.name for path in (outputs[0] / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert str(base) not in (outputs[0] / "adapter" / "adapter_config.json").read_text()
    ids = torch.tensor([[0, 12, 13, 60, 61]])
    adapted = PeftModel.from_pretrained(load_model(base, torch.float32), str(outputs[0] / "adapter"))
    with torch.no_grad():
        merged_logits = load_model(outputs[0] / "model", torch.float32)(ids).logits
        assert torch.allclose(merged_logits, adapted(ids).logits, atol=1e-4)
        assert not torch.allclose(merged_logits, load_model(base, torch.float32)(ids).logits, atol=1e-2)
    merged, original = load_file(outputs[0] / "model/model.safetensors"), load_file(base / "model.safetensors")
    moved = {name for name in original if not torch.equal(merged[name], original[name])}
    assert moved == {name for name in original if any(target in name for target in LORA.target_modules)}


@pytest.mark.parametrize("method", [Full(), LORA])
def test_bfloat16_is_computed_and_saved(job: TrainingJob, method: Full | Lora, tmp_path: Path) -> None:
    train(job.model_copy(update={"output": tmp_path, "method": method, "dtype": "bfloat16", "epochs": 1.0}))
    weights = load_file(tmp_path / "model/model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
    rows = pq.read_table(tmp_path / "metrics.parquet").to_pylist()
    assert rows[-1]["heldout_loss"] < rows[0]["heldout_loss"]


@pytest.mark.parametrize("method", [Full(), LORA])
def test_the_step_with_the_lowest_heldout_loss_is_kept(
    job: TrainingJob, write_rows: WriteRows, method: Full | Lora, tmp_path: Path
) -> None:
    """The held-out rows contradict the lesson, so held-out loss rises while the model learns it."""
    contrary: list[list[Sample]] = [[([0, *range(10, 14), 70, 71, 72], 5)]]
    heldout = write_rows(tmp_path / "contrary.parquet", contrary)
    update = {"output": tmp_path, "method": method, "heldout": [heldout], "epochs": 9.0, "evaluations": 9}
    train(job.model_copy(update=update | {"learning_rate": 3e-2, "scheduler": "constant"}))
    result = json.loads((tmp_path / "result.json").read_text())
    measured = {row["step"]: row["heldout_loss"] for row in pq.read_table(tmp_path / "metrics.parquet").to_pylist()}
    assert result["best_step"] < result["steps"]
    assert result["best_heldout_loss"] == measured[result["best_step"]] < measured[result["steps"]]
    assert naive_loss(tmp_path / "model", contrary) == pytest.approx(result["best_heldout_loss"], abs=1e-4)


def test_a_poisoned_weight_ends_the_process_as_diverged(job: TrainingJob, base: Path, tmp_path: Path) -> None:
    poisoned = tmp_path / "poisoned"
    poisoned.mkdir()
    for path in base.iterdir():
        (poisoned / path.name).write_bytes(path.read_bytes())
    weights = load_file(base / "model.safetensors")
    weights["model.layers.1.mlp.down_proj.weight"][0, 0] = math.nan
    save_file(weights, poisoned / "model.safetensors", metadata={"format": "pt"})
    told = job.model_copy(update={"base_model": poisoned, "output": tmp_path / "out", "heldout": []})
    steps: list[int] = []
    with pytest.raises(TrainerFailed, match="logits that are not finite before the first step") as failure:
        run(
            "tasks.trainer.train",
            told,
            folder=tmp_path,
            on_event=lambda event: steps.append(event.get("step", 0)),
            on_line=lambda _: None,
        )
    assert failure.value.kind == "diverged"
    assert failure.value.exit_code == 1
    assert steps == [0]  # failed, no progress
    assert list((tmp_path / "out").iterdir()) == []


def test_an_absurd_learning_rate_diverges(job: TrainingJob, tmp_path: Path) -> None:
    update = {"output": tmp_path, "learning_rate": 1e6, "epochs": 9.0, "heldout": []}
    with pytest.raises(Diverged, match=r"at step \d+"):
        train(job.model_copy(update=update))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([[([0, 5000, 60], 1)]], "token id 5000 is beyond the model's 3.. embeddings"),
        ([[([0] * 129, 1)]], "129 tokens and the model takes 128"),
        ([[([0, 10, 11], 3)]], "nothing to learn from"),
        ([], "hold no rows"),
    ],
)
def test_rows_that_do_not_fit_the_model_are_refused(
    job: TrainingJob, write_rows: WriteRows, rows: list[list[Sample]], words: str, tmp_path: Path
) -> None:
    path = write_rows(tmp_path / "rows.parquet", rows)
    with pytest.raises(ValueError, match=words):
        train(job.model_copy(update={"sequences": [path], "output": tmp_path / "out"}))


def test_a_micro_batch_must_divide_the_batch(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="micro_batch_size is 3 and each process has 8 rows"):
        TrainingJob(base_model=tmp_path, sequences=[tmp_path], output=tmp_path, batch_size=8, micro_batch_size=3)


def trained_tokens(rows: Sequence[Sequence[Sample]]) -> int:
    return sum(len(ids) - cut for row in rows for ids, cut in row)


def naive_loss(folder: Path, rows: Sequence[Sequence[Sample]]) -> float:
    """Mean loss over trained tokens, every sample alone."""
    model = load_model(folder, torch.float32)
    total = 0.0
    with torch.no_grad():
        for ids, cut in [sample for row in rows for sample in row]:
            scores = model(torch.tensor([ids])).logits[0].log_softmax(-1)
            total -= sum(float(scores[place - 1, ids[place]]) for place in range(cut, len(ids)))
    return total / trained_tokens(rows)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def assert_same_weights(one: Path, other: Path, name: str = "model.safetensors") -> None:
    first, second = load_file(one / name), load_file(other / name)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_row_that_poisons_the_loss_is_named(
    job: TrainingJob, base: Path, write_rows: WriteRows, tmp_path: Path
) -> None:
    """A token whose embedding is broken stands in one row only: the run fails there, before its weights are spoilt."""
    poisoned = shutil.copytree(base, tmp_path / "poisoned")
    weights = load_file(base / "model.safetensors")
    weights["model.embed_tokens.weight"][299] = math.nan
    save_file(weights, poisoned / "model.safetensors", metadata={"format": "pt"})
    rows = [*ROWS[:9], [([0, 299, 60, 61, 1], 2)], *ROWS[9:]]
    update = {
        "base_model": poisoned,
        "sequences": [write_rows(tmp_path / "rows.parquet", rows)],
        "heldout": [],
        "output": tmp_path / "out",
        "checkpoints": tmp_path / "kept",
        "watching": Watching(checkpoint_minutes=0),
        "batch_size": 2,
        "micro_batch_size": 2,
    }
    told = (
        r"the loss is nan .* at step (\d+)\. These rows alone give no finite loss: row-9-0\. .*step's rows: .*row-9-0"
    )
    with pytest.raises(Diverged, match=told) as diverged:
        train(job.model_copy(update=update))
    found = re.search(r"at step (\d+)\..* Last good checkpoint: (none|step (\d+))\.$", str(diverged.value))
    assert found is not None
    step = int(found[1])
    assert found[2] == ("none" if step == 1 else f"step {step - 1}")
    if step > 1:
        kept = load_file(tmp_path / "kept" / f"step-{step - 1}" / "trainable.safetensors")
        assert all(torch.isfinite(weight).all() for name, weight in kept.items() if "embed" not in name)


def test_training_stops_where_heldout_loss_no_longer_falls(
    job: TrainingJob, write_rows: WriteRows, tmp_path: Path
) -> None:
    contrary = write_rows(tmp_path / "contrary.parquet", [[([0, *range(10, 14), 70, 71, 72], 5)]])
    update = {
        "output": tmp_path / "out",
        "heldout": [contrary],
        "epochs": 20.0,
        "evaluations": 20,
        "learning_rate": 3e-2,
        "scheduler": "constant",
        "early_stopping": EarlyStopping(patience=2),
    }
    train(job.model_copy(update=update))
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["planned_steps"] == 40
    assert result["stopped_early"]
    measured = [row["heldout_loss"] for row in pq.read_table(tmp_path / "out/metrics.parquet").to_pylist()]
    losses = [loss for loss in measured if loss is not None]
    assert min(losses[-2:]) > min(losses[:-2]) - 0.001
    assert result["best_heldout_loss"] == min(losses[1:])


def test_a_budget_that_is_spent_stops_training_with_a_checkpoint(job: TrainingJob, tmp_path: Path) -> None:
    update = {"output": tmp_path / "out", "checkpoints": tmp_path / "kept", "cost": Cost(most_hours=1e-9)}
    with pytest.raises(OverBudget, match=r"training has taken .* hours, and cost\.most_hours is 1e-09"):
        train(job.model_copy(update=update))
    assert (tmp_path / "kept" / "step-1" / "settings.json").is_file()


def test_a_dear_run_is_stopped_by_the_speed_of_its_first_steps(job: TrainingJob, tmp_path: Path) -> None:
    cost = Cost(price_per_device_hour=1000.0, most=5.0)
    with pytest.raises(OverBudget, match=r"training would take .* device-hours, which cost .* at 1000 each"):
        train(job.model_copy(update={"output": tmp_path / "out", "epochs": 900.0, "cost": cost}))
