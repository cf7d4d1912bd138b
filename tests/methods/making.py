"""Tiny models on real rows, a plain training loop, and the table of methods."""

import importlib.util
import os
from collections.abc import Callable, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from flows.demo.domain import figure_conversations
from tasks.methods import Dora, Elastic, FirstLayersFrozen, Full, LastLayers, Lora, Qlora
from tasks.trainer.models import load_model, load_tokenizer

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("FETTLE_REAL_DATA", ROOT.parent / "shared" / "data"))
DEMO, STORIES = ROOT / "flows" / "demo" / "base_model", DATA / "models" / "stories260K"
BASES = [
    pytest.param(DEMO, id="demo"),
    pytest.param(
        STORIES, id="stories260K", marks=pytest.mark.skipif(not STORIES.is_dir(), reason=f"{STORIES} is absent")
    ),
]
TIGHT = 1e-4
"""How far logits of one model may lie apart that were computed in two ways."""

QUANTISED = pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")


def _of_layers(*numbers: int) -> Callable[[str, int], bool]:
    """Whether a weight is the head's, the final norm's, or of one of these layers, counted from the end."""
    return lambda name, count: (
        name.startswith(("lm_head.", "model.norm."))
        or any(name.startswith(f"model.layers.{count - each}.") for each in numbers)
    )


def _of_adapter(name: str, _count: int) -> bool:
    return ".lora_" in name


def _every(_name: str, _count: int) -> bool:
    return True


METHODS = [
    pytest.param(Full(), _every, id="full"),
    pytest.param(Elastic(strength=1.0, samples=4), _every, id="elastic"),
    pytest.param(LastLayers(layers=0), lambda name, _: name == "lm_head.weight", id="head"),
    pytest.param(LastLayers(layers=1), _of_layers(1), id="last_layer"),
    pytest.param(
        FirstLayersFrozen(layers=2),
        lambda name, _: not name.startswith(("model.embed_tokens.", "model.layers.0.", "model.layers.1.")),
        id="first_layers_frozen",
    ),
    pytest.param(Lora(rank=4), _of_adapter, id="lora"),
    pytest.param(Lora(rank=4, rslora=True, dropout=0.1, target_modules=["q_proj"]), _of_adapter, id="rslora"),
    pytest.param(Dora(rank=4), _of_adapter, id="dora"),
    pytest.param(Qlora(rank=4), _of_adapter, id="qlora", marks=QUANTISED),
]
"""Every method, and which weights of a Llama with so many layers it is to move."""

ADAPTERS = [each for each in METHODS if each.id in ("lora", "dora", "qlora")]


def loaded(base: Path, method: Any) -> Any:
    """A base as its method wants it, in float32 on the CPU."""
    return load_model(base, torch.float32, "eager", **method.load_settings("cpu"))


@cache
def samples(base: Path) -> list[dict[str, list[int]]]:
    """Real instructions, and the demo's own dialogues for its model; answers are trained."""
    if base == DEMO:
        rows = islice(figure_conversations(Random(3)), 24)
        texts = [(row.turns[0].user, row.turns[0].assistant) for row in rows]
    else:
        table = pq.read_table(DATA / "instruction" / "alpaca_original_subset.parquet").slice(0, 24).to_pylist()
        texts = [(row["instruction"], row["output"][:200]) for row in table]
    tokenizer = load_tokenizer(base)
    encode = tokenizer.encode
    assert tokenizer.bos_token_id is not None
    assert tokenizer.eos_token_id is not None
    made = []
    for question, answer in texts:
        asked = encode(f"### Instruction:\n{question}\n\n### Response:\n", add_special_tokens=False)
        said = [*encode(answer, add_special_tokens=False), tokenizer.eos_token_id]
        ids = [tokenizer.bos_token_id, *asked, *said]
        labels = [-100] * (len(asked) + 1) + said
        made.append({"input_ids": ids, "labels": labels, "position_ids": list(range(len(ids)))})
    return made


def write_samples(path: Path, rows: Sequence[dict[str, list[int]]], role: str = "general") -> Path:
    """A sequence table of one sample a row."""
    numbers, names = pa.list_(pa.int32()), pa.list_(pa.string())
    columns = {name: pa.array([row[name] for row in rows], numbers) for name in rows[0]}
    columns["row_ids"] = pa.array([[f"row-{number}"] for number in range(len(rows))], names)
    columns["roles"] = pa.array([[role]] * len(rows), names)
    pq.write_table(pa.table(columns), path)
    return path


def batch(sample: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    """A sample as a model takes it."""
    return {name: torch.tensor([values]) for name, values in sample.items()}


def loss_of(model: Any) -> Callable[[dict[str, torch.Tensor]], torch.Tensor]:
    """Summed negative log-likelihood of a batch's labelled tokens."""

    def summed(inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        logits = model(input_ids=inputs["input_ids"], use_cache=False).logits[0, :-1]
        return torch.nn.functional.cross_entropy(logits, inputs["labels"][0, 1:], reduction="sum")

    return summed


def learn(model: Any, base: Path, steps: int, regulariser: Any = None, rate: float = 1e-2) -> Any:
    """The model after some steps of AdamW, in the plainest way."""
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate, weight_decay=0)
    model.train()
    for sample in islice(samples(base), steps):
        inputs = batch(sample)
        (loss_of(model)(inputs) / (inputs["labels"] != -100).sum()).backward()
        if regulariser is not None:
            regulariser.add_gradients()
        optimiser.step()
        optimiser.zero_grad()
    return model.eval()


@torch.no_grad()
def logits(model: Any, base: Path) -> torch.Tensor:
    """Of a sample that `learn` does not come to in a few steps."""
    found: torch.Tensor = model(input_ids=batch(samples(base)[-1])["input_ids"], use_cache=False).logits
    return found
