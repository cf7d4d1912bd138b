"""Training goes on from an adapter, and one that does not fit is refused with the values."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from tasks.methods import Dora, Full, Lora
from tests.methods.making import ADAPTERS, DEMO, learn, loaded, logits

pytestmark = [
    # peft still uses these names itself; transformers calls them deprecated.
    pytest.mark.filterwarnings("ignore:`(is_)?gradient_checkpointing` is deprecated:FutureWarning"),
]

WEIGHTS = "adapter_model.safetensors"
FOUR = Lora(rank=4, target_modules=["q_proj", "v_proj"])


@pytest.mark.parametrize(("method", "_moves"), ADAPTERS)
def test_training_goes_on_where_the_adapter_was_left(method: Any, _moves: Any, tmp_path: Path) -> None:
    first = learn(method.prepare(loaded(DEMO, method)), DEMO, 3)
    left = logits(first, DEMO)
    method.export(first, tmp_path / "first", torch.float32)
    adapter = tmp_path / "first" / "adapter"
    again = method.prepare(loaded(DEMO, method), adapter).eval()
    assert torch.equal(logits(again, DEMO), left)
    method.export(again, tmp_path / "unchanged", torch.float32)
    for name in (WEIGHTS, "adapter_config.json"):
        assert (tmp_path / "unchanged" / "adapter" / name).read_bytes() == (adapter / name).read_bytes()
    more = learn(method.prepare(loaded(DEMO, method), adapter), DEMO, 1)
    method.export(more, tmp_path / "more", torch.float32)
    old, new = load_file(adapter / WEIGHTS), load_file(tmp_path / "more" / "adapter" / WEIGHTS)
    assert not any(torch.equal(old[name], new[name]) for name in old)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    FOUR.export(FOUR.prepare(loaded(DEMO, FOUR)), folder, torch.float32)
    return folder / "adapter"


def _changed(field: str, value: object) -> Any:
    def change(folder: Path) -> None:
        path = folder / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))

    return change


def _without_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


def _wider(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    name = next(each for each in weights if "lora_A" in each)
    save_file(weights | {name: torch.zeros(4, 96)}, folder / WEIGHTS)


@pytest.mark.parametrize(
    ("method", "change", "message"),
    [
        (FOUR.model_copy(update={"rank": 8}), None, "has rank 4, and the recipe's method rank 8"),
        (FOUR.model_copy(update={"alpha": 8.0}), None, "has alpha 32, and the recipe's method alpha 8.0"),
        (FOUR.model_copy(update={"rslora": True}), None, "has rslora False, and the recipe's method rslora True"),
        (Dora(rank=4, target_modules=["q_proj", "v_proj"]), None, "has DoRA False, and the recipe's method DoRA True"),
        (Lora(rank=4, target_modules=["q_proj"]), None, "16 matrices on q_proj, v_proj, and .* 8 matrices on q_proj;"),
        (Full(), None, "method full cannot go on from the adapter in "),
        (FOUR, _changed("alpha_pattern", {"q_proj": 1}), "has alphas by layer {'q_proj': 1}"),
        (FOUR, _changed("peft_type", "LOHA"), "has type LOHA"),
        (FOUR, _changed("init_lora_weights", "pissa"), "was started by pissa, which changed the base's weights"),
        (FOUR, _without_weights, "holds no adapter_model.safetensors"),
        (FOUR, _wider, "its .*q_proj.lora_A.weight is 4 × 96, and this base needs 4 × 128"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused_with_the_values(
    method: Any, change: Any, message: str, adapter: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(adapter, tmp_path / "adapter")
    if change is not None:
        change(folder)
    with pytest.raises(ValueError, match=message):
        method.prepare(loaded(DEMO, method), folder)


def test_an_adapter_of_a_base_with_more_layers_is_refused(adapter: Path) -> None:
    shape = {"vocab_size": 99, "hidden_size": 128, "intermediate_size": 64, "num_attention_heads": 4}
    shallow = LlamaForCausalLM(LlamaConfig(**shape, num_hidden_layers=2))
    with pytest.raises(ValueError, match=r"16 matrices .* 8 matrices .* base_model to what it was trained on"):
        FOUR.prepare(shallow, adapter)


def test_the_place_of_an_adapter_is_not_identity() -> None:
    assert Lora(start_from="runs/one").identity() == Lora(start_from="elsewhere").identity() == Lora().identity()
    assert Lora(rank=4).identity() != Lora().identity()
