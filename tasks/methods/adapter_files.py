"""Adapters from and to folders, in peft's format."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

_FIELDS = {
    "peft_type": "type",
    "r": "rank",
    "lora_alpha": "alpha",
    "use_rslora": "rslora",
    "use_dora": "DoRA",
    "rank_pattern": "ranks by layer",
    "alpha_pattern": "alphas by layer",
}
"""What decides, besides the matrices, what an adapter computes; and our names for it."""

_PLAIN_STARTS = (None, True, False, "gaussian", "orthogonal", "eva")
"""Ways of drawing an adapter's start that leave the base's weights as they were."""


def write_adapter(model: Any, folder: Path) -> None:
    """Write a peft model's adapter, without anything of this machine."""
    for config in model.peft_config.values():
        # The path on the training machine is of no use to anybody else; peft would put it back for None.
        config.base_model_name_or_path = ""
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # peft's empty model card


def load_adapter(model: Any, folder: Path) -> None:
    """Fill a peft model's adapter from a folder; ValueError where the two are not of one shape and scale."""
    from peft import get_peft_model_state_dict, set_peft_model_state_dict
    from safetensors.torch import load_file

    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise ValueError(f"{folder} holds no {name}; give the folder of an adapter that peft wrote as safetensors")
    _refuse_other_settings(json.loads((folder / CONFIG).read_text("utf-8")), model.active_peft_config.to_dict(), folder)
    found, wanted = load_file(folder / WEIGHTS), get_peft_model_state_dict(model, save_embedding_layers=False)
    if found.keys() != wanted.keys():
        raise ValueError(
            f"the adapter in {folder} has {_named(found)}, and the recipe's method on this base {_named(wanted)}; "
            "set method.target_modules to the adapter's, and base_model to what it was trained on"
        )
    for name, weight in wanted.items():
        if found[name].shape != weight.shape:
            raise ValueError(
                f"the adapter in {folder} was trained on another base: its {name} is "
                f"{_shape(found[name])}, and this base needs {_shape(weight)}"
            )
    set_peft_model_state_dict(model, found)


def _refuse_other_settings(theirs: dict[str, Any], ours: dict[str, Any], folder: Path) -> None:
    for field, name in _FIELDS.items():
        if theirs.get(field, ours[field]) != ours[field]:
            raise ValueError(
                f"the adapter in {folder} has {name} {theirs[field]}, and the recipe's method {name} {ours[field]}; "
                "they must be equal to go on from it"
            )
    if (start := theirs.get("init_lora_weights")) not in _PLAIN_STARTS:
        raise ValueError(
            f"the adapter in {folder} was started by {start}, which changed the base's weights, too; "
            "merge it with the tool that made it, and train a new adapter on the result"
        )


def _named(weights: Iterable[str]) -> str:
    """How many matrices there are, and on which layers."""
    names = list(weights)
    layers = sorted({name.split(".lora_")[0].rsplit(".", 1)[-1] for name in names})
    return f"{len(names)} matrices on {', '.join(layers)}"


def _shape(weight: Any) -> str:
    return " × ".join(map(str, weight.shape))
