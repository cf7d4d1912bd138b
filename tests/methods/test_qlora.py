"""Where weights cannot be held in 4 bits, the refusal says what to do."""

import importlib.util

import pytest
import torch

from tasks.methods import Qlora
from tests.methods.making import DEMO, QUANTISED, learn, loaded, logits

pytestmark = [
    # peft still uses these names itself; transformers calls them deprecated.
    pytest.mark.filterwarnings("ignore:`(is_)?gradient_checkpointing` is deprecated:FutureWarning"),
]

METHOD = Qlora(rank=4)


def test_without_bitsandbytes_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> object:
        return None if name == "bitsandbytes" else found(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    with pytest.raises(ValueError, match=r"bitsandbytes, which is not installed: pip install 'fettle\[qlora\]'"):
        METHOD.load_settings("cpu")


@QUANTISED
def test_a_device_that_bitsandbytes_does_not_know_is_named() -> None:
    with pytest.raises(ValueError, match=r"cannot run on xla:0: bitsandbytes [\d.]+ supports .*cuda.* Use lora there"):
        METHOD.load_settings("xla:0")


@QUANTISED
def test_the_base_is_held_in_4_bits_and_learning_goes_on_after_an_evaluation() -> None:
    model = METHOD.prepare(loaded(DEMO, METHOD))
    held = {each.weight.dtype for name, each in model.named_modules() if name.endswith("q_proj.base_layer")}
    assert held == {torch.uint8}
    model.eval()
    before = logits(model, DEMO)
    learn(model, DEMO, 3)
    assert (logits(model, DEMO) - before).abs().max() > 0.01
