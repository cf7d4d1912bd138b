"""Each method moves the weights that it should and no other, and what it exports computes what was trained."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from tasks.methods import Elastic, Lora
from tasks.methods.adapters import AdapterMethod
from tasks.trainer.job import TrainingJob
from tasks.trainer.models import load_model, save_model
from tasks.trainer.train import train
from tests.methods.making import BASES, DEMO, METHODS, TIGHT, learn, loaded, logits, samples, write_samples

pytestmark = [
    # peft still uses these names itself; transformers calls them deprecated.
    pytest.mark.filterwarnings("ignore:`(is_)?gradient_checkpointing` is deprecated:FutureWarning"),
]

Moves = Callable[[str, int], bool]


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(("method", "moves"), METHODS)
def test_what_should_move_moves_and_the_export_computes_the_same(
    method: Any, moves: Moves, base: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = method.prepare(loaded(base, method))
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    count = model.config.num_hidden_layers
    untrained = logits(model, base)
    learn(model, base, 4)
    moved = {name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])}
    assert moved == {name for name in before if moves(name, count)}
    trained = logits(model, base)
    assert (trained - untrained).abs().max() > 100 * TIGHT
    save_model(method.export(model, tmp_path, torch.float32), base, tmp_path / "model")
    plain = load_model(tmp_path / "model", torch.float32)
    assert (logits(plain, base) - trained).abs().max() < TIGHT
    assert (tmp_path / "adapter").is_dir() == isinstance(method, AdapterMethod)
    if isinstance(method, AdapterMethod):
        # In training mode, as bitsandbytes evaluates in bfloat16 on processors that have it.
        again = PeftModel.from_pretrained(loaded(base, method), tmp_path / "adapter").train(method.kind == "qlora")
        assert (logits(again, base) - trained).abs().max() < TIGHT
        texts = [each.read_text() for each in (tmp_path / "adapter").glob("*.json")]
        assert str(base) not in "".join(texts)


def _job(folder: Path, method: Any, role: str = "general", **more: Any) -> TrainingJob:
    folder.mkdir(exist_ok=True)
    return TrainingJob(
        base_model=DEMO,
        sequences=[write_samples(folder / "train.parquet", samples(DEMO)[:12], role)],
        heldout=[write_samples(folder / "heldout.parquet", samples(DEMO)[-4:])],
        output=folder / "out",
        method=method,
        learning_rate=1e-2,
        epochs=1,
        batch_size=4,
        micro_batch_size=2,
        evaluations=1,
        dtype="float32",
        **more,
    )


@pytest.mark.parametrize(("method", "moves"), METHODS)
def test_the_trainer_trains_it(method: Any, moves: Moves, tmp_path: Path) -> None:
    train(_job(tmp_path, method))
    base, trained = load_model(DEMO, torch.float32), load_model(tmp_path / "out" / "model", torch.float32)
    count = base.config.num_hidden_layers
    assert (logits(trained, DEMO) - logits(base, DEMO)).abs().max() > 100 * TIGHT
    if isinstance(method, AdapterMethod):
        again = PeftModel.from_pretrained(loaded(DEMO, method), tmp_path / "out" / "adapter")
        again.train(method.kind == "qlora")
        assert (logits(again, DEMO) - logits(trained, DEMO)).abs().max() < TIGHT
        return
    weights = base.state_dict()
    moved = {name for name, weight in trained.named_parameters() if not torch.equal(weight, weights[name])}
    assert moved == {name for name, _ in trained.named_parameters() if moves(name, count)}


def test_the_trainer_goes_on_from_an_adapter(tmp_path: Path) -> None:
    method = Lora(rank=4)
    train(_job(tmp_path / "first", method))
    train(_job(tmp_path / "second", method, adapter=tmp_path / "first" / "out" / "adapter"))
    first, second = (json.loads((tmp_path / each / "out" / "result.json").read_text()) for each in ("first", "second"))
    assert first["best_step"] == 3
    assert second["base_heldout_loss"] == pytest.approx(first["best_heldout_loss"], abs=1e-6)


def test_the_trainer_holds_elastic_weights_back_by_general_samples(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no trained sample of role general"):
        train(_job(tmp_path / "none", Elastic(), role="domain"))
    losses = []
    for name, strength in (("soft", 1e-9), ("stiff", 1e4)):
        train(_job(tmp_path / name, Elastic(strength=strength, samples=12)))
        result = json.loads((tmp_path / name / "out" / "result.json").read_text())
        losses.append(result["best_heldout_loss"])
    assert losses[0] + 0.1 < losses[1] < result["base_heldout_loss"]
