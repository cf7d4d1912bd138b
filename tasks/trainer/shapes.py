"""A model as sizes only: its weights' shapes from the headers of its files, and what a method would make of them.

Where a folder holds a configuration and no weights yet, the shapes are those of the model that transformers would make
of it, on torch's meta device, which takes no memory. torch is imported only there.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tasks.algorithms.training.sizes import AdaptedLayer, Adapters, Dimensions, Input, Learning
from tasks.methods import Dora, Elastic, FirstLayersFrozen, LastLayers, Lora, Method, Qlora
from tasks.methods.adapters import AdapterMethod

Shape = tuple[int, ...]

_BLOCK = re.compile(r"(?:^|\.)(?:layers|h|blocks|block)\.(\d+)\.(.+)$")
_BUFFERS = (".inv_freq", ".attn.bias", ".masked_bias", ".attention.bias")
"""What old files hold besides weights."""
_EMBEDDING = re.compile(r"(?:^|\.)(?:embed\w*|wte|wpe|word_embeddings)\.")
_POSITIONS = re.compile(r"wpe|position")
_HEAD = re.compile(r"^(?:lm_head|embed_out|output)\.")

_READS: Mapping[str, Input] = {
    **dict.fromkeys(("q_proj", "k_proj", "v_proj", "qkv_proj", "c_attn", "query_key_value", "W_pack"), "attention"),
    **dict.fromkeys(("o_proj", "out_proj"), "attention output"),
    **dict.fromkeys(("gate_proj", "up_proj", "gate_up_proj", "c_fc", "fc1", "fc_in", "dense_h_to_4h"), "mlp"),
    **dict.fromkeys(("down_proj", "fc2", "fc_out", "dense_4h_to_h"), "mlp output"),
}

_NAMES = {
    "layers": ("num_hidden_layers", "n_layer", "n_layers"),
    "hidden": ("hidden_size", "n_embd", "d_model"),
    "heads": ("num_attention_heads", "n_head", "n_heads"),
    "kv_heads": ("num_key_value_heads",),
    "head_dim": ("head_dim",),
    "intermediate": ("intermediate_size", "n_inner", "ffn_dim"),
    "vocabulary": ("vocab_size",),
}
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")


class BaseShapes(NamedTuple):
    """A model's weights by name, without a head that is the embedding, and its dimensions."""

    shapes: dict[str, Shape]
    dimensions: Dimensions
    has_weights: bool


def read_shapes(folder: Path) -> BaseShapes:
    """Shapes and dimensions of a model folder; `ValueError` for one whose sizes cannot be told."""
    try:
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} has no config.json that can be read: {error}") from None
    settings = settings | (settings.get("text_config") or {})
    files = sorted(folder.glob("*.safetensors"))
    shapes = _headers(files) if files else _built(folder)
    tied = bool(settings.get("tie_word_embeddings", not any(map(_HEAD.search, shapes))))
    if tied:
        shapes = {name: shape for name, shape in shapes.items() if not _HEAD.search(name)}
    return BaseShapes(shapes, _dimensions(settings, shapes, tied), bool(files))


def _headers(files: Iterable[Path]) -> dict[str, Shape]:
    """Shapes from the headers of safetensors files: a length of 8 bytes, then as much JSON."""
    found: dict[str, Shape] = {}
    for path in files:
        try:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(min(length, 100_000_000)))
            found |= {name: tuple(each["shape"]) for name, each in header.items() if name != "__metadata__"}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} has no header of a safetensors file: {error}") from None
    return {name: shape for name, shape in found.items() if not name.endswith(_BUFFERS)}


def _built(folder: Path) -> dict[str, Shape]:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        with torch.device("meta"):
            make: Any = AutoModelForCausalLM.from_config  # transformers leaves it untyped
            model = make(config, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"no model can be made of {folder / 'config.json'}: {error}") from None
    return {name: tuple(weight.shape) for name, weight in model.named_parameters()}


def _dimensions(settings: Mapping[str, Any], shapes: Mapping[str, Shape], tied: bool) -> Dimensions:
    if experts := next((settings[name] for name in _EXPERTS if settings.get(name)), None):
        raise ValueError(f"it is a mixture of {experts} experts, for which there is no formula yet")
    told = {field: _first(settings, names) for field, names in _NAMES.items()}
    if missing := [_NAMES[field][0] for field in ("layers", "hidden", "heads") if not told[field]]:
        raise ValueError(f"its config.json does not tell {', '.join(missing)}")
    tokens = [shape for name, shape in shapes.items() if _EMBEDDING.search(name) and not _POSITIONS.search(name)]
    blocks = [shape for name, shape in shapes.items() if _BLOCK.search(name) and len(shape) == 2]
    return Dimensions(
        layers=told["layers"],
        hidden=told["hidden"],
        intermediate=told["intermediate"] or 4 * told["hidden"],
        heads=told["heads"],
        kv_heads=told["kv_heads"] or told["heads"],
        head_dim=told["head_dim"] or told["hidden"] // told["heads"],
        vocabulary=tokens[0][0] if tokens else told["vocabulary"],
        tied=tied,
        parameters=sum(map(math.prod, shapes.values())),
        block_products=sum(map(math.prod, blocks)),
    )


def _first(settings: Mapping[str, Any], names: Iterable[str]) -> int:
    """The first of some settings that is there; 0 where none is."""
    return next((int(settings[name]) for name in names if settings.get(name)), 0)


def learning_of(method: Method, base: BaseShapes) -> Learning:
    """What learns under a method; `ValueError` where it does not fit the model."""
    if isinstance(method, AdapterMethod):
        return _adapted(method, base)
    if isinstance(method, LastLayers):
        return _last_layers(method.layers, base)
    if isinstance(method, FirstLayersFrozen):
        return _behind(method.layers, base)
    model = base.dimensions
    return Learning(
        trainable=model.parameters,
        trains_base=True,
        learned_products=model.block_products + model.head,
        head_learns=True,
        anchored=isinstance(method, Elastic),
    )


def _adapted(method: Lora | Dora | Qlora | AdapterMethod, base: BaseShapes) -> Learning:
    linear = {name.removesuffix(".weight"): shape for name, shape in base.shapes.items() if _is_linear(name, shape)}
    chosen = {name: shape for name, shape in linear.items() if _is_target(name, method.target_modules)}
    if not chosen:
        named = ", ".join(method.target_modules)
        raise ValueError(f"method.target_modules names {named}, but the model has no such layer")
    each = [method.rank * sum(shape) + (shape[0] if method.use_dora else 0) for shape in chosen.values()]
    first = min(_block(name) for name in chosen)
    of_a_block = tuple(
        AdaptedLayer(reads=_READS.get(name.rsplit(".", 1)[-1], "other"), inputs=shape[1], outputs=shape[0])
        for name, shape in chosen.items()
        if _block(name) == first
    )
    return Learning(
        trainable=sum(each),
        added=sum(each),
        quantised=sum(map(math.prod, linear.values())) if isinstance(method, Qlora) else 0,
        trains_base=False,
        first_block=first,
        learned_products=sum(each),
        head_learns=False,
        adapters=Adapters(rank=method.rank, layers=of_a_block, dropout=method.dropout > 0, magnitudes=method.use_dora),
    )


def _last_layers(count: int, base: BaseShapes) -> Learning:
    model = base.dimensions
    if count > model.layers:
        raise ValueError(f"method.layers is {count}, but the model has {model.layers} layers")
    own = {name: shape for name, shape in base.shapes.items() if _block(name) >= model.layers - count}
    norm = {n: s for n, s in base.shapes.items() if _block(n) < 0 and not _EMBEDDING.search(n) and not _HEAD.search(n)}
    blocks = sum(math.prod(shape) for shape in own.values() if len(shape) == 2)
    return Learning(
        trainable=sum(map(math.prod, [*own.values(), *(norm.values() if count else [])])) + model.head,
        added=model.head if model.tied else 0,
        trains_base=True,
        first_block=model.layers - count,
        learned_products=blocks + model.head,
        head_learns=True,
    )


def _behind(count: int, base: BaseShapes) -> Learning:
    model = base.dimensions
    if count >= model.layers:
        raise ValueError(f"method.layers is {count}, but the model has {model.layers} layers, of which one must learn")
    own = {n: s for n, s in base.shapes.items() if _block(n) >= count or (_block(n) < 0 and not _EMBEDDING.search(n))}
    products = sum(math.prod(shape) for shape in own.values() if len(shape) == 2)
    return Learning(
        trainable=sum(map(math.prod, own.values())),
        trains_base=True,
        first_block=count,
        learned_products=products,
        head_learns=not model.tied,
    )


def _block(name: str) -> int:
    """Of which block a weight is; -1 for those before and behind them."""
    found = _BLOCK.search(name)
    return int(found[1]) if found else -1


def _is_linear(name: str, shape: Shape) -> bool:
    return len(shape) == 2 and _block(name) >= 0 and name.endswith(".weight")


def _is_target(name: str, targets: str | list[str]) -> bool:
    return targets == "all-linear" or any(f".{name}".endswith(f".{target}") for target in targets)
